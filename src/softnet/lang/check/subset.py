# SPDX-License-Identifier: GPL-2.0-or-later
"""The subset, enforced: every function of a program is checked when it is loaded; all mistakes are found in one pass.

The checks also leave what the compiler needs: the type of every expression and of every local variable.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from softnet.lang.check.diagnostic import Diagnostic, raise_all
from softnet.lang.check.expressions import ExpressionRules
from softnet.lang.check.flow import FlowChecker
from softnet.lang.check.names import Header, World, build_world, field_type, read_annotation
from softnet.lang.check.scope import Scope, conversion
from softnet.lang.dispatch import Dispatch
from softnet.lang.program.digest import around
from softnet.lang.program.program import Program
from softnet.lang.program.source import Definition
from softnet.lang.syntax import STATEMENTS
from softnet.lang.types import INT, NULL, UNKNOWN, VOID, Type, assignable

_REFUSED: Final[dict[type[ast.stmt], tuple[str, str]]] = {
    ast.Assert: ("assert", "BUG_ON(not ...) or WARN_ON_ONCE(not ...)"),
    ast.Raise: ("an exception", "BUG_ON(True), or a returned error number"),
    ast.Try: ("an exception", "an error number that the caller tests"),
    ast.TryStar: ("an exception", "an error number that the caller tests"),
    ast.With: ("with", "lock and unlock, as in C"),
    ast.AsyncWith: ("with", "lock and unlock, as in C"),
    ast.AsyncFor: ("'async for'", "for i in range(n):"),
    ast.FunctionDef: ("a nested function", "a function of its own, marked @kfunc"),
    ast.AsyncFunctionDef: ("a nested function", "a function of its own, marked @kfunc"),
    ast.ClassDef: ("a class", "class NAME(Struct) at the top of the module"),
    ast.Import: ("import inside a function", "the import at the head of the module"),
    ast.ImportFrom: ("import inside a function", "the import at the head of the module"),
    ast.Global: ("global", "a field of a structure"),
    ast.Nonlocal: ("nonlocal", "a field of a structure"),
    ast.Delete: ("del", "p.f = None, or nothing"),
    ast.Match: ("match", "if and elif"),
}
_TARGETS: Final[dict[type[ast.expr], str]] = {
    ast.Tuple: "several names at once",
    ast.List: "several names at once",
    ast.Starred: "a starred name",
}


@dataclass(frozen=True)
class TypedFunction:
    """A checked function: its header and what was found out about it."""

    header: Header
    locals: dict[str, Type]
    types: dict[ast.expr, Type]
    interacts: set[ast.AST]
    address_taken: set[str]


@dataclass(frozen=True)
class TypedProgram:
    """A checked program, ready to be lowered."""

    world: World
    functions: dict[str, TypedFunction]


def check_program(
    program: Program, *, costs: Collection[str] | None = None, events: dict[str, int] | None = None
) -> list[Diagnostic]:
    """All mistakes in the functions of a program, in the order of the text.

    ``costs`` are the rows of the cost table, ``events`` the trace events with their number of arguments; None leaves
    those names unchecked.
    """
    return _check(program, costs, events)[1]


def typed_program(program: Program, *, costs: Collection[str] | None = None, events: dict[str, int] | None = None) -> TypedProgram:
    """The checked program. Raises SubsetErrors with all mistakes."""
    typed, found = _check(program, costs, events)
    raise_all(found)
    return typed


def _check(program: Program, costs: Collection[str] | None, events: dict[str, int] | None) -> tuple[TypedProgram, list[Diagnostic]]:
    found: list[Diagnostic] = []
    world = build_world(program, costs, events, found.append)
    key = (around(program), None if costs is None else tuple(sorted(costs)), None if events is None else tuple(events.items()))
    before = _FINE[key] = _FINE.pop(key, {})
    while len(_FINE) > FINE_MAX:
        del _FINE[next(iter(_FINE))]
    functions = {}
    for name, header in world.headers.items():
        known = before.get((header.tree, header.shipped, header.in_machine))
        functions[name] = known or StatementRules(Scope(header, world, found)).check()
    if not found:
        before.update({(f.header.tree, f.header.shipped, f.header.in_machine): f for f in functions.values()})
    return TypedProgram(world, functions), sorted(found, key=Diagnostic.sort_key)


_FINE: dict[object, dict[tuple[Definition, bool, bool], TypedFunction]] = {}
"""By what is around them, functions without mistakes by their trees and by whose they are; the latest used last.

A patched kernel has all but a few functions of the kernel without the patch."""
FINE_MAX: Final = 6


class StatementRules(Dispatch[None], over=STATEMENTS):
    """The rules for the statements of one function."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.error = scope.error
        self.header = scope.header
        self.expressions = ExpressionRules(scope)

    def check(self) -> TypedFunction:
        """Check the whole function; its mistakes are noted in the scope."""
        scope, tree = self.scope, self.header.tree
        for argument in [*tree.args.posonlyargs, *tree.args.args]:
            self.scope.shadows(argument, argument.arg)
        body = tree.body[1:] if _is_docstring(tree.body[0]) else tree.body
        self.block(body)
        flow = FlowChecker(tree, scope.local_names, scope.interacts, self.error)
        result = self.header.result
        flow.check(returns_value=result not in (VOID, UNKNOWN), result=str(result))
        return TypedFunction(self.header, scope.locals, scope.types, scope.interacts, scope.address_taken)

    def block(self, body: list[ast.stmt]) -> None:
        """A list of statements."""
        for statement in body:
            self.visit(statement)

    def otherwise(self, node: Any) -> None:
        """A statement that is not in the subset."""
        what, write = _REFUSED.get(type(node), (f"'{type(node).__name__}'", ""))
        self.error(node, "statement", what=what, write=write)

    def on_expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.scope.types[node.value] = self.expressions.visit(node.value)
        elif isinstance(node.value, ast.Constant) and node.value.value is ...:
            self.error(node, "no-effect")
        else:
            before = len(self.scope.found)
            self.expressions.visit(node.value)
            if len(self.scope.found) == before:
                self.error(node, "no-effect")

    def on_if(self, node: ast.If) -> None:
        self.expressions.condition(node.test, assigns=True)
        self.block(node.body)
        self.block(node.orelse)

    def on_while(self, node: ast.While) -> None:
        self.expressions.condition(node.test, assigns=True)
        self.block(node.body)
        if node.orelse:
            self.error(node.orelse[0], "while-else")

    def on_for(self, node: ast.For) -> None:
        target = node.target.id if isinstance(node.target, ast.Name) else "i"
        call = node.iter
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range":
            if not 1 <= len(call.args) <= 3 or call.keywords:
                self.error(call, "for-iter", name=target)
            for argument in call.args:
                self.expressions.integer(argument, "range()")
            if len(call.args) == 3 and (self.expressions.constant_value(call.args[2]) or 0) <= 0:
                self.error(call.args[2], "range-step")
        else:
            self.error(call, "for-iter", name=target)
        if isinstance(node.target, ast.Name):
            self.scope.store_local(node.target, INT, node.target)
        else:
            self.error(node.target, "target", what="several names at once")
        self.block(node.body)
        if node.orelse:
            self.error(node.orelse[0], "while-else")

    def on_return(self, node: ast.Return) -> None:
        want = self.header.result
        if node.value is None or (want == VOID and _is_none(node.value)):
            if want not in (VOID, UNKNOWN) and node.value is None:
                words = {"name": self.header.name, "want": str(want), "got": "nothing"}
                self.error(node, "return-type", write=f"return VALUE  ({want})", **words)
            return
        got = self.expressions.value(node.value)
        if not assignable(got, want):
            write = conversion(node.value, got, want) or ("return" if want == VOID else f"return VALUE  ({want})")
            self.error(node.value, "return-type", name=self.header.name, want=str(want), got=str(got), write=write)

    def on_assign(self, node: ast.Assign) -> None:
        if len(node.targets) > 1:
            self.error(node, "statement", what="an assignment to several targets", write="one assignment per line")
        got = self.expressions.value(node.value)
        self.store(node.targets[0], got, node.value)

    def on_ann_assign(self, node: ast.AnnAssign) -> None:
        declared = read_annotation(node.annotation, self.scope.world, self.error)
        if not isinstance(node.target, ast.Name):
            self.error(node.target, "target", what="a field with a type")
            return
        name = node.target.id
        self.scope.shadows(node.target, name)
        known = self.scope.locals.setdefault(name, declared)
        if known == NULL:
            self.scope.locals[name] = declared
        elif known != declared and UNKNOWN not in (known, declared):
            words = {"target": f"'{name}'", "want": str(known), "got": str(declared)}
            self.error(node.annotation, "assign-type", write="one type for one local variable", **words)
        if node.value is not None:
            self.store(node.target, self.expressions.value(node.value), node.value)

    def on_aug_assign(self, node: ast.AugAssign) -> None:
        self.expressions.integer(node.value, "op=")
        target = node.target
        if isinstance(target, ast.Name):
            # The target of an operation is read first, so it must have a type already.
            current = self.scope.locals.get(target.id, UNKNOWN)
            if current not in (INT, UNKNOWN):
                self.error(target, "operand-type", what="op=", got=str(current), write="an integer")
            elif target.id not in self.scope.locals:
                self.scope.store_local(target, INT, target)
        else:
            self.store(target, INT, node.value)
        self.expressions.operator(node, node.value)

    def store(self, target: ast.expr, got: Type, value: ast.expr) -> None:
        """An assignment of a value of type ``got``."""
        if isinstance(target, ast.Name):
            self.scope.store_local(target, got, value)
            return
        if isinstance(target, ast.Attribute):
            found = self.expressions.field_of(target)
            if found is not None and found.count != 1:
                self.error(target, "array-whole", name=found.name, count=found.count, text=ast.unparse(target))
                return
        elif isinstance(target, ast.Subscript):
            found = self.expressions.element_of(target)
        else:
            self.error(target, "target", what=_TARGETS.get(type(target), "this"))
            return
        if found is None:
            return
        if found.embedded:
            self.error(target, "assign-embedded", name=found.name, struct=found.type)
            return
        self.scope.stored(target, found)
        want = field_type(found)
        self.scope.types[target] = want
        if not assignable(got, want):
            words = {"target": f"'{found.name}'", "want": str(want), "got": str(got)}
            write = conversion(value, got, want) or f"a value of type {want}"
            self.error(value, "assign-type", write=write, **words)

    def on_pass(self, node: ast.Pass) -> None:
        """Nothing to check."""

    def on_break(self, node: ast.Break) -> None:
        """The flow checks it (check.flow)."""

    def on_continue(self, node: ast.Continue) -> None:
        """The flow checks it."""


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
