# SPDX-License-Identifier: GPL-2.0-or-later
"""The function that is being lowered: its blocks, and a method for each thing that the lowering puts into them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from softnet.lang import ir
from softnet.lang.check.names import World
from softnet.lang.check.subset import TypedFunction
from softnet.lang.declare import HW, PERCPU, SHARED
from softnet.lang.program.observe import Observers
from softnet.lang.program.program import StructDef
from softnet.lang.types import INT64_MAX, INT64_MIN
from softnet.units import draw

_FOLD: Final[dict[str, Callable[[int, int], int]]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "&": lambda a, b: a & b,
    "|": lambda a, b: a | b, "^": lambda a, b: a ^ b, "==": lambda a, b: int(a == b), "!=": lambda a, b: int(a != b),
    "<": lambda a, b: int(a < b), "<=": lambda a, b: int(a <= b), ">": lambda a, b: int(a > b),
    ">=": lambda a, b: int(a >= b), "min": min, "max": max, "draw": draw,
    "<<": lambda a, b: a << b, ">>": lambda a, b: a >> b, "//": lambda a, b: a // b, "%": lambda a, b: a % b,
}  # fmt: skip


@dataclass(frozen=True)
class Context:
    """What the functions of one program share while they are lowered."""

    world: World
    module: ir.Module
    structs: dict[str, StructDef]
    costs: Mapping[str, int]
    checks: bool
    """Whether accesses to guarded fields check their lock."""
    observers: Observers = field(default_factory=Observers)
    """What is observed."""


class Builder:
    """One function while it is lowered."""

    def __init__(self, function: TypedFunction, context: Context) -> None:
        self.typed = function
        self.header = function.header
        self.module = context.module
        self.structs = context.structs
        self.context = context
        self.kernel = self.header.kind == "kfunc"
        self.blocks = [ir.Block("entry")]
        self.current = self.blocks[0]
        """The block that instructions go into."""
        self.hidden: list[str] = []
        """Locals of the compiler's own."""
        self.at = ir.At(self.header.tree.lineno, 1)
        """Where the next instruction comes from."""
        self._temps = 0
        self._labels = 0

    def locate(self, node: ast.AST) -> None:
        """The next instructions come from this node."""
        column = self.header.source.column(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        self.at = ir.At(node.lineno, column)  # type: ignore[attr-defined]

    # -- blocks

    def new_block(self, what: str) -> ir.Block:
        """A block that is not part of the function yet."""
        self._labels += 1
        return ir.Block(f"{what}{self._labels}")

    def enter(self, block: ir.Block) -> None:
        """The next instructions go into ``block``."""
        self.blocks.append(block)
        self.current = block

    def end(self, how: ir.Terminator) -> None:
        """End the current block unless it has ended."""
        if self.current.end is None:
            self.current.end = how

    def jump(self, target: ir.Block) -> None:
        """Go on in another block."""
        self.end(ir.Jump(self.at, target.label))

    def branch(self, value: ir.Operand, yes: ir.Block, no: ir.Block) -> None:
        """Go on in one of two blocks; a constant decides here."""
        if isinstance(value, int):
            self.jump(yes if value else no)
        else:
            self.end(ir.Branch(self.at, value, yes.label, no.label))

    def when(self, condition: ir.Operand, then: Callable[[], None]) -> None:
        """Emit what ``then`` emits under a condition. Ends the block unless the condition is a constant."""
        if isinstance(condition, int):
            if condition:
                then()
            return
        yes, after = self.new_block("then"), self.new_block("after")
        self.branch(condition, yes, after)
        self.enter(yes)
        then()
        self.jump(after)
        self.enter(after)

    # -- values

    def emit(self, instr: ir.Instr) -> None:
        """Append to the current block; what follows a jump is dropped."""
        if self.current.end is None:
            self.current.body.append(instr)

    def temp(self) -> ir.Temp:
        """A new temp."""
        self._temps += 1
        return ir.Temp(self._temps)

    def hidden_local(self, what: str) -> str:
        """A local of the compiler's own; no local of the user's can have its name."""
        name = f".{what}{len(self.hidden)}"
        self.hidden.append(name)
        return name

    def get(self, local: str) -> ir.Temp:
        """Read a local."""
        to = self.temp()
        self.emit(ir.Get(self.at, to, local))
        return to

    def set(self, local: str, value: ir.Operand) -> None:
        """Write a local."""
        self.emit(ir.Set(self.at, local, value))

    def binary(self, op: str, left: ir.Operand, right: ir.Operand) -> ir.Operand:
        """An operation, folded if both sides are constants and Python would give a 64-bit number."""
        if isinstance(left, int) and isinstance(right, int) and (op not in ("//", "%") or right):
            if op not in ("<<", ">>") or 0 <= right < 63:
                value = _FOLD[op](left, right)
                if INT64_MIN <= value <= INT64_MAX:
                    return value
        to = self.temp()
        self.emit(ir.Binary(self.at, to, op, left, right))
        return to

    def call(self, function: str, *args: ir.Operand) -> ir.Temp:
        """Call a function whose result is wanted."""
        to = self.temp()
        self.emit(ir.Call(self.at, to, function, args))
        return to

    # -- memory

    def load(self, place: ir.Place, order: str = "plain", *, marked: bool = False) -> ir.Temp:
        """Read a place, with what its kind asks for; ``marked`` as for access()."""
        self.access(place, "line_read", marked=marked)
        to = self.temp()
        self.emit(ir.Load(self.at, to, place, order))
        return to

    def store(self, place: ir.Place, value: ir.Operand, order: str = "plain", *, marked: bool = False) -> None:
        """Write a place, with what its kind asks for."""
        self.access(place, "line_write", marked=marked)
        self.emit(ir.Store(self.at, place, value, order))
        self._observe_store(place)

    def atomic(self, op: str, place: ir.Place, *args: ir.Operand) -> ir.Temp:
        """A read-modify-write: it takes the line like a store, and costs more."""
        self.access(place, "line_write", marked=True)
        self.advance(self.engine_load("cost_atomic"))
        to = self.temp()
        self.emit(ir.Atomic(self.at, to, op, place, args))
        self._observe_store(place)
        return to

    def access(self, place: ir.Place, line: str, *, marked: bool) -> None:
        """What comes before an access: the interaction point, the check of the lock, the price of the cache line.

        ``marked``: the kernel marks the access (READ_ONCE and the like), so it is an interaction point whatever the field's kind,
        and its lock need not be held.
        """
        if self.header.kind == "observer":
            return
        if place.kind in (SHARED, PERCPU) or marked:
            self.point(place.field)
        if place.guard and not marked and self.context.checks:
            self._check_guard(place)
        if place.kind != HW or marked:
            self.emit(ir.Call(self.at, None, line, (place.address,)))

    def _observe_store(self, place: ir.Place) -> None:
        """Call the observer of stores to this field, if there is one."""
        observer = self.context.observers.stored.get(place.field, "")
        if observer and self.header.kind != "observer":
            self.emit(ir.Call(self.at, None, observer, (place.address,)))

    def engine_place(self, name: str) -> ir.Place:
        """A field of the singleton engine_state."""
        return ir.Place(self.module.engine[name], f"engine_state.{name}", HW)

    def engine_load(self, name: str) -> ir.Temp:
        """Read a field of the singleton."""
        to = self.temp()
        self.emit(ir.Load(self.at, to, self.engine_place(name)))
        return to

    # -- locks

    def check_held(self, lock: ir.Operand, struct: str, code: str, what: str = "") -> None:
        """Stop unless this context holds the lock. Nothing is checked while the image is built. Ends the block."""
        inner = self.structs[struct].fields.get("lock")
        kept = self.hidden_local("lock")
        self.set(kept, lock if inner is None else self.binary("+", lock, inner.offset))

        def check() -> None:
            self.emit(ir.Check(self.at, self.call("lock_is_held", self.get(kept)), code, what))

        self.when(self.engine_load("running"), check)

    def _check_guard(self, place: ir.Place) -> None:
        """Stop unless the lock of a guarded field is held."""
        struct, _, name = place.field.partition(".")
        fields = self.structs[struct].fields
        lock = fields[place.guard]
        if fields[name].count == 1:
            distance = lock.offset - fields[name].offset
            what = f"{place.field} touched without {place.guard}"
            self.check_held(self.binary("+", place.address, distance), lock.type, "guard", what)

    # -- time and records

    def point(self, why: str) -> None:
        """An interaction point."""
        self.emit(ir.Point(self.at, why))

    def advance(self, ns: ir.Operand) -> None:
        """The running context computes for ``ns``."""
        self.set_now(self.engine_load("now"), ns)

    def set_now(self, now: ir.Operand, ns: ir.Operand) -> None:
        """The clock is ``ns`` after ``now``."""
        self.emit(ir.Store(self.at, self.engine_place("now"), self.binary("+", now, ns)))

    def trace(self, event: str, *args: ir.Operand) -> None:
        """Record an event; for a kfunc an interaction point, so that records are in the order of time."""
        if self.kernel:
            self.point(f"trace {event}")
        padded = (*args, 0, 0, 0)[:3]
        self.emit(ir.Trace(self.at, event, padded))
        observer = self.context.observers.event.get(event, "")
        if observer:
            self.emit(ir.Call(self.at, None, observer, padded))
