# SPDX-License-Identifier: GPL-2.0-or-later
"""What an explanation of a trace consists of: a state of the model, and what has been entered and not yet acted."""

from __future__ import annotations

from typing import NamedTuple

from softnet.lab.validate.backlog import Enqueue, Poll
from softnet.lab.validate.knowledge import Task
from softnet.lab.validate.memory import Memory

UNKNOWN = 0
"""The name of an skb that was on a list before the trace began."""


class Seen(NamedTuple):
    """What the kernel was seen to do within one skb_attempt_defer_free()."""

    kick: bool
    ipi: bool
    wake: bool
    work: bool


class Attempt(NamedTuple):
    """An skb_attempt_defer_free() that was entered: the skb's number, its CPU, what the kernel did.

    ``found`` is the defer_count that the kernel read, None once the model has had it too. ``kicks``: the skb is on the list, and
    kick_defer_list_purge(), for which the list's lock is given up, is still to come.
    """

    skb: int
    alloc_cpu: int
    found: int | None
    seen: Seen
    kicks: bool = False


class Run(NamedTuple):
    """A net_rx_action() that was entered on a CPU, and how far the model is with it.

    ``where``: "head" (about to flush), "flushed", "polls" (about to poll), "polling", "polled", "left" (returned).
    ``work`` and ``quota`` are of the poll before, ``spent`` is what all of them used up of the ``budget`` that was at its entry.
    ``raised`` and ``squeezed`` say how the model left.
    """

    where: str
    spent: int = 0
    work: int = 0
    quota: int = 64
    raised: bool = False
    squeezed: bool = False
    budget: int = 0


class State(NamedTuple):
    """One explanation of the trace so far.

    ``attempts``, ``enqueues``, ``polls`` and ``runs`` are open; ``leaving`` are enqueues that have acted and not
    returned; ``flushes`` says for a CPU whether a flush must or may still come; ``owed`` are skbs that a flush took
    and whose freeing has not been seen yet; ``sent`` are IPIs of RPS that the model sent and the trace has not shown;
    ``changes`` are settings that are being written; ``arriving`` are IPIs whose arrival the trace has missed, as CPU
    and function (``CSD_FUNCTIONS``); ``clearing`` are CPUs whose trigger_rx_softirq() has raised NET_RX and is still to clear
    defer_ipi_scheduled; ``names`` gives the model's numbers of skbs on lists their numbers
    in the trace. ``news`` are the branches that the model's functions took since the last event.
    """

    memory: Memory
    attempts: dict[Task, Attempt]
    enqueues: dict[Task, Enqueue]
    polls: dict[int, Poll]
    runs: dict[int, Run]
    leaving: frozenset[tuple[Task, int]]
    flushes: dict[int, str]
    owed: dict[int, tuple[int, ...]]
    sent: dict[int, tuple[int, ...]]
    changes: frozenset[int]
    arriving: frozenset[tuple[int, int]]
    clearing: frozenset[int]
    names: dict[int, int]
    news: tuple[int, ...]

    @classmethod
    def first(cls, memory: Memory) -> State:
        """Nothing is open."""
        nothing: frozenset[object] = frozenset()
        return cls(memory, {}, {}, {}, {}, nothing, {}, {}, {}, nothing, nothing, nothing, {}, ())  # type: ignore[arg-type]

    def told(self) -> State:
        """The same without the news."""
        return self._replace(news=()) if self.news else self

    def held(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """The trace's numbers of skbs on a list, given the model's."""
        return tuple([self.names.get(number, UNKNOWN) for number in numbers]) if numbers else ()
