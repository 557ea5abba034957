# SPDX-License-Identifier: GPL-2.0-or-later
"""What an explanation of a trace consists of: a state of the model, and what has been entered and not yet acted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from softnet.lab.validate.backlog import Enqueue, Poll
from softnet.lab.validate.driver import Driver, Memory
from softnet.lab.validate.knowledge import Task

UNKNOWN = 0
"""The name of an skb that was on a list before the trace began."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel was seen to do within one skb_attempt_defer_free()."""

    kick: bool
    ipi: bool
    wake: bool
    work: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """An skb_attempt_defer_free() that was entered: the skb's number, its CPU, what the kernel did.

    ``count`` is the defer_count that the kernel read, None once the model has had it too.
    """

    skb: int
    alloc_cpu: int
    count: int | None
    seen: Seen


@dataclass(frozen=True, slots=True)
class Run:
    """A net_rx_action() that was entered on a CPU, and how far the model is with it.

    ``where``: "head" (about to flush), "flushed", "polls" (about to poll), "polling", "polled", "left" (returned).
    ``work`` and ``quota`` are of the poll before, ``spent`` is what all of them used up of the budget.
    ``raised`` and ``squeezed`` say how the model left.
    """

    where: str
    spent: int = 0
    work: int = 0
    quota: int = 64
    raised: bool = False
    squeezed: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """One explanation of the trace so far.

    ``attempts``, ``enqueues``, ``polls`` and ``runs`` are open; ``leaving`` are enqueues that have acted and not
    returned; ``flushes`` says for a CPU whether a flush must or may still come; ``owed`` are skbs that a flush took
    and whose freeing has not been seen yet; ``sent`` are IPIs of RPS that the model sent and the trace has not shown;
    ``changes`` are settings that are being written; ``arriving`` are IPIs whose arrival the trace has missed, as CPU
    and function (``CSD_FUNCTIONS``); ``names`` gives the model's numbers of skbs on lists their numbers
    in the trace. ``news`` are the branches that the model's functions took since the last event.
    """

    memory: Memory = field(repr=False)
    attempts: dict[Task, Attempt] = field(default_factory=dict)
    enqueues: dict[Task, Enqueue] = field(default_factory=dict)
    polls: dict[int, Poll] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    leaving: frozenset[tuple[Task, int]] = frozenset()
    flushes: dict[int, str] = field(default_factory=dict)
    owed: dict[int, tuple[int, ...]] = field(default_factory=dict)
    sent: dict[int, tuple[int, ...]] = field(default_factory=dict)
    changes: frozenset[int] = frozenset()
    arriving: frozenset[tuple[int, int]] = frozenset()
    names: dict[int, int] = field(default_factory=dict)
    news: tuple[int, ...] = ()

    def told(self) -> State:
        """The same without the news."""
        return replace(self, news=()) if self.news else self

    def held(self, driver: Driver, cpu: int) -> tuple[int, ...]:
        """The trace's numbers of the skbs on a CPU's list, the next to be freed first. The state must be loaded."""
        return tuple(self.names.get(number, UNKNOWN) for number in driver.state(cpu).held)
