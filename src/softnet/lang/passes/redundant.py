# SPDX-License-Identifier: GPL-2.0-or-later
"""A pass over the form, for native code: drops interaction points that cannot give way and prices of lines that are 0.

Two facts are followed through a program, along every path (passes.dataflow):

*Settled*: since the last interaction point of this context nothing has moved its clock (``hw.now``), lowered its bound
(``hw.lim``), or set the time at which another actor acts. (The machine sets such times only in actor_set(), cpu_update(),
irq_post() and irq_local_restore(), which may lower the bound as well.) At that point either the clock was within the bound, or the
context gave way and was chosen again, after which the clock is within the new bound. So another point here would go on; it is
dropped. Where every point gives way (Options.run_ahead off), another point would put the context back and choose it again: it
was the first of those due at that time, equal times being ordered by the actors' numbers, and no actor's time has changed since.
No interrupt waits that did not wait then; switching interrupts off only keeps them away. A context that comes back from a
``Suspend`` may be past its bound (an interrupt begins at its own time), so it is not settled; nor is one after a call through a
pointer.

*Held*: the lines that this CPU has paid for since any other CPU could act. Only another CPU takes a line away, and it can act only
at a point that may give way, or at a ``Suspend``. line_read() and line_write() of a held line do nothing, so they are dropped; and
since a dropped call does not move the clock, each fact helps the other.

What holds when a function returns holds for its callers after the call, and what holds at all calls of a function holds where
it begins; lines are renamed between the two in terms of arguments, result and CPU (passes.symbolic_lines). Nothing is assumed
of functions that are called through a pointer, by the engine, or recursively.

The explorer decides itself where a context may stop, so it gets the form without this pass.
"""

from __future__ import annotations

from collections.abc import Mapping

from softnet.lang import ir
from softnet.lang.native.abi import RUN_WORDS
from softnet.lang.passes.dataflow import AS_ENTERED, NO, Entry, Flow, Redundant, Summary
from softnet.lang.passes.null_checks import ENTRIES
from softnet.lang.program.layout import LINE_SHIFT


def find_redundant(module: ir.Module) -> dict[str, Redundant]:
    """Function -> its instructions that native code can do without."""
    order, recursive = _callees_first(module)
    closed = recursive | module.pointed | set(ENTRIES) | {module.before_switch}
    summaries: dict[str, Summary] = {}
    entries: dict[str, Entry] = {}
    found: dict[str, Redundant] = {}
    for name in order:
        flow = Flow(module, module.functions[name], summaries, Entry(AS_ENTERED))
        summaries[name] = Summary() if name in recursive else flow.summary()
    for name in reversed(order):
        entry = entries.get(name)
        known = Entry(NO) if entry is None or name in closed else entry
        found[name] = Flow(module, module.functions[name], summaries, known, entries).found
    return found


def drop_redundant(module: ir.Module, *, counted: bool = False, checked: bool = False) -> None:
    """Remove what find_redundant() finds.

    ``counted``: a dropped point is still counted; ``checked``: in place of each a check stays that it would have done nothing.
    """
    for name, found in find_redundant(module).items():
        if found.points or found.lines:
            _Dropping(module.engine, found, counted, checked).drop(module.functions[name])


class _Dropping:
    """Rewrites the blocks of one function."""

    def __init__(self, engine: Mapping[str, int], found: Redundant, counted: bool, checked: bool) -> None:
        self.engine = engine
        self.found = found
        self.counted = counted
        self.checked = checked
        self.body: list[ir.Instr] = []
        self.temps = 0

    def drop(self, function: ir.Function) -> None:
        """Give the blocks new bodies."""
        for block in function.blocks:
            self.body = []
            for index, instr in enumerate(block.body):
                if (block.label, index) in self.found.points:
                    assert isinstance(instr, ir.Point)
                    self.point(instr)
                elif (block.label, index) in self.found.lines:
                    assert isinstance(instr, ir.Call)
                    self.line(instr)
                else:
                    self.body.append(instr)
            block.body = self.body

    def point(self, point: ir.Point) -> None:
        """What stays of a dropped interaction point."""
        if self.counted:
            place = ir.Place(RUN_WORDS["points"], "run.points", "hw")
            count = self.binary(point.at, "+", self.load(point.at, place), 1)
            self.body.append(ir.Store(point.at, place, count))
        if self.checked:
            now, lim = (self.load(point.at, self.word(name)) for name in ("now", "lim"))
            within = self.binary(point.at, "<=", now, lim)
            what = f"the compiler took an interaction point for needless that is not: {point.why}"
            self.body.append(ir.Check(point.at, within, "guard", what))

    def line(self, call: ir.Call) -> None:
        """What stays of the dropped price of a line; softnet.machine.cache says when the price is 0."""
        if not self.checked:
            return
        at = call.at
        line = self.binary(at, ">>", call.args[0], LINE_SHIFT)
        where = self.binary(at, "+", self.load(at, self.word("line_mine")), line)
        word = self.load(at, ir.Place(where, "memory", "raw"))
        if call.function == "line_write":
            held = self.binary(at, "==", word, self.load(at, self.word("line_only")))
        else:
            bit = self.binary(at, "&", word, self.load(at, self.word("line_bit")))
            held = self.binary(at, "!=", bit, 0)
        what = f"the compiler took a line for held that is not: {call.function}()"
        self.body.append(ir.Check(at, held, "guard", what))

    def word(self, name: str) -> ir.Place:
        """A field of the singleton engine_state."""
        return ir.Place(self.engine[name], f"engine_state.{name}", "hw")

    def temp(self) -> ir.Temp:
        """A new temp; lowering's have positive numbers."""
        self.temps -= 1
        return ir.Temp(self.temps)

    def load(self, at: ir.At, place: ir.Place) -> ir.Temp:
        to = self.temp()
        self.body.append(ir.Load(at, to, place))
        return to

    def binary(self, at: ir.At, op: str, left: ir.Operand, right: ir.Operand) -> ir.Temp:
        to = self.temp()
        self.body.append(ir.Binary(at, to, op, left, right))
        return to


def _callees_first(module: ir.Module) -> tuple[list[str], set[str]]:
    """All functions, each after those that it calls, and those on a cycle of calls."""
    calls = {
        name: sorted({i.function for b in f.blocks for i in b.body if isinstance(i, ir.Call)} & module.functions.keys())
        for name, f in module.functions.items()
    }
    order: list[str] = []
    recursive: set[str] = set()
    seen: set[str] = set()
    for first in sorted(calls):
        if first in seen:
            continue
        seen.add(first)
        path = [(first, iter(calls[first]))]
        inside = [first]
        while path:
            name, rest = path[-1]
            for other in rest:
                if other in inside:
                    recursive.update(inside[inside.index(other) :])
                elif other not in seen:
                    seen.add(other)
                    path.append((other, iter(calls[other])))
                    inside.append(other)
                    break
            else:
                order.append(name)
                path.pop()
                inside.pop()
    return order, recursive
