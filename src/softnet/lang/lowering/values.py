# SPDX-License-Identifier: GPL-2.0-or-later
"""Lowering of expressions: fields, calls and intrinsics, with their interaction points and the price of cache lines."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from softnet.lang import ir
from softnet.lang.check.names import ENGINE_NAME, World
from softnet.lang.check.subset import TypedFunction
from softnet.lang.declare import HW, PERCPU, SHARED
from softnet.lang.program.layout import ENGINE_BASE
from softnet.lang.program.observe import Observers
from softnet.lang.program.program import FieldDef, StructDef
from softnet.lang.types import BOOL, VOID

BINARY_OPERATORS: Final = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%", ast.BitAnd: "&", ast.BitOr: "|",
    ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
_COMPARISONS: Final = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "==",
    ast.IsNot: "!=",
}  # fmt: skip
_FOLD: Final[dict[str, Callable[[int, int], int]]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "&": lambda a, b: a & b,
    "|": lambda a, b: a | b, "^": lambda a, b: a ^ b, "==": lambda a, b: int(a == b), "!=": lambda a, b: int(a != b),
    "<": lambda a, b: int(a < b), "<=": lambda a, b: int(a <= b), ">": lambda a, b: int(a > b),
    ">=": lambda a, b: int(a >= b), "min": min, "max": max,
    "<<": lambda a, b: a << b, ">>": lambda a, b: a >> b, "//": lambda a, b: a // b, "%": lambda a, b: a % b,
}  # fmt: skip
INT64_MAX: Final = 2**63 - 1


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


class Values:
    """Lowers the expressions of one function into its current block."""

    def __init__(self, function: TypedFunction, context: Context) -> None:
        self.typed = function
        self.header = function.header
        self.world = context.world
        self.module = context.module
        self.structs = context.structs
        self.context = context
        self.kernel = self.header.kind == "kfunc"
        self.blocks: list[ir.Block] = []
        self.current = ir.Block("entry")
        self.temps = 0
        self.hidden: list[str] = []
        self.at = ir.At(self.header.tree.lineno, 1)

    # -- building blocks

    def emit(self, instr: ir.Instr) -> None:
        """Append to the current block; what follows a jump is dropped."""
        if self.current.end is None:
            self.current.body.append(instr)

    def temp(self) -> ir.Temp:
        """A fresh temp."""
        self.temps += 1
        return ir.Temp(self.temps)

    def place_of(self, node: ast.AST) -> None:
        """Instructions from here on come from this node."""
        column = self.header.source.column(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        self.at = ir.At(node.lineno, column)  # type: ignore[attr-defined]

    def hidden_local(self, what: str) -> str:
        """A local of the compiler's own; its name cannot be one of the user's."""
        name = f".{what}{len(self.hidden)}"
        self.hidden.append(name)
        return name

    def get(self, local: str) -> ir.Temp:
        """Read a local."""
        to = self.temp()
        self.emit(ir.Get(self.at, to, local))
        return to

    def keep(self, operand: ir.Operand, *others: ast.expr) -> Callable[[], ir.Operand]:
        """Carry an operand over the evaluation of ``others``, which may end the block."""
        if isinstance(operand, int) or not any(_may_branch(other) for other in others):
            return lambda: operand
        name = self.hidden_local("kept")
        self.emit(ir.Set(self.at, name, operand))
        return lambda: self.get(name)

    def operands(self, nodes: list[ast.expr]) -> list[ir.Operand]:
        """Evaluate from left to right."""
        kept = [self.keep(self.value(node), *nodes[i + 1 :]) for i, node in enumerate(nodes)]
        return [operand() for operand in kept]

    def binary(self, op: str, left: ir.Operand, right: ir.Operand) -> ir.Operand:
        """An operation, folded if both sides are constants and Python would give a 64-bit number."""
        if isinstance(left, int) and isinstance(right, int) and (op not in ("//", "%") or right):
            if op not in ("<<", ">>") or 0 <= right < 63:
                value = _FOLD[op](left, right)
                if -INT64_MAX - 1 <= value <= INT64_MAX:
                    return value
        to = self.temp()
        self.emit(ir.Binary(self.at, to, op, left, right))
        return to

    def point(self, why: str) -> None:
        """An interaction point."""
        self.emit(ir.Point(self.at, why))

    def call(self, function: str, *args: ir.Operand) -> ir.Temp:
        """Call a function whose result is wanted."""
        to = self.temp()
        self.emit(ir.Call(self.at, to, function, args))
        return to

    # -- expressions

    def value(self, node: ast.expr) -> ir.Operand:
        """The value of an expression; 0 for a call that gives none."""
        result: ir.Operand = getattr(self, "_" + type(node).__name__.lower())(node)
        return result

    def branches(self, node: ast.expr) -> ir.Operand:
        """A value that takes a branch: of and, or, if-else."""
        raise NotImplementedError

    def truth(self, node: ast.expr) -> ir.Operand:
        """A condition as 0 or 1."""
        if isinstance(node, ast.BoolOp):
            return self.branches(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            joined = isinstance(node.operand, ast.BoolOp | ast.UnaryOp)
            return self.binary("==", self.truth(node.operand) if joined else self.value(node.operand), 0)
        value = self.value(node)
        return value if self.typed.types.get(node) == BOOL else self.binary("!=", value, 0)

    def _constant(self, node: ast.Constant) -> ir.Operand:
        return 0 if node.value is None else int(node.value)  # type: ignore[arg-type]

    def _name(self, node: ast.Name) -> ir.Operand:
        self.place_of(node)
        if node.id in self.typed.locals:
            return self.get(node.id)
        program = self.world.program
        if node.id in program.constants:
            return program.constants[node.id]
        if node.id in program.functions:
            self.module.pointed.add(node.id)
            return self.module.function_ids[node.id]
        assert node.id == ENGINE_NAME
        return ENGINE_BASE

    def _binop(self, node: ast.BinOp) -> ir.Operand:
        left, right = self.operands([node.left, node.right])
        self.place_of(node)
        return self.binary(BINARY_OPERATORS[type(node.op)], left, right)

    def _unaryop(self, node: ast.UnaryOp) -> ir.Operand:
        if isinstance(node.op, ast.Not):
            return self.truth(node)
        value = self.value(node.operand)
        self.place_of(node)
        if isinstance(node.op, ast.Invert):
            return self.binary("^", value, -1)
        return self.binary("-", 0, value)

    def _boolop(self, node: ast.BoolOp) -> ir.Operand:
        return self.truth(node)

    def _compare(self, node: ast.Compare) -> ir.Operand:
        left, right = self.operands([node.left, node.comparators[0]])
        self.place_of(node)
        return self.binary(_COMPARISONS[type(node.ops[0])], left, right)

    def _namedexpr(self, node: ast.NamedExpr) -> ir.Operand:
        value = self.value(node.value)
        self.place_of(node)
        self.emit(ir.Set(self.at, node.target.id, value))
        return self.get(node.target.id)

    def _ifexp(self, node: ast.IfExp) -> ir.Operand:
        return self.branches(node)

    # -- fields

    def _attribute(self, node: ast.Attribute) -> ir.Operand:
        place, decl = self.field_place(node)
        if decl.embedded:
            return place.address
        self.place_of(node)
        return self.load(place)

    def _subscript(self, node: ast.Subscript) -> ir.Operand:
        place, decl = self.element_place(node)
        if decl.embedded:
            return place.address
        self.place_of(node)
        return self.load(place)

    def field_place(self, node: ast.Attribute) -> tuple[ir.Place, FieldDef]:
        """The place of ``p.f``; evaluates p and checks that it is not NULL."""
        owner = self.typed.types[node.value]
        decl: FieldDef = self.structs[owner.struct].fields[node.attr]
        base = self.value(node.value)
        self.place_of(node)
        name = f"{owner.struct}.{decl.name}"
        if isinstance(base, int):
            address: ir.Operand = base + decl.offset
        else:
            address = self.temp()
            self.emit(ir.Offset(self.at, address, base, decl.offset, name))
        return ir.Place(address, name, decl.kind, decl.guard), decl

    def element_place(self, node: ast.Subscript) -> tuple[ir.Place, FieldDef]:
        """The place of ``p.a[i]``."""
        assert isinstance(node.value, ast.Attribute)
        array, decl = self.field_place(node.value)
        base = self.keep(array.address, node.slice)
        index = self.value(node.slice)
        self.place_of(node)
        stride = self.structs[decl.type].size if decl.embedded else 1
        to = self.temp()
        self.emit(ir.Element(self.at, to, base(), index, decl.count, stride))
        return ir.Place(to, array.field, decl.kind, decl.guard), decl

    def load(self, place: ir.Place, order: str = "plain", *, forced: bool = False) -> ir.Temp:
        """Read a place as its kind demands."""
        self.access(place, "line_read", forced=forced)
        to = self.temp()
        self.emit(ir.Load(self.at, to, place, order))
        return to

    def store(self, place: ir.Place, value: ir.Operand, order: str = "plain", *, forced: bool = False) -> None:
        """Write a place as its kind demands."""
        self.access(place, "line_write", forced=forced)
        self.emit(ir.Store(self.at, place, value, order))
        self.stored(place)

    def stored(self, place: ir.Place) -> None:
        """Call the observer of a store to this field, if there is one."""
        observer = self.context.observers.stored.get(place.field, "")
        if observer and self.header.kind != "observer":
            self.emit(ir.Call(self.at, None, observer, (place.address,)))

    def access(self, place: ir.Place, line: str, *, forced: bool) -> None:
        """The interaction point and the cache line of an access; ``forced`` for the marked accesses, whatever the kind."""
        if self.header.kind == "observer":
            return
        if place.kind in (SHARED, PERCPU) or forced:
            self.point(place.field)
        if place.guard and not forced and self.context.checks:
            self.check_guard(place)
        if place.kind != HW or forced:
            self.emit(ir.Call(self.at, None, line, (place.address,)))

    def check_guard(self, place: ir.Place) -> None:
        """Stop unless the lock of a guarded field is held."""
        raise NotImplementedError

    # -- calls

    def _call(self, node: ast.Call) -> ir.Operand:
        if not isinstance(node.func, ast.Name) or node.func.id in self.typed.locals:
            return self._call_pointer(node)
        name = node.func.id
        callee = self.world.headers.get(name)
        if callee is None:
            return self._intrinsic(node, name)
        args = self.operands(node.args)
        self.place_of(node)
        if self.kernel and callee.kind == "hwfunc":
            self.point(name)
        to = None if callee.result == VOID else self.temp()
        self.emit(ir.Call(self.at, to, name, tuple(args)))
        return 0 if to is None else to

    def _call_pointer(self, node: ast.Call) -> ir.Operand:
        pointer = self.keep(self.value(node.func), *node.args)
        args = self.operands(node.args)
        self.place_of(node)
        to = self.temp()
        self.emit(ir.CallPointer(self.at, to, pointer(), tuple(args)))
        return to

    def _intrinsic(self, node: ast.Call, name: str) -> ir.Operand:
        raise NotImplementedError


def _may_branch(node: ast.AST) -> bool:
    """Whether evaluating the expression may end the block."""
    return any(
        isinstance(n, ast.BoolOp | ast.IfExp) or (isinstance(n, ast.Name) and n.id == "WARN_ON_ONCE") for n in ast.walk(node)
    )
