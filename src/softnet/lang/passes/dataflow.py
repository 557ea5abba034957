# SPDX-License-Identifier: GPL-2.0-or-later
"""A forward dataflow analysis: at each instruction, whether the context is settled and which cache lines this CPU holds.

*Settled* means: nothing has happened since this context's last interaction point that could make another point give way.
*Held* are the lines that this CPU has paid for since any other CPU could act; touching one again costs nothing. Both terms, and
why what follows from them is right, are explained in passes.redundant, which drops instructions by them.
"""

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
    UNALIGNED,
    Address,
    Line,
    Root,
    param,
    row,
    to_callee,
    to_caller,
)
from softnet.lang.program.layout import BEGINS_LINE

NO, AS_ENTERED, YES = 0, 1, 2
"""Is the context settled here? AS_ENTERED: if it was when the function was entered. Where paths meet, the smallest holds."""


@dataclass
class State:
    """What is known between two instructions."""

    settled: int
    values: dict[str, Address]
    """Local -> its value."""
    held: dict[Line, bool]
    """Line -> whether it is held for writing too."""

    def copy(self) -> State:
        """A state that changes on its own."""
        return State(self.settled, dict(self.values), dict(self.held))


@dataclass
class Summary:
    """What a call of a function does to the caller's state; the default is the worst, for a function not yet analysed."""

    settled: int = NO
    suspends: bool = True
    """Whether another context may act before it returns."""
    held: dict[Line, bool] = field(default_factory=dict)
    """Lines that are held when it returns, as the function itself names them."""


UNKNOWN: Final = Summary()

LINE_PRICES: Final = ("line_read", "line_write")
"""The machine's functions that take the price of a line; lowering puts a call of one before each access."""


@dataclass
class Entry:
    """What holds at all calls of a function, as the function itself names lines; ``held`` is None until a call is found."""

    settled: int = YES
    held: dict[Line, bool] | None = None


@dataclass
class Redundant:
    """The instructions of one function that may be dropped, as (label of the block, index in it)."""

    points: set[tuple[str, int]] = field(default_factory=set)
    lines: set[tuple[str, int]] = field(default_factory=set)


class Flow(ir.Visitor[None]):
    """The analysis of one function. ``entry`` is what holds when it is called; ``calls`` collects what holds at its own calls."""

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
        """The state at each return, and the value returned."""
        self.met: set[tuple[str, str]] = set()
        """(label, local) where paths have brought different values."""
        # Where the analysis is: the block, the temps defined in it so far, the next instruction, the state before it.
        self.label = ""
        self.temps: dict[ir.Temp, Address] = {}
        self.index = 0
        self.final = False
        values = dict.fromkeys(function.locals, Address(NUMBER))
        values |= {name: Address(param(name)) for name in (*function.params, CPU)}
        self.state = State(entry.settled, values, dict(entry.held or {}))
        self.walk(self.state)

    def walk(self, entry: State) -> None:
        """Follow the blocks until nothing changes, then once more to note what is found."""
        before: dict[str, list[str]] = {block.label: [] for block in self.function.blocks}
        for block in self.function.blocks:
            for target in block.successors():
                before[target].append(block.label)
        first = self.function.blocks[0].label
        after: dict[str, State] = {}
        order = self.order()
        place = {block.label: index for index, block in enumerate(order)}
        # Without a loop one round is enough.
        final = all(place[target] > place[block.label] for block in order for target in block.successors())
        while True:
            changed = False
            for block in order:
                states = [after[label] for label in before[block.label] if label in after]
                if block.label == first:
                    states.append(entry)
                state = self.meet(block.label, states)
                self.through(block, state, final)
                if after.get(block.label) != state:
                    after[block.label] = state
                    changed = True
            if final:
                break
            final = not changed

    def order(self) -> list[ir.Block]:
        """The blocks in reverse postorder: each after those that lead to it, except for the way back of a loop."""
        blocks = {block.label: block for block in self.function.blocks}
        first = self.function.blocks[0]
        done: list[ir.Block] = []
        seen = {first.label}
        path = [(first, iter(first.successors()))]
        while path:
            block, rest = path[-1]
            for target in rest:
                if target not in seen:
                    seen.add(target)
                    path.append((blocks[target], iter(blocks[target].successors())))
                    break
            else:
                done.append(block)
                path.pop()
        return done[::-1]

    def meet(self, label: str, states: list[State]) -> State:
        """What holds on all paths to a block; ``states`` are those at the paths' ends."""
        state = states[0].copy()
        for other in states[1:]:
            state.settled = min(state.settled, other.settled)
        for local, address in state.values.items():
            again = (label, local) in self.met or address.root.block == label
            if again or any(other.values[local] != address for other in states[1:]):
                self.met.add((label, local))
                state.values[local] = Address(Root("meet", label, local))
        state.held = {
            line: all(s.held[line] for s in states)
            for line in state.held
            if line.root.block != label and all(line in s.held for s in states)
        }
        return state

    def through(self, block: ir.Block, state: State, final: bool) -> None:
        """Follow one block, which changes ``state``; ``final``: the states are those that hold, so note what is found."""
        self.label, self.temps, self.state, self.final = block.label, {}, state, final
        for self.index, instr in enumerate(block.body):
            self.visit(instr)
        if final and isinstance(block.end, ir.Return):
            result = None if block.end.value is None else self.value(block.end.value)
            self.returns.append((state, result))

    def value(self, operand: ir.Operand) -> Address:
        """The value of an operand."""
        if isinstance(operand, int):
            return Address(NUMBER, operand, BEGINS_LINE)
        found = self.temps.get(operand)
        return Address(Root("temp", self.label, operand.number)) if found is None else found

    def suspended(self) -> None:
        """Others may have acted, and this context may go on on another CPU."""
        self.suspends = True
        self.state.held = {}
        self.state.values[CPU] = Address(Root("cpu", self.label, self.index))

    # -- instructions

    def otherwise(self, node: ir.Instr) -> None:
        """Other instructions change nothing that is followed here."""

    def on_get(self, i: ir.Get) -> None:
        self.temps[i.to] = self.state.values[i.local]

    def on_set(self, i: ir.Set) -> None:
        self.state.values[i.local] = self.value(i.value)

    def on_offset(self, i: ir.Offset) -> None:
        alignment = self.module.in_lines.get(i.what.partition(".")[0], UNALIGNED)
        self.temps[i.to] = self.value(i.base).plus(i.words, alignment)

    def on_table(self, i: ir.Table) -> None:
        self.temps[i.to] = row(i.struct, self.value(i.index))

    def on_load(self, i: ir.Load) -> None:
        if i.place.field == ir.CPU_FIELD:
            self.temps[i.to] = self.state.values[CPU]

    def on_store(self, i: ir.Store) -> None:
        if i.place.field in self.module.decides_turn:
            self.state.settled = NO
            if i.place.field == ir.CPU_FIELD:
                self.suspended()

    def on_point(self, i: ir.Point) -> None:
        if self.state.settled != YES:
            self.suspended()
            self.state.settled = YES
        elif self.final:
            self.found.points.add((self.label, self.index))

    def on_suspend(self, i: ir.Suspend) -> None:
        self.suspended()
        self.state.settled = NO

    def on_call_pointer(self, i: ir.CallPointer) -> None:
        self.suspended()
        self.state.settled = NO

    def on_call(self, i: ir.Call) -> None:
        if i.to is None and i.function in LINE_PRICES and len(i.args) == 1:
            self.line_touched(self.value(i.args[0]).line(), write=i.function == "line_write")
        else:
            self.called(i)

    def line_touched(self, line: Line, *, write: bool) -> None:
        """The price of a line: 0 if it is held."""
        held = self.state.held.get(line)
        if held is None or (write and not held):
            self.state.held[line] = write
            self.state.settled = NO
        elif self.final:
            self.found.lines.add((self.label, self.index))

    def called(self, call: ir.Call) -> None:
        """A call of a function by its name: what its summary says."""
        state = self.state
        callee = self.module.functions[call.function]
        arguments = {name: self.value(arg) for name, arg in zip(callee.params, call.args, strict=True)}
        arguments[CPU] = state.values[CPU]
        if self.final and self.calls is not None:
            self.enters(call.function, arguments, state)
        summary = self.summaries.get(call.function, UNKNOWN)
        if summary.suspends:
            self.suspended()
        if summary.settled != AS_ENTERED:
            state.settled = summary.settled
        arguments[AFTERWARDS] = state.values[CPU]
        arguments[RESULT] = Address(NUMBER) if call.to is None else self.value(call.to)
        for line, write in summary.held.items():
            mine = to_caller(line, arguments)
            state.held[mine] = write or state.held.get(mine, False)

    # -- across functions

    def enters(self, name: str, arguments: Mapping[str, Address], state: State) -> None:
        """Add what holds at this call to what holds at all calls of the function."""
        assert self.calls is not None
        entry = self.calls.setdefault(name, Entry())
        entry.settled = min(entry.settled, state.settled)
        names: dict[Root, Root] = {}
        held: dict[Line, bool] = {}
        for argument, address in arguments.items():
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
            mine: dict[Root, Root] = {**names, state.values[CPU].root: param(AFTERWARDS)}
            if result is not None and result.words == 0 and result.root not in (NUMBER, *mine):
                mine[result.root] = param(RESULT)
            ends.append(in_terms(state.held, mine))
        held = {line: all(end[line] for end in ends) for line in ends[0] if all(line in end for end in ends)}
        return Summary(min(state.settled for state, _ in self.returns), self.suspends, held)


def in_terms(held: Mapping[Line, bool], names: Mapping[Root, Root]) -> dict[Line, bool]:
    """The lines that another function has a name for, under its name."""
    found = {}
    for line, write in held.items():
        theirs = to_callee(line.root, names)
        if theirs is not None:
            found[line._replace(root=theirs)] = write
    return found
