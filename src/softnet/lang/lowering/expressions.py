# SPDX-License-Identifier: GPL-2.0-or-later
"""Lowering of expressions: operators, conditions, fields and calls."""

from __future__ import annotations

import ast
from collections.abc import Callable

from softnet.lang import ir
from softnet.lang.check.names import ENGINE_NAME
from softnet.lang.dispatch import Dispatch
from softnet.lang.lowering.builder import Builder
from softnet.lang.lowering.intrinsics import Intrinsics
from softnet.lang.program.layout import ENGINE_BASE
from softnet.lang.program.program import FieldDef
from softnet.lang.program.source import nodes
from softnet.lang.syntax import BINARY_OPERATORS, COMPARISONS, EXPRESSIONS
from softnet.lang.types import BOOL, SIGNATURES, VOID


class Expressions(Dispatch[ir.Operand], over=(*EXPRESSIONS, ast.NamedExpr)):
    """Lowers the expressions of one function into the builder's current block."""

    def __init__(self, out: Builder) -> None:
        self.out = out
        self.typed = out.typed
        self.world = out.context.world
        self.intrinsics = Intrinsics(out, self)

    # -- values

    def value(self, node: ast.expr) -> ir.Operand:
        """The value of an expression; 0 for a call that gives none."""
        return self.visit(node)

    def operands(self, nodes: list[ast.expr]) -> list[ir.Operand]:
        """The values of expressions, evaluated from left to right."""
        kept = [self.keep(self.value(node), *nodes[i + 1 :]) for i, node in enumerate(nodes)]
        return [operand() for operand in kept]

    def keep(self, operand: ir.Operand, *others: ast.expr) -> Callable[[], ir.Operand]:
        """The operand after ``others`` have been evaluated; it goes through a local if they may end the block."""
        if isinstance(operand, int) or not any(self._may_branch(other) for other in others):
            return lambda: operand
        name = self.out.hidden_local("kept")
        self.out.set(name, operand)
        return lambda: self.out.get(name)

    def _may_branch(self, node: ast.AST) -> bool:
        """Whether evaluating the expression may end the block."""
        return any(
            isinstance(n, ast.BoolOp | ast.IfExp) or (isinstance(n, ast.Name) and n.id in SIGNATURES and SIGNATURES[n.id].branches)
            for n in nodes(node)
        )

    def on_constant(self, node: ast.Constant) -> ir.Operand:
        return 0 if node.value is None else int(node.value)  # type: ignore[arg-type]

    def on_name(self, node: ast.Name) -> ir.Operand:
        self.out.locate(node)
        if node.id in self.typed.locals:
            return self.out.get(node.id)
        program = self.world.program
        if node.id in program.constants:
            return program.constants[node.id]
        if node.id in program.functions:
            self.out.module.pointed.add(node.id)
            return self.out.module.function_ids[node.id]
        assert node.id == ENGINE_NAME
        return ENGINE_BASE

    def on_bin_op(self, node: ast.BinOp) -> ir.Operand:
        left, right = self.operands([node.left, node.right])
        self.out.locate(node)
        return self.out.binary(BINARY_OPERATORS[type(node.op)], left, right)

    def on_unary_op(self, node: ast.UnaryOp) -> ir.Operand:
        if isinstance(node.op, ast.Not):
            return self.truth(node)
        value = self.value(node.operand)
        self.out.locate(node)
        if isinstance(node.op, ast.Invert):
            return self.out.binary("^", value, -1)
        return self.out.binary("-", 0, value)

    def on_compare(self, node: ast.Compare) -> ir.Operand:
        left, right = self.operands([node.left, node.comparators[0]])
        self.out.locate(node)
        op = COMPARISONS[type(node.ops[0])]
        return self.out.binary({"is": "==", "is not": "!="}.get(op, op), left, right)

    # -- conditions

    def on_bool_op(self, node: ast.BoolOp) -> ir.Operand:
        return self._branches(node)

    def on_named_expr(self, node: ast.NamedExpr) -> ir.Operand:
        value = self.value(node.value)
        self.out.locate(node)
        self.out.set(node.target.id, value)
        return self.out.get(node.target.id)

    def on_if_exp(self, node: ast.IfExp) -> ir.Operand:
        return self._branches(node)

    def truth(self, node: ast.expr) -> ir.Operand:
        """A condition as 0 or 1."""
        if isinstance(node, ast.BoolOp):
            return self._branches(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            joined = isinstance(node.operand, ast.BoolOp | ast.UnaryOp)
            return self.out.binary("==", self.truth(node.operand) if joined else self.value(node.operand), 0)
        value = self.value(node)
        return value if self.typed.types.get(node) == BOOL else self.out.binary("!=", value, 0)

    def condition(self, node: ast.expr, yes: ir.Block, no: ir.Block) -> None:
        """Jump to one of two blocks; and, or and not become jumps, constants decide here."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand, no, yes)
            return
        if isinstance(node, ast.BoolOp):
            conjunction = isinstance(node.op, ast.And)
            for part in node.values[:-1]:
                more = self.out.new_block("more")
                if conjunction:
                    self.condition(part, more, no)
                else:
                    self.condition(part, yes, more)
                self.out.enter(more)
            self.condition(node.values[-1], yes, no)
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in self.world.headers:
            signature = SIGNATURES.get(node.func.id)
            if signature is not None and signature.condition:
                self.condition(node.args[0], yes, no)
                return
        value = self.value(node)
        self.out.locate(node)
        self.out.branch(value, yes, no)

    def _branches(self, node: ast.BoolOp | ast.IfExp) -> ir.Operand:
        """A value that depends on the path: of and, or, if-else."""
        out = self.out
        kept = out.hidden_local("value")
        yes, no, after = out.new_block("yes"), out.new_block("no"), out.new_block("after")
        self.condition(node.test if isinstance(node, ast.IfExp) else node, yes, no)
        for block, number in ((yes, 1), (no, 0)):
            out.enter(block)
            value: ir.Operand = number
            if isinstance(node, ast.IfExp):
                value = self.value(node.body if number else node.orelse)
            out.set(kept, value)
            out.jump(after)
        out.enter(after)
        return out.get(kept)

    # -- fields

    def on_attribute(self, node: ast.Attribute) -> ir.Operand:
        return self._field_value(node, *self._field_place(node))

    def on_subscript(self, node: ast.Subscript) -> ir.Operand:
        return self._field_value(node, *self._element_place(node))

    def _field_value(self, node: ast.expr, place: ir.Place, decl: FieldDef) -> ir.Operand:
        """The address of a structure that the field holds by value, else the field's word."""
        if decl.embedded:
            return place.address
        self.out.locate(node)
        return self.out.load(place)

    def place(self, node: ast.expr) -> ir.Place:
        """The place of ``p.f`` or ``p.a[i]``; evaluates p and i."""
        if isinstance(node, ast.Subscript):
            return self._element_place(node)[0]
        assert isinstance(node, ast.Attribute)
        return self._field_place(node)[0]

    def _field_place(self, node: ast.Attribute) -> tuple[ir.Place, FieldDef]:
        """The place of ``p.f``; evaluates p and checks that it is not NULL."""
        owner = self.typed.types[node.value]
        decl: FieldDef = self.out.structs[owner.struct].fields[node.attr]
        base = self.value(node.value)
        self.out.locate(node)
        name = f"{owner.struct}.{decl.name}"
        if isinstance(base, int):
            address: ir.Operand = base + decl.offset
        else:
            address = self.out.temp()
            self.out.emit(ir.Offset(self.out.at, address, base, decl.offset, name))
        return ir.Place(address, name, decl.kind, decl.guard), decl

    def _element_place(self, node: ast.Subscript) -> tuple[ir.Place, FieldDef]:
        """The place of ``p.a[i]``."""
        assert isinstance(node.value, ast.Attribute)
        array, decl = self._field_place(node.value)
        base = self.keep(array.address, node.slice)
        index = self.value(node.slice)
        self.out.locate(node)
        stride = self.out.structs[decl.type].size if decl.embedded else 1
        to = self.out.temp()
        self.out.emit(ir.Element(self.out.at, to, base(), index, decl.count, stride))
        return ir.Place(to, array.field, decl.kind, decl.guard), decl

    # -- calls

    def on_call(self, node: ast.Call) -> ir.Operand:
        out = self.out
        if not isinstance(node.func, ast.Name) or node.func.id in self.typed.locals:
            return self._call_pointer(node)
        name = node.func.id
        callee = self.world.headers.get(name)
        if callee is None:
            return self.intrinsics.lower(name, node)
        args = self.operands(node.args)
        out.locate(node)
        if out.kernel and callee.kind == "hwfunc":
            out.point(name)
        to = None if callee.result == VOID else out.temp()
        out.emit(ir.Call(out.at, to, name, tuple(args)))
        return 0 if to is None else to

    def _call_pointer(self, node: ast.Call) -> ir.Operand:
        pointer = self.keep(self.value(node.func), *node.args)
        args = self.operands(node.args)
        self.out.locate(node)
        to = self.out.temp()
        self.out.emit(ir.CallPointer(self.out.at, to, pointer(), tuple(args)))
        return to
