# SPDX-License-Identifier: GPL-2.0-or-later
"""What a linked program offers to a function that is being checked or compiled: headers, fields, names."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from softnet.lang.check.diagnostic import Diagnostic, diagnose
from softnet.lang.declare import OBSERVER_PACKAGE
from softnet.lang.program.program import FieldDef, FunctionDef, Program
from softnet.lang.program.source import Definition, SourceFile, function_source
from softnet.lang.types import Type, named_type

MACHINE_PACKAGE = ("softnet.machine", "softnet.verify", *OBSERVER_PACKAGE)
"""Packages whose functions see the machine's singleton: the machine, the search, which takes its place as event loop, and
the observers of a run."""
SHIPPED_PACKAGE = "softnet."
"""The kernel's own modules use the machine's intrinsics and fields where a kernel uses assembler; a user's patch may not."""
ENGINE_NAME = "hw"
"""In softnet.machine this name is the singleton ``engine_state``."""


@dataclass
class Header:
    """A linked function: its source, its parameters and its result."""

    name: str
    kind: str
    source: SourceFile
    tree: Definition
    in_machine: bool
    shipped: bool
    params: list[tuple[str, Type]] = field(default_factory=list)
    result: Type = field(default_factory=lambda: named_type("int"))


@dataclass(frozen=True)
class World:
    """The names that every function of a program sees."""

    program: Program
    headers: dict[str, Header]
    costs: Collection[str] | None
    """Names of the cost table's rows; None leaves them unchecked."""
    events: dict[str, int] | None
    """Trace event -> number of its arguments; None leaves them unchecked."""

    def fields(self, struct: str) -> dict[str, FieldDef]:
        """The fields of a structure, empty for one that does not exist."""
        found = self.program.structs.get(struct)
        return found.fields if found is not None else {}


def field_type(decl: FieldDef) -> Type:
    """The type of a field's value, or of an element of an array."""
    return named_type(decl.type)


def build_world(
    program: Program,
    costs: Collection[str] | None,
    events: dict[str, int] | None,
    report: Callable[[Diagnostic], None],
) -> World:
    """Read the headers of all functions; mistakes in them go to ``report``."""
    world = World(program, {}, costs, events)
    for definition in program.functions.values():
        source, tree = function_source(definition.function)
        in_machine = definition.module.startswith(MACHINE_PACKAGE)
        shipped = definition.module.startswith(SHIPPED_PACKAGE)
        world.headers[definition.name] = Header(definition.name, definition.kind, source, tree, in_machine, shipped)
    for header in world.headers.values():
        _read_header(header, program.functions[header.name], world, report)
    return world


def _read_header(header: Header, definition: FunctionDef, world: World, report: Callable[[Diagnostic], None]) -> None:
    """Fill in parameters and result."""
    tree = header.tree

    def error(node: ast.AST, code: str, **words: Any) -> None:
        report(diagnose(header.source.span(node), code, header.name, **words))

    if isinstance(tree, ast.AsyncFunctionDef):
        error(tree, "async", name=tree.name)
    for decorator in tree.decorator_list:
        # A property of softnet.verify.user_properties is marked by a call that makes it an hwfunc, too.
        claim = isinstance(decorator, ast.Call) and hasattr(definition.function, "__softnet_claim__")
        marked = "predicate" if hasattr(definition.function, "__softnet_predicate__") else definition.kind
        mark = decorator.func if isinstance(decorator, ast.Call) else decorator
        if not claim and not (isinstance(mark, ast.Name) and mark.id == marked):
            error(decorator, "decorator", kind=definition.kind)
    args = tree.args
    for odd, what in ((args.vararg, "a '*' parameter"), (args.kwarg, "a '**' parameter")):
        if odd is not None:
            error(odd, "parameter-kind", what=what)
    for odd in args.kwonlyargs:
        error(odd, "parameter-kind", what="a keyword-only parameter")
    for default in [*args.defaults, *(d for d in args.kw_defaults if d is not None)]:
        error(default, "parameter-kind", what="a default value")
    for argument in [*args.posonlyargs, *args.args]:
        kind = Type("unknown")
        if argument.annotation is None:
            error(argument, "no-annotation", name=argument.arg)
        else:
            kind = read_annotation(argument.annotation, world, error)
        header.params.append((argument.arg, kind))
    if tree.returns is None:
        name_only = ast.Name(tree.name, ast.Load())
        name_only.lineno = name_only.end_lineno = tree.lineno
        name_only.col_offset = tree.col_offset + len("def ")
        name_only.end_col_offset = name_only.col_offset + len(tree.name.encode())
        error(name_only, "no-result", name=tree.name)
        header.result = Type("unknown")
    else:
        header.result = read_annotation(tree.returns, world, error, result=True)


def read_annotation(node: ast.expr, world: World, error: Callable[..., None], *, result: bool = False) -> Type:
    """The type that an annotation names; ``error`` reports one that names none."""
    name = ""
    if isinstance(node, ast.Name):
        name = node.id
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        name = node.value
    elif isinstance(node, ast.Constant) and node.value is None:
        if result:
            return Type("void")
        error(node, "bad-annotation", text="None", write="int, bool, fnptr or the name of a structure")
        return Type("unknown")
    if name in ("int", "bool", "fnptr") or name in world.program.structs:
        return named_type(name)
    if name:
        error(
            node,
            "unknown-struct",
            name=name,
            write=world_hint(name, world.program.structs, "a declared structure"),
        )
    else:
        error(node, "bad-annotation", text=ast.unparse(node), write=_annotation_hint(node))
    return Type("unknown")


def world_hint(name: str, candidates: Collection[str], otherwise: str) -> str:
    """``write:`` text: the name that was probably meant, or what is possible."""
    from softnet.lang.check.diagnostic import closest

    near = closest(name, list(candidates))
    return f"{near}  (did you mean that?)" if near else otherwise


def _annotation_hint(node: ast.expr) -> str:
    """For ``skb | None`` and ``Optional[skb]``: references may always be None here."""
    inner: ast.expr | None = None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        inner = node.left
    elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("Optional"):
        inner = node.slice
    if isinstance(inner, ast.Name):
        return f"{inner.id}  (any reference may be None)"
    return "int, bool, fnptr or the name of a structure"
