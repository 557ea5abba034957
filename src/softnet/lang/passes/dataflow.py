# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known at a place of a function: whether it is settled, and which lines are held. See lang.redundant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from softnet.lang import ir
from softnet.lang.passes.symbolic_lines import (
    AFTERWARDS,
    CPU,
    NUMBER,
    RESULT,
    Address,
    Line,
    Root,
    given_line,
    param,
    row,
    told,
)
from softnet.lang.program.layout import BEGINS_LINE

NO, AS_ENTERED, YES = 0, 1, 2
"""Whether a place is settled; AS_ENTERED: if the function was entered so."""


@dataclass
class State:
    """What is known at a place."""

    settled: int
    bound: dict[str, Address]
    """Local -> its value."""
    held: dict[Line, bool]
    """Line -> whether it is held for writing too."""

    def copy(self) -> State:
        """For a path of its own."""
        return State(self.settled, dict(self.bound), dict(self.held))


@dataclass
class Summary:
    """What a call of a function does; the default is what is assumed of one that is not known yet."""

    settled: int = NO
    suspends: bool = True
    """Whether somebody else may act meanwhile."""
    held: dict[Line, bool] = field(default_factory=dict)
    """Lines that are held when it returns, in its own terms."""


UNKNOWN: Final = Summary()


@dataclass
class Entry:
    """What all callers of a function know when they call it, in its terms; None: not called yet."""

    settled: int = YES
    held: dict[Line, bool] | None = None


@dataclass
class Redundant:
    """The instructions of one function that may be dropped, as (block, index)."""

    points: set[tuple[str, int]] = field(default_factory=set)
    lines: set[tuple[str, int]] = field(default_factory=set)


class Flow:
    """The two facts in one function, from what is known when it is entered; ``calls`` collects what it knows at its calls."""

    def __init__(
        self,
        module: ir.Module,
        function: ir.Function,
        summaries: Mapping[str, Summary],
        entry: Entry,
        calls: dict[str, Entry] | None = None,
    ) -> None:
        self.module = module
        self.function = function
        self.summaries = summaries
        self.calls = calls
        self.found = Redundant()
        self.suspends = False
        self.returns: list[tuple[State, Address | None]] = []
        self.label = ""
        self.temps: dict[ir.Temp, Address] = {}
        self.met: set[tuple[str, str]] = set()
        bound = dict.fromkeys(function.locals, Address(NUMBER))
        bound |= {name: Address(param(name)) for name in (*function.params, CPU)}
        self.walk(State(entry.settled, bound, dict(entry.held or {})))

    def walk(self, entry: State) -> None:
        """Follow the blocks until nothing changes, then once more to note what is found."""
        before: dict[str, list[str]] = {block.label: [] for block in self.function.blocks}
        for block in self.function.blocks:
            for target in targets(block):
                before[target].append(block.label)
        first = self.function.blocks[0].label
        after: dict[str, State] = {}
        order = self.order()
        place = {block.label: index for index, block in enumerate(order)}
        # Without a loop one turn is enough.
        final = all(place[target] > place[block.label] for block in order for target in targets(block))
        while True:
            changed = False
            for block in order:
                known = [after[label] for label in before[block.label] if label in after]
                if block.label == first:
                    known.append(entry)
                state = self.meet(block.label, known)
                self.through(block, state, final)
                if after.get(block.label) != state:
                    after[block.label] = state
                    changed = True
            if final:
                break
            final = not changed

    def order(self) -> list[ir.Block]:
        """The blocks, each behind those that lead to it, but for loops."""
        blocks = {block.label: block for block in self.function.blocks}
        first = self.function.blocks[0]
        done: list[ir.Block] = []
        seen = {first.label}
        path = [(first, iter(targets(first)))]
        while path:
            block, rest = path[-1]
            for target in rest:
                if target not in seen:
                    seen.add(target)
                    path.append((blocks[target], iter(targets(blocks[target]))))
                    break
            else:
                done.append(block)
                path.pop()
        return done[::-1]

    def meet(self, label: str, known: list[State]) -> State:
        """What holds on all paths to a block."""
        state = known[0].copy()
        for other in known[1:]:
            state.settled = min(state.settled, other.settled)
        for local, address in state.bound.items():
            again = (label, local) in self.met or address.root.block == label
            if again or any(other.bound[local] != address for other in known[1:]):
                self.met.add((label, local))
                state.bound[local] = Address(Root("meet", label, local))
        state.held = {
            line: all(s.held[line] for s in known)
            for line in state.held
            if line.root.block != label and all(line in s.held for s in known)
        }
        return state

    def through(self, block: ir.Block, state: State, final: bool) -> None:
        """Follow one block; ``final``: note what is found."""
        self.label, self.temps = block.label, {}
        for index, instr in enumerate(block.body):
            match instr:
                case ir.Get(_, to, local):
                    self.temps[to] = state.bound[local]
                case ir.Set(_, local, value):
                    state.bound[local] = self.value(value)
                case ir.Offset(_, to, base, words, what):
                    self.temps[to] = self.value(base).part(words, self.module.in_lines.get(what.partition(".")[0], 0))
                case ir.Table(_, to, struct, number):
                    self.temps[to] = row(struct, self.value(number))
                case ir.Load(_, to, place) if place.field == "engine_state.cpu":
                    self.temps[to] = state.bound[CPU]
                case ir.Store(_, place) if place.field in self.module.decides_turn:
                    state.settled = NO
                    if place.field == "engine_state.cpu":
                        self.suspended(state, index)
                case ir.Point():
                    if state.settled == YES:
                        if final:
                            self.found.points.add((block.label, index))
                    else:
                        self.suspended(state, index)
                        state.settled = YES
                case ir.Suspend() | ir.CallPointer():
                    self.suspended(state, index)
                    state.settled = NO
                case ir.Call(_, None, "line_read" | "line_write" as name, (address,)):
                    line, write = self.value(address).line(), name == "line_write"
                    held = state.held.get(line)
                    if held is None or (write and not held):
                        state.held[line] = write
                        state.settled = NO
                    elif final:
                        self.found.lines.add((block.label, index))
                case ir.Call():
                    self.called(instr, state, index, final)
                case _:
                    pass
        if final and isinstance(block.end, ir.Return):
            result = None if block.end.value is None else self.value(block.end.value)
            self.returns.append((state, result))

    def value(self, operand: ir.Operand) -> Address:
        """What an operand is."""
        if isinstance(operand, int):
            return Address(NUMBER, operand, BEGINS_LINE)
        found = self.temps.get(operand)
        return Address(Root("temp", self.label, operand.number)) if found is None else found

    def suspended(self, state: State, index: int) -> None:
        """Others may have acted, and this context may go on on another CPU."""
        self.suspends = True
        state.held = {}
        state.bound[CPU] = Address(Root("cpu", self.label, index))

    def called(self, call: ir.Call, state: State, index: int, final: bool) -> None:
        """A call of a function by its name: what its summary says."""
        callee = self.module.functions[call.function]
        given = {name: self.value(arg) for name, arg in zip(callee.params, call.args, strict=True)}
        given[CPU] = state.bound[CPU]
        if final and self.calls is not None:
            self.enters(call.function, given, state)
        summary = self.summaries.get(call.function, UNKNOWN)
        if summary.suspends:
            self.suspended(state, index)
        if summary.settled != AS_ENTERED:
            state.settled = summary.settled
        given[AFTERWARDS] = state.bound[CPU]
        given[RESULT] = Address(NUMBER) if call.to is None else self.value(call.to)
        for line, write in summary.held.items():
            theirs = given_line(line, given)
            state.held[theirs] = write or state.held.get(theirs, False)

    def enters(self, name: str, given: Mapping[str, Address], state: State) -> None:
        """Tell a function what this caller knows."""
        assert self.calls is not None
        entry = self.calls.setdefault(name, Entry())
        entry.settled = min(entry.settled, state.settled)
        names: dict[Root, Root] = {}
        held: dict[Line, bool] = {}
        for argument, address in given.items():
            if address.root == NUMBER:
                continue
            if address.words == 0:
                names.setdefault(address.root, param(argument))
            elif address.line() in state.held:
                held[Line(param(argument), 0)] = state.held[address.line()]
        held |= in_terms(state.held, names)
        if entry.held is None:
            entry.held = held
        else:
            entry.held = {line: write and held[line] for line, write in entry.held.items() if line in held}

    def summary(self) -> Summary:
        """What the function does, for its callers."""
        if not self.returns:
            return Summary(AS_ENTERED, self.suspends)
        names = {param(name): param(name) for name in self.function.params}
        ends = []
        for state, result in self.returns:
            mine: dict[Root, Root] = {**names, state.bound[CPU].root: param(AFTERWARDS)}
            if result is not None and result.words == 0 and result.root not in (NUMBER, *mine):
                mine[result.root] = param(RESULT)
            ends.append(in_terms(state.held, mine))
        held = {line: all(end[line] for end in ends) for line in ends[0] if all(line in end for end in ends)}
        return Summary(min(state.settled for state, _ in self.returns), self.suspends, held)


def in_terms(held: Mapping[Line, bool], names: Mapping[Root, Root]) -> dict[Line, bool]:
    """The lines of which another function can be told."""
    found = {}
    for line, write in held.items():
        theirs = told(line.root, names)
        if theirs is not None:
            found[line._replace(root=theirs)] = write
    return found


def targets(block: ir.Block) -> list[str]:
    """The blocks that a block leads to."""
    if isinstance(block.end, ir.Jump):
        return [block.end.target]
    return [block.end.yes, block.end.no] if isinstance(block.end, ir.Branch) else []
