# SPDX-License-Identifier: GPL-2.0-or-later
"""What an explanation of a trace consists of: a state of the model, and what has been entered and not yet acted."""

from __future__ import annotations

from dataclasses import dataclass, field

from softnet.lab.validate.backlog import Enqueue, Poll, Task
from softnet.lab.validate.driver import Driver, Memory

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
class State:
    """One explanation of the trace so far.

    ``attempts``, ``enqueues`` and ``polls`` are open; ``leaving`` are enqueues that have acted and not returned;
    ``flushes`` says for a CPU whether a flush must or may still come;
    ``owed`` are skbs that a flush took and whose freeing has not been seen yet; ``names`` gives the model's
    numbers of skbs on lists their numbers in the trace.
    """

    memory: Memory = field(repr=False)
    attempts: dict[Task, Attempt] = field(default_factory=dict)
    enqueues: dict[Task, Enqueue] = field(default_factory=dict)
    polls: dict[int, Poll] = field(default_factory=dict)
    leaving: frozenset[tuple[Task, int]] = frozenset()
    flushes: dict[int, str] = field(default_factory=dict)
    owed: dict[int, tuple[int, ...]] = field(default_factory=dict)
    names: dict[int, int] = field(default_factory=dict)

    def held(self, driver: Driver, cpu: int) -> tuple[int, ...]:
        """The trace's numbers of the skbs on a CPU's list, the next to be freed first. The state must be loaded."""
        return tuple(self.names.get(number, UNKNOWN) for number in driver.state(cpu).held)
