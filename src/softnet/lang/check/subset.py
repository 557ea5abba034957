# SPDX-License-Identifier: GPL-2.0-or-later
"""The subset, enforced: every function of a program is checked when it is loaded; all mistakes are found in one pass.

The checks also leave what the compiler needs: the type of every expression and of every local variable.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from softnet.lang.check.calls import conversion
from softnet.lang.check.diagnostic import Diagnostic, raise_all
from softnet.lang.check.expressions import ExpressionRules
from softnet.lang.check.flow import FlowChecker
from softnet.lang.check.names import Header, World, build_world, field_type, read_annotation
from softnet.lang.program.program import Program
from softnet.lang.program.source import Definition
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
    functions = {name: FunctionRules(header, world, found).check() for name, header in world.headers.items()}
    return TypedProgram(world, functions), sorted(found, key=Diagnostic.sort_key)


class FunctionRules(ExpressionRules):
    """The rules for the statements of one function."""

    def check(self) -> TypedFunction:
        """Check the whole function; mistakes are noted in the list given at the start."""
        tree = self.header.tree
        self.local_names = _stored_names(tree) | {name for name, _ in self.header.params}
        self.locals.update(self.header.params)
        self.local_names |= {argument.arg for argument in tree.args.kwonlyargs}
        for argument in [*tree.args.posonlyargs, *tree.args.args]:
            self._shadows(argument, argument.arg)
        body = tree.body[1:] if _is_docstring(tree.body[0]) else tree.body
        self.block(body)
        flow = FlowChecker(tree, self.local_names, self.interacts, self.error)
        result = self.header.result
        flow.check(returns_value=result not in (VOID, UNKNOWN), result=str(result))
        return TypedFunction(self.header, self.locals, self.types, self.interacts, self.address_taken)

    def block(self, body: list[ast.stmt]) -> None:
        """A list of statements."""
        for statement in body:
            handler = _HANDLERS.get(type(statement))
            if handler is None:
                what, write = _REFUSED.get(type(statement), (f"'{type(statement).__name__}'", ""))
                self.error(statement, "statement", what=what, write=write)
            else:
                handler(self, statement)

    def _expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.types[node.value] = self.expression(node.value)
        elif isinstance(node.value, ast.Constant) and node.value.value is ...:
            self.error(node, "no-effect")
        else:
            before = len(self.found)
            self.expression(node.value)
            if len(self.found) == before:
                self.error(node, "no-effect")

    def _if(self, node: ast.If) -> None:
        self.condition(node.test, assigns=True)
        self.block(node.body)
        self.block(node.orelse)

    def _while(self, node: ast.While) -> None:
        self.condition(node.test, assigns=True)
        self.block(node.body)
        if node.orelse:
            self.error(node.orelse[0], "while-else")

    def _for(self, node: ast.For) -> None:
        target = node.target.id if isinstance(node.target, ast.Name) else "i"
        call = node.iter
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range":
            if not 1 <= len(call.args) <= 3 or call.keywords:
                self.error(call, "for-iter", name=target)
            for argument in call.args:
                self.integer(argument, "range()")
            if len(call.args) == 3 and (self.constant_value(call.args[2]) or 0) <= 0:
                self.error(call.args[2], "range-step")
        else:
            self.error(call, "for-iter", name=target)
        if isinstance(node.target, ast.Name):
            self.store_local(node.target, INT, node.target)
        else:
            self.error(node.target, "target", what="several names at once")
        self.block(node.body)
        if node.orelse:
            self.error(node.orelse[0], "while-else")

    def _return(self, node: ast.Return) -> None:
        want = self.header.result
        if node.value is None or (want == VOID and _is_none(node.value)):
            if want not in (VOID, UNKNOWN) and node.value is None:
                words = {"name": self.header.name, "want": str(want), "got": "nothing"}
                self.error(node, "return-type", write=f"return VALUE  ({want})", **words)
            return
        got = self.value(node.value)
        if not assignable(got, want):
            write = conversion(node.value, got, want) or ("return" if want == VOID else f"return VALUE  ({want})")
            self.error(node.value, "return-type", name=self.header.name, want=str(want), got=str(got), write=write)

    def _assign(self, node: ast.Assign) -> None:
        if len(node.targets) > 1:
            self.error(node, "statement", what="an assignment to several targets", write="one assignment per line")
        got = self.value(node.value)
        self.store(node.targets[0], got, node.value)

    def _ann_assign(self, node: ast.AnnAssign) -> None:
        declared = read_annotation(node.annotation, self.world, self.error)
        if not isinstance(node.target, ast.Name):
            self.error(node.target, "target", what="a field with a type")
            return
        name = node.target.id
        self._shadows(node.target, name)
        known = self.locals.setdefault(name, declared)
        if known == NULL:
            self.locals[name] = declared
        elif known != declared and UNKNOWN not in (known, declared):
            words = {"target": f"'{name}'", "want": str(known), "got": str(declared)}
            self.error(node.annotation, "assign-type", write="one type for one local variable", **words)
        if node.value is not None:
            self.store(node.target, self.value(node.value), node.value)

    def _aug_assign(self, node: ast.AugAssign) -> None:
        self.integer(node.value, "op=")
        target = node.target
        if isinstance(target, ast.Name):
            # The target of an operation is read first, so it must have a type already.
            current = self.locals.get(target.id, UNKNOWN)
            if current not in (INT, UNKNOWN):
                self.error(target, "operand-type", what="op=", got=str(current), write="an integer")
            elif target.id not in self.locals:
                self.store_local(target, INT, target)
        else:
            self.store(target, INT, node.value)
        self.operator(node, node.value)

    def store(self, target: ast.expr, got: Type, value: ast.expr) -> None:
        """An assignment of a value of type ``got``."""
        if isinstance(target, ast.Name):
            self.store_local(target, got, value)
            return
        if isinstance(target, ast.Attribute):
            found = self.field_of(target)
            if found is not None and found.count != 1:
                self.error(target, "array-whole", name=found.name, count=found.count, text=ast.unparse(target))
                return
        elif isinstance(target, ast.Subscript):
            found = self.element_of(target)
        else:
            self.error(target, "target", what=_TARGETS.get(type(target), "this"))
            return
        if found is None:
            return
        if found.embedded:
            self.error(target, "assign-embedded", name=found.name, struct=found.type)
            return
        self.stored(target, found)
        want = field_type(found)
        self.types[target] = want
        if not assignable(got, want):
            words = {"target": f"'{found.name}'", "want": str(want), "got": str(got)}
            write = conversion(value, got, want) or f"a value of type {want}"
            self.error(value, "assign-type", write=write, **words)

    def store_local(self, target: ast.Name, got: Type, value: ast.expr) -> None:
        """The first assignment decides a local's type; None leaves it open."""
        name = target.id
        self._shadows(target, name)
        known = self.locals.get(name)
        if known is None or known == UNKNOWN or (known == NULL and got.kind in ("ref", "fnptr")):
            self.locals[name] = got
        elif not assignable(got, known):
            words = {"target": f"'{name}'", "want": str(known), "got": str(got)}
            write = conversion(value, got, known) or "another local variable: a local keeps one type"
            self.error(value, "assign-type", write=write, **words)
        self.types[target] = self.locals[name]

    def assigned(self, node: ast.NamedExpr) -> Type:
        self.store_local(node.target, self.types[node.value], node.value)
        return self.locals[node.target.id]

    def _shadows(self, node: ast.AST, name: str) -> None:
        """A local may have the name of a function, as in C; a constant would be read where the local is meant."""
        if name in self.world.program.constants:
            self.error(node, "assign-constant", name=name, what="a constant")

    def _nothing(self, node: ast.stmt) -> None:
        """Pass, break, continue: the flow has the rules for them."""


def _stored_names(tree: Definition) -> set[str]:
    """The locals: names that a statement of the function, not a comprehension in it, assigns."""
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    inner = [n.target for n in ast.walk(tree) if isinstance(n, ast.comprehension)]
    return names - {n.id for target in inner for n in ast.walk(target) if isinstance(n, ast.Name)}


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


_Handler = Callable[[FunctionRules, ast.stmt], None]
_HANDLERS: Final[dict[type[ast.stmt], _Handler]] = {
    ast.Expr: FunctionRules._expr,  # type: ignore[dict-item]
    ast.If: FunctionRules._if,  # type: ignore[dict-item]
    ast.While: FunctionRules._while,  # type: ignore[dict-item]
    ast.For: FunctionRules._for,  # type: ignore[dict-item]
    ast.Return: FunctionRules._return,  # type: ignore[dict-item]
    ast.Assign: FunctionRules._assign,  # type: ignore[dict-item]
    ast.AnnAssign: FunctionRules._ann_assign,  # type: ignore[dict-item]
    ast.AugAssign: FunctionRules._aug_assign,  # type: ignore[dict-item]
    ast.Pass: FunctionRules._nothing,
    ast.Break: FunctionRules._nothing,
    ast.Continue: FunctionRules._nothing,
}
