# SPDX-License-Identifier: GPL-2.0-or-later
"""The function that is being checked: its names, the types found so far, and its mistakes."""

from __future__ import annotations

import ast
from typing import Any

from softnet.lang.check.diagnostic import Diagnostic, diagnose
from softnet.lang.check.names import Header, World
from softnet.lang.declare import HW
from softnet.lang.program.program import FieldDef
from softnet.lang.program.source import Definition, nodes
from softnet.lang.types import BOOL, INT, NULL, UNKNOWN, Type, assignable


class Scope:
    """What the rules for statements, expressions and calls share; mistakes are added to ``found``."""

    def __init__(self, header: Header, world: World, found: list[Diagnostic]) -> None:
        self.header = header
        self.world = world
        self.found = found
        self.local_names = _local_names(header.tree)
        """All locals, with the parameters."""
        self.locals: dict[str, Type] = dict(header.params)
        """Local -> its type, once it is known."""
        self.types: dict[ast.expr, Type] = {}
        self.interacts: set[ast.AST] = set()
        """Nodes at which a kfunc may be interrupted."""
        self.address_taken: set[str] = set()
        """Functions whose name is used as a value."""

    def error(self, node: ast.AST, code: str, **words: Any) -> None:
        """Note a mistake at a node."""
        self.found.append(diagnose(self.header.source.span(node), code, self.header.name, **words))

    def stored(self, node: ast.expr, found: FieldDef) -> None:
        """The function writes a field: a user's kernel function may not write the machine's."""
        if found.kind == HW and self.header.kind == "kfunc" and not self.header.shipped:
            self.error(node, "hw-field", name=ast.unparse(node))

    def store_local(self, target: ast.Name, got: Type, value: ast.expr) -> None:
        """An assignment to a local. The first one decides its type; None leaves it open."""
        name = target.id
        self.shadows(target, name)
        known = self.locals.get(name)
        if known is None or known == UNKNOWN or (known == NULL and got.kind in ("ref", "fnptr")):
            self.locals[name] = got
        elif not assignable(got, known):
            words = {"target": f"'{name}'", "want": str(known), "got": str(got)}
            write = conversion(value, got, known) or "another local variable: a local keeps one type"
            self.error(value, "assign-type", write=write, **words)
        self.types[target] = self.locals[name]

    def shadows(self, node: ast.AST, name: str) -> None:
        """A local may have the name of a function, as in C; a constant would be read where the local is meant."""
        if name in self.world.program.constants:
            self.error(node, "assign-constant", name=name, what="a constant")


def conversion(node: ast.expr, got: Type, target: Type) -> str:
    """What to write so that a value of one type fits another, if there is one obvious way."""
    text = ast.unparse(node)
    if target == BOOL and got == INT:
        return f"{text} != 0"
    if target == BOOL and got.kind == "ref":
        return f"{text} is not None"
    if target == INT and got.kind == "ref":
        return f"address_of({text}) if its address is meant, or a field of it"
    if target.kind == "ref" and got == INT and text == "0":
        return "None"
    return ""


def _local_names(tree: Definition) -> set[str]:
    """The parameters, and the names that a statement of the function, not a comprehension in it, assigns."""
    args = tree.args
    inside = nodes(tree)
    names = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    inner = [n.target for n in inside if isinstance(n, ast.comprehension)]
    names -= {n.id for target in inner for n in nodes(target) if isinstance(n, ast.Name)}
    return names | {argument.arg for argument in (*args.posonlyargs, *args.args, *args.kwonlyargs)}
