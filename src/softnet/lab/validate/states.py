# SPDX-License-Identifier: GPL-2.0-or-later
"""What an explanation of a trace consists of: a state of the model, and what has been entered and not yet acted."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from softnet.lab.validate.backlog import Enqueue, Poll
from softnet.lab.validate.driver import Counted
from softnet.lab.validate.knowledge import Task
from softnet.lab.validate.memory import Memory

Key = TypeVar("Key")
Value = TypeVar("Value")

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
    kick_defer_list_purge(), for which the list's lock is given up, is still to come. ``counted``: where a list has no lock, the skb
    is counted, and is still to be put on it.
    """

    skb: int
    alloc_cpu: int
    found: int | None
    seen: Seen
    kicks: bool = False
    counted: Counted | None = None


class Run(NamedTuple):
    """A net_rx_action() that was entered on a CPU, and how far the model is with it.

    ``where``: "head" (about to flush), "flushing" (a list without a lock is counted as empty and not yet taken off), "flushed",
    "polls" (about to poll), "polling", "polled", "left" (returned).
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

    def with_attempt(self, task: Task, attempt: Attempt) -> State:
        """``task`` is in skb_attempt_defer_free()."""
        return self._replace(attempts={**self.attempts, task: attempt})

    def without_attempt(self, task: Task) -> State:
        """``task`` has left skb_attempt_defer_free()."""
        return self._replace(attempts=without(self.attempts, task))

    def with_enqueue(self, task: Task, enqueue: Enqueue) -> State:
        """``task`` is in enqueue_to_backlog()."""
        return self._replace(enqueues={**self.enqueues, task: enqueue})

    def enqueue_acted(self, task: Task) -> State:
        """``task`` has done what enqueue_to_backlog() does, and has not returned from it."""
        leaving = self.leaving | {(task, self.enqueues[task].cpu)}
        return self._replace(enqueues=without(self.enqueues, task), leaving=leaving)

    def with_poll(self, cpu: int, poll: Poll) -> State:
        """The CPU's backlog is polled, and so far is that poll."""
        return self._replace(polls={**self.polls, cpu: poll})

    def without_poll(self, cpu: int) -> State:
        """The poll of the CPU's backlog is over."""
        return self._replace(polls=without(self.polls, cpu))

    def with_run(self, cpu: int, run: Run) -> State:
        """The CPU is in net_rx_action(), and so far is that."""
        return self._replace(runs={**self.runs, cpu: run})

    def without_run(self, cpu: int) -> State:
        """The CPU has left net_rx_action()."""
        return self._replace(runs=without(self.runs, cpu))

    def with_flush(self, cpu: int, how: str) -> State:
        """The kernel must, or may, flush the CPU's list."""
        return self._replace(flushes={**self.flushes, cpu: how})

    def without_flush(self, cpu: int) -> State:
        """No flush of the CPU's list is due."""
        return self._replace(flushes=without(self.flushes, cpu))

    def owes(self, cpu: int, skbs: tuple[int, ...]) -> State:
        """A flush on the CPU took these skbs, too, which are to be freed."""
        return self._replace(owed={**self.owed, cpu: self.owed.get(cpu, ()) + skbs})

    def freed(self, cpu: int) -> State:
        """The first skb that a flush on the CPU owes has been freed."""
        return self._replace(owed={**self.owed, cpu: self.owed[cpu][1:]})

    def without_owed(self, cpu: int) -> State:
        """What a flush on the CPU took is freed, all of it."""
        return self._replace(owed=without(self.owed, cpu))

    def sends(self, cpu: int, targets: tuple[int, ...]) -> State:
        """The model sends IPIs of RPS from the CPU, which the trace must show."""
        return self._replace(sent={**self.sent, cpu: self.sent.get(cpu, ()) + targets}) if targets else self

    def with_name(self, number: int, skb: int) -> State:
        """The model's skb ``number`` on a list is the trace's ``skb``."""
        return self._replace(names={**self.names, number: skb})

    def has(self, skb: int) -> bool:
        """Whether an skb of the trace is on a list, or is one that a flush took and has not freed yet."""
        return skb in self.names.values() or any(skb in owed for owed in self.owed.values())

    def told(self) -> State:
        """The same without the news."""
        return self._replace(news=()) if self.news else self

    def held(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """The trace's numbers of skbs on a list, given the model's."""
        return tuple([self.names.get(number, UNKNOWN) for number in numbers]) if numbers else ()


def without(entries: dict[Key, Value], key: Key) -> dict[Key, Value]:
    """The entries but for one."""
    return {other: value for other, value in entries.items() if other != key}
