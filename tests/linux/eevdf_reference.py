# SPDX-License-Identifier: GPL-2.0-or-later
"""EEVDF as its paper has it, written to be obvious: a list of tasks, exact fractions, nothing incremental.

Stoica and Abdel-Wahab, "Earliest Eligible Virtual Deadline First" (1995): V is the weighted average of what everybody got; a task
is eligible when it got no more than that; of the eligible the one with the earliest virtual deadline runs. What Linux adds is said
where it stands. Nothing here is taken from the model; times are nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass
class Task:
    """One task. ``v``: what it got, by weight."""

    name: int
    weight: Fraction
    v: Fraction = Fraction(0)
    deadline: Fraction = Fraction(0)
    lag: Fraction = Fraction(0)
    """While it sleeps: V - v when it left."""
    leaving: bool = False
    """It sleeps, and competes until it is eligible (6.12)."""
    protected: Fraction | None = None
    """The deadline with which it was picked."""


@dataclass
class Eevdf:
    """One CPU. ``slice_ns`` is everybody's request; ``delayed``: 6.12's delayed dequeue and its preemption without protection."""

    slice_ns: int
    tick_ns: int
    delayed: bool
    competing: list[Task] = field(default_factory=list)
    curr: Task | None = None

    def total(self) -> Fraction:
        return sum((t.weight for t in self.competing), Fraction(0))

    def average(self) -> Fraction:
        """V."""
        return sum((t.weight * t.v for t in self.competing), Fraction(0)) / self.total()

    def eligible(self, task: Task) -> bool:
        return task.v <= self.average()

    def run(self, ns: int) -> bool:
        """The running task gets the CPU for so long; whether it must be asked who runs next."""
        task = self.curr
        if task is None or ns <= 0:
            return False
        task.v += Fraction(ns) / task.weight
        done = task.v >= task.deadline
        if done:
            task.deadline = task.v + self.slice_ns / task.weight
        if len(self.competing) == 1:
            return False
        return done or (self.delayed and task.protected != task.deadline and not self.eligible(task))

    def best(self) -> Task:
        """Who is to run: Linux lets the one that runs finish its slice while it is eligible (RUN_TO_PARITY)."""
        curr = self.curr if self.curr in self.competing else None
        if len(self.competing) == 1:
            return self.competing[0]
        if curr is not None and curr.protected == curr.deadline and self.eligible(curr):
            return curr
        return min((t for t in self.competing if self.eligible(t)), key=lambda t: (t.deadline, t is not curr))

    def pick(self) -> Task | None:
        """The next task; those that only wait to leave, leave."""
        while self.competing:
            task = self.best()
            if not task.leaving:
                if task is not self.curr:
                    task.protected = task.deadline
                    self.curr = task
                return task
            task.lag = min(self.clamped(task), Fraction(0))
            task.leaving = False
            self.competing.remove(task)
        self.curr = None
        return None

    def clamped(self, task: Task) -> Fraction:
        """Linux bounds lag by two slices, or a tick if that is more."""
        limit = max(2 * self.slice_ns, self.tick_ns) / task.weight
        return min(max(self.average() - task.v, -limit), limit)

    def sleep(self) -> None:
        """The running task sleeps; in debt it may not leave yet (6.12)."""
        task = self.curr
        assert task is not None
        if self.delayed and not self.eligible(task):
            task.leaving = True
            return
        task.lag = self.clamped(task)
        self.competing.remove(task)

    def place(self, task: Task) -> None:
        """Join such that V - v is the lag afterwards, when the task itself counts in V."""
        v = lag = Fraction(0)
        if self.competing:
            v, total = self.average(), self.total()
            lag = task.lag * (total + task.weight) / total
        else:
            v = task.v
        task.v = v - lag
        task.deadline = task.v + self.slice_ns / task.weight
        self.competing.append(task)

    def wake(self, task: Task, ran_ns: int) -> bool:
        """A task wakes; ``ran_ns``: how long the running one has run since it was charged last. Whether somebody must be picked.

        One that has not left yet is placed before the running one is charged: so does requeue_delayed_entity() of 6.12.
        """
        if task.leaving:
            if self.clamped(task) > 0:
                self.competing.remove(task)
                task.lag = Fraction(0)
                self.place(task)
            task.leaving = False
            asked = self.run(ran_ns)
        else:
            asked = self.run(ran_ns)
            self.place(task)
        return asked or self.curr is None or self.best() is task
