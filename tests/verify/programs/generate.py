# SPDX-License-Identifier: GPL-2.0-or-later
"""Small programs by chance: sections that nest, words of every kind, softirqs that interrupts raise."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.verify.programs import kernel as k
from tests.verify.programs.explore import Operation, Program, Shape

SHAPES = (
    Shape(1, (0,), (1,)),
    Shape(1, (0, 0), (0,), ticks=True),
    Shape(1, (0, 0), (1,), ticks=True),
    Shape(1, (0,), (2,)),
    Shape(2, (0, 1), (0, 0)),
    Shape(2, (0, 1), (1, 0)),
    Shape(2, (0,), (0, 1)),
    Shape(2, (1,), (1, 0), ticks=True),
)

TASK, SOFTIRQ, INTERRUPT = "task", "softirq", "interrupt"


class Writer:
    """Writes one context's code."""

    def __init__(self, rng: random.Random, level: str, notes: list[int], room: int) -> None:
        self.rng, self.level, self.notes = rng, level, notes
        self.out: list[Operation] = []
        self.held: list[int] = []
        self.irqs_off = level == INTERRUPT
        self.flags = 0
        self.room = rng.randint(min(2, room), room)
        self.looks = rng.choice((0.3, 0.6, 0.8)) if level == TASK else 0.2
        """How many of the accesses only look."""

    def write(self) -> tuple[Operation, ...]:
        """The whole code."""
        if self.level == INTERRUPT and self.rng.random() < 0.7:
            self.softirq(0)
        while self.room > 0:
            self.statement(0)
        return tuple(self.out)

    def statement(self, depth: int) -> None:
        """An access, a section, or a part that depends on a word."""
        self.room -= 1
        choices: list[tuple[int, Callable[[int], None]]] = [(5, self.access)]
        if depth < 2:
            choices += [(6, self.section), (1, self.condition)]
        if self.level == TASK:
            choices.append((1, self.softirq))
        total = self.rng.randrange(sum(weight for weight, _ in choices))
        for weight, what in choices:
            if total < weight:
                what(depth)
                return
            total -= weight

    def inside(self, depth: int) -> None:
        """What stands in a section: mostly something that others may see."""
        for n in range(self.rng.choice((0, 1, 1, 2))):
            if self.room > 0 and n:
                self.statement(depth + 1)
            else:
                self.access(depth)

    # -- statements

    def access(self, depth: int) -> None:
        """One access; what it looked at is kept."""
        rng = self.rng
        word = rng.choice((k.S0, k.S0, k.S0, k.S1, k.P0, k.Q0, k.G0))
        look = rng.random() < self.looks
        if word == k.G0 and 0 not in self.held and rng.random() < 0.97:
            word, look = (k.G0, True) if rng.random() < 0.5 else (k.S1, look)
        if word == k.Q0 and not self.held and rng.random() < 0.6:
            word = k.S0
        marked = word in (k.S0, k.S1, k.G0) and (rng.random() < 0.3 or (word == k.G0 and 0 not in self.held))
        if look:
            self.out.append((k.READ_ONCE_OF if marked else k.LOAD, word, 0))
            if self.notes:
                self.out.append((k.OBSERVE, self.notes[0], 0))
                self.notes.append(self.notes.pop(0))
        elif word in (k.S0, k.S1) and marked and rng.random() < 0.6:
            self.out.append((rng.choice((k.INC, k.CAS)), word, 0))
        else:
            plain = (k.STORE, k.STORE_X, k.ADD, k.ADD, k.ADD)
            self.out.append((k.WRITE_ONCE_TO if marked else rng.choice(plain), word, rng.randint(1, 2)))
        if rng.random() < 0.03:
            self.out.append((k.BUG_IF, 2, 0))

    def condition(self, depth: int) -> None:
        """A part that is done only if a word has some value."""
        word = self.rng.choice((k.S0, k.S1))
        self.out.append((self.rng.choice((k.READ_ONCE_OF, k.LOAD, k.CAS)), word, 0))
        self.guarded_part((k.SKIP_UNLESS, self.rng.randint(0, 2)), depth)

    def guarded_part(self, head: tuple[int, int], depth: int) -> None:
        """An operation that skips what follows."""
        at = len(self.out)
        self.out.append((*head, 0))
        self.inside(depth)
        self.out[at] = (*head, len(self.out) - at - 1)

    def softirq(self, depth: int) -> None:
        """Raise the softirq."""
        self.out.append((k.RAISE_IRQOFF if self.irqs_off else k.RAISE, 0, 0))

    def section(self, depth: int) -> None:
        """A lock, or what keeps softirqs, tasks or interrupts away."""
        rng = self.rng
        locks = [n for n in (0, 1) if n not in self.held]
        kinds = ["preempt"]
        if locks:
            kinds += ["lock", "lock", "lock", "try"]
        if self.flags == 0:
            kinds.append("irq")
        if not self.irqs_off:
            kinds += ["bh", "bh"]
        kind = rng.choice(kinds)
        if kind == "preempt":
            self.around((k.PREEMPT_OFF, 0, 0), (k.PREEMPT_ON, 0, 0), depth)
        elif kind == "bh":
            self.around((k.BH_OFF, 0, 0), (k.BH_ON, 0, 0), depth)
        elif kind == "irq":
            self.with_flags((k.IRQ_OFF, 0, 0), (k.IRQ_ON, 0, 0), depth)
        else:
            self.lock(kind, rng.choice(locks), depth)

    def lock(self, kind: str, number: int, depth: int) -> None:
        """A section under a lock."""
        self.held.append(number)
        if kind == "try":
            at = len(self.out)
            self.out.append((k.TRY, number, 0))
            self.inside(depth)
            self.out.append((k.UNLOCK, number, 0))
            self.out[at] = (k.TRY, number, len(self.out) - at - 1)
        else:
            hows = [0] + [1] * 2 * (self.flags == 0) + [2] * (not self.irqs_off)
            how = self.rng.choice(hows)
            begin, end = (k.LOCK, number, how), (k.UNLOCK, number, how)
            (self.with_flags if how == 1 else self.around)(begin, end, depth)
        self.held.remove(number)

    def around(self, begin: Operation, end: Operation, depth: int) -> None:
        """A section."""
        self.out.append(begin)
        self.inside(depth)
        self.out.append(end)

    def with_flags(self, begin: Operation, end: Operation, depth: int) -> None:
        """A section with interrupts off."""
        was, self.irqs_off, self.flags = self.irqs_off, True, self.flags + 1
        self.around(begin, end, depth)
        self.irqs_off, self.flags = was, self.flags - 1


def program(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)
    shape = rng.choice(SHAPES)
    levels = [INTERRUPT, SOFTIRQ, *(TASK for _ in shape.tasks)]
    interrupts = any(shape.interrupts)
    # What many contexts do, or what ticks cut, is short.
    room = max(4 - len(shape.tasks) - shape.ticks - (sum(shape.interrupts) > 1), 1)
    code = []
    for number, level in enumerate(levels):
        # A note is one context's own: an interrupt may come twice, and a softirq run on either CPU.
        notes = list(range(4 * (number - 2), 4 * (number - 1))) if level == TASK else []
        silent = level == INTERRUPT and not interrupts
        code.append(() if silent else Writer(rng, level, notes, room).write())
    return Program(shape, tuple(code))
