# SPDX-License-Identifier: GPL-2.0-or-later
"""A pass over the form: which references cannot be NULL where they are used, so that they are not tested there.

A reference is called *sound* where it cannot be NULL. A forward analysis of each function's blocks finds: it is sound after a
test, after a branch on it, and where it is the address of something; where paths join, if it is sound on all of them. Across
functions: a parameter is sound if every call passes a sound argument, a result if every return gives one. Nothing is assumed of
a function that is entered from outside the form or through a pointer. The analysis first assumes that all is sound and takes
back what does not hold until nothing changes (a greatest fixed point).

The pass only marks instructions. Which NULL stops a run, where and with which words is the same with and without it: a test is
left out only where it cannot fail. A user's patch is part of the program, which is analysed whole each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from softnet.lang import ir

ENTRIES: Final = ("next_context", "actor_set", "irq_context", "task_context")
"""The functions that lang.native.switch_runtime calls, besides the observer of a change of context."""

Value = int | str | ir.Temp
"""A constant, the value of a local at the beginning of the block (by the local's name), or the result of an instruction."""


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
            for end in flow.ends():
                for callee, args in end.calls:
                    self.called(callee, args, pending)
            if facts.result and not all(end.result for end in flow.ends()):
                facts.result = False
                pending.update(self.callers.get(name, {}))

    def called(self, callee: str, args: list[bool], pending: dict[str, None]) -> None:
        """A call: ``args`` says which of its arguments are sound."""
        facts = self.facts[callee]
        if facts.params:
            sound = {param for param, fine in zip(self.flows[callee].params, args, strict=True) if fine}
            if not facts.params <= sound:
                facts.params &= sound
                pending[callee] = None

    def mark(self) -> None:
        """Mark the instructions by what holds. Unreachable blocks are left as they are."""
        self.settle()
        for flow in self.flows.values():
            for end in flow.ends():
                for instr, sound in end.tests:
                    instr.checked = not sound


@dataclass(slots=True)
class _Walk(ir.Visitor[None]):
    """A walk through one block: what holds at the instruction it has come to, and what it has met on the way."""

    facts: Facts
    sound: set[Value]
    now: dict[str, Value] = field(default_factory=dict)
    """Local -> its value, where it was set in this block."""
    same: dict[ir.Temp, Value] = field(default_factory=dict)
    """Temps that were read from a local -> its value then."""
    conditions: dict[Value, ir.Binary] = field(default_factory=dict)
    """The result of a comparison -> the comparison."""
    calls: list[tuple[str, list[bool]]] = field(default_factory=list)
    """Functions called, and which of their arguments are sound."""
    tests: list[tuple[ir.Offset | ir.IndexOf, bool]] = field(default_factory=list)
    """Uses of references, and whether each is sound."""
    result: bool = True
    """False where the block returns what may be NULL."""

    def value(self, operand: ir.Operand) -> Value:
        """The value of an operand."""
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
        """Add what follows if an operand is true, or false."""
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

    # -- instructions

    def otherwise(self, node: ir.Instr) -> None:
        """Other instructions say nothing about references."""

    def on_get(self, i: ir.Get) -> None:
        self.same[i.to] = self.now.get(i.local, i.local)

    def on_set(self, i: ir.Set) -> None:
        self.now[i.local] = self.value(i.value)

    def on_offset(self, i: ir.Offset) -> None:
        self.tested(i, i.base)
        self.sound.add(i.to)

    def on_index_of(self, i: ir.IndexOf) -> None:
        self.tested(i, i.address)

    def tested(self, i: ir.Offset | ir.IndexOf, operand: ir.Operand) -> None:
        """A use of a reference: behind it the reference is sound."""
        reference = self.value(operand)
        self.tests.append((i, self.is_sound(reference)))
        self.sound.add(reference)

    def on_element(self, i: ir.Element) -> None:
        self.sound.add(i.to)

    def on_table(self, i: ir.Table) -> None:
        self.sound.add(i.to)

    def on_call(self, i: ir.Call) -> None:
        self.calls.append((i.function, [self.is_sound(self.value(arg)) for arg in i.args]))
        if i.to is not None and self.facts[i.function].result:
            self.sound.add(i.to)

    def on_binary(self, i: ir.Binary) -> None:
        if i.op in ("==", "!="):
            self.conditions[i.to] = i

    def on_check(self, i: ir.Check) -> None:
        self.assume(i.value, True)


class _Flow:
    """The analysis of one function."""

    def __init__(self, function: ir.Function) -> None:
        self.params = function.params
        self.first = function.blocks[0].label
        self.body = {b.label: [i for i in b.body if _Walk.has_method(i)] for b in function.blocks}
        self.end = {b.label: b.end for b in function.blocks}
        self.callees = {i.function: None for body in self.body.values() for i in body if isinstance(i, ir.Call)}
        ends = self.end.values()
        self.may_give = function.returns and not any(isinstance(e, ir.Return) and not e.value for e in ends)
        self.walks: dict[str, _Walk] = {}

    def ends(self) -> Iterable[_Walk]:
        """The finished walks of all reachable blocks."""
        return self.walks.values()

    def solve(self, facts: Facts, params: frozenset[str]) -> None:
        """Find what is sound in each block, by what is known of functions."""
        entered = {self.first: params}
        pending = {self.first: None}
        while pending:
            label = next(iter(pending))
            del pending[label]
            walk = _Walk(facts, set(entered[label]))
            for instr in self.body[label]:
                walk.visit(instr)
            self.walks[label] = walk
            for target, sound in _leave(walk, self.end[label]):
                before = entered.get(target)
                if before is None or not before <= sound:
                    entered[target] = sound if before is None else before & sound
                    pending[target] = None


def _leave(walk: _Walk, end: ir.Terminator | None) -> Iterator[tuple[str, frozenset[str]]]:
    """The blocks that may come next, and which locals are sound there."""
    if isinstance(end, ir.Jump):
        yield end.target, walk.locals()
    elif isinstance(end, ir.Branch):
        before = set(walk.sound)
        for target, truth in ((end.yes, True), (end.no, False)):
            walk.sound = set(before)
            walk.assume(end.value, truth)
            yield target, walk.locals()
        walk.sound = before
    elif isinstance(end, ir.Return):
        walk.result = end.value is not None and walk.is_sound(walk.value(end.value))
