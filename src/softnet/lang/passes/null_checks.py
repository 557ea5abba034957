# SPDX-License-Identifier: GPL-2.0-or-later
"""A pass over the form: which references cannot be NULL where they are used, so that they are not tested there.

A forward analysis of each function's blocks: a reference is sound after it was tested, after a branch that asked for it, and
where it is the address of something; where paths join, if it is on all of them. Across functions: a parameter is sound if
every call passes a sound argument, a result if every return gives one. Of a function that is entered from outside the form
or through a pointer nothing is known. The analysis begins with the best of everything and takes back what does not hold until
nothing changes, so what is left holds.

The pass only marks instructions. Which NULL stops a run, where and with which words is the same with and without it: a test is
left out only where it cannot fail. A user's patch is part of the program, which is analysed whole each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from softnet.lang import ir

ENTRIES: Final = ("next_context", "actor_set", "irq_context", "task_context")
"""What lang.native_runtime calls, besides the observer of a change of context."""

Value = int | str | ir.Temp
"""A constant, what a local held when its block began (by the local's name), or what an instruction gave."""


def mark_sound(module: ir.Module, entries: Iterable[str] = ENTRIES) -> None:
    """Clear ``checked`` of every Offset and IndexOf whose reference is sound.

    ``entries`` are the functions that something outside the module calls.
    """
    _Program(module, {*entries, module.before_switch} | module.pointed).mark()


def mark_sound_alone(module: ir.Module) -> None:
    """The same where every function may be entered from outside: nothing is known of parameters and results."""
    _Program(module, set(module.functions), results=False).mark()


@dataclass(slots=True)
class _Facts:
    """What is known of a function: its sound parameters, and whether its result is sound."""

    params: frozenset[str]
    result: bool


Facts = dict[str, _Facts]


class _Program:
    """The analysis of all functions."""

    def __init__(self, module: ir.Module, entries: set[str], *, results: bool = True) -> None:
        self.flows = {name: _Flow(function) for name, function in module.functions.items()}
        self.callers: dict[str, dict[str, None]] = {}
        for name, flow in self.flows.items():
            for callee in flow.callees:
                self.callers.setdefault(callee, {})[name] = None
        self.facts = {
            name: _Facts(
                frozenset(() if name in entries or name not in self.callers else function.params),
                results and self.flows[name].may_give,
            )
            for name, function in module.functions.items()
        }

    def settle(self) -> None:
        """Take back what does not hold until nothing changes."""
        pending = dict.fromkeys(self.flows)
        while pending:
            name = next(iter(pending))
            del pending[name]
            flow, facts = self.flows[name], self.facts[name]
            flow.solve(self.facts, facts.params)
            for place in flow.places():
                for callee, args in place.calls:
                    self.given(callee, args, pending)
            if facts.result and not all(place.result for place in flow.places()):
                facts.result = False
                pending.update(self.callers.get(name, {}))

    def given(self, callee: str, args: list[bool], pending: dict[str, None]) -> None:
        """A call passes arguments, of which some are sound."""
        facts = self.facts[callee]
        if facts.params:
            sound = {param for param, fine in zip(self.flows[callee].params, args, strict=True) if fine}
            if not facts.params <= sound:
                facts.params &= sound
                pending[callee] = None

    def mark(self) -> None:
        """Mark the instructions by what holds. Blocks that nothing leads to are left as they are."""
        self.settle()
        for flow in self.flows.values():
            for place in flow.places():
                for instr, sound in place.tests:
                    instr.checked = not sound


@dataclass(slots=True)
class _Place:
    """What is known at one place of a block, and what was met on the way there from the block's beginning."""

    sound: set[Value]
    now: dict[str, Value] = field(default_factory=dict)
    """Local -> its value, where it was set in this block."""
    same: dict[ir.Temp, Value] = field(default_factory=dict)
    """Temps that were read from a local -> its value then."""
    conditions: dict[Value, ir.Binary] = field(default_factory=dict)
    calls: list[tuple[str, list[bool]]] = field(default_factory=list)
    """Functions called, and which of their arguments are sound."""
    tests: list[tuple[ir.Offset | ir.IndexOf, bool]] = field(default_factory=list)
    """Uses of references, and whether each is sound."""
    result: bool = True
    """False where the block returns what may be NULL."""

    def value(self, operand: ir.Operand) -> Value:
        """What an operand stands for."""
        return operand if isinstance(operand, int) else self.same.get(operand, operand)

    def is_sound(self, value: Value) -> bool:
        """Whether a value cannot be NULL."""
        return value != 0 if isinstance(value, int) else value in self.sound

    def locals(self) -> frozenset[str]:
        """The locals that are sound here."""
        found = {value for value in self.sound if isinstance(value, str) and value not in self.now}
        found.update(name for name, value in self.now.items() if self.is_sound(value))
        return frozenset(found)

    def assume(self, operand: ir.Operand, truth: bool) -> None:
        """Add what follows from an operand's being true, or false."""
        value = self.value(operand)
        if truth:
            self.sound.add(value)
        condition = self.conditions.get(value)
        if condition is None:
            return
        equal = (condition.op == "==") == truth
        for this, other in ((condition.left, condition.right), (condition.right, condition.left)):
            if other == 0:
                self.assume(this, not equal)
            elif equal and self.is_sound(self.value(other)):
                self.assume(this, True)

    def follow(self, i: ir.Instr, facts: Facts) -> None:
        """Go on behind an instruction."""
        match i:
            case ir.Get(_, to, local):
                self.same[to] = self.now.get(local, local)
            case ir.Set(_, local, value):
                self.now[local] = self.value(value)
            case ir.Offset(_, to, base) | ir.IndexOf(_, to, _, base):
                reference = self.value(base)
                self.tests.append((i, self.is_sound(reference)))
                self.sound.add(reference)
                if isinstance(i, ir.Offset):
                    self.sound.add(to)
            case ir.Element(_, to) | ir.Table(_, to):
                self.sound.add(to)
            case ir.Call(_, to, function, args):
                self.calls.append((function, [self.is_sound(self.value(arg)) for arg in args]))
                if to is not None and facts[function].result:
                    self.sound.add(to)
            case ir.Binary(_, to, "==" | "!="):
                self.conditions[to] = i
            case ir.Check(_, value):
                self.assume(value, True)
            case _:
                pass


_FOLLOWED: Final = (ir.Get, ir.Set, ir.Offset, ir.IndexOf, ir.Element, ir.Table, ir.Call, ir.Binary, ir.Check)


class _Flow:
    """The analysis of one function."""

    def __init__(self, function: ir.Function) -> None:
        self.params = function.params
        self.first = function.blocks[0].label
        self.body = {b.label: [i for i in b.body if isinstance(i, _FOLLOWED)] for b in function.blocks}
        self.end = {b.label: b.end for b in function.blocks}
        self.callees = {i.function: None for body in self.body.values() for i in body if isinstance(i, ir.Call)}
        ends = self.end.values()
        self.may_give = function.returns and not any(isinstance(e, ir.Return) and not e.value for e in ends)
        self.left: dict[str, _Place] = {}

    def places(self) -> Iterable[_Place]:
        """What is known at the end of each block that the first one leads to."""
        return self.left.values()

    def solve(self, facts: Facts, params: frozenset[str]) -> None:
        """Find what is sound in each block, by what is known of functions."""
        entered = {self.first: params}
        pending = {self.first: None}
        while pending:
            label = next(iter(pending))
            del pending[label]
            place = _Place(set(entered[label]))
            for instr in self.body[label]:
                place.follow(instr, facts)
            self.left[label] = place
            for target, sound in _leave(place, self.end[label]):
                before = entered.get(target)
                if before is None or not before <= sound:
                    entered[target] = sound if before is None else before & sound
                    pending[target] = None


def _leave(place: _Place, end: ir.Terminator | None) -> Iterator[tuple[str, frozenset[str]]]:
    """Where a block leads, and which locals are sound there."""
    if isinstance(end, ir.Jump):
        yield end.target, place.locals()
    elif isinstance(end, ir.Branch):
        before = set(place.sound)
        for target, truth in ((end.yes, True), (end.no, False)):
            place.sound = set(before)
            place.assume(end.value, truth)
            yield target, place.locals()
        place.sound = before
    elif isinstance(end, ir.Return):
        place.result = end.value is not None and place.is_sound(place.value(end.value))
