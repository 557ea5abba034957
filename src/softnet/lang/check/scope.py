# SPDX-License-Identifier: GPL-2.0-or-later
"""The function that is being checked: its names, the types found so far, and its mistakes."""

from __future__ import annotations

import ast
from typing import Any

from softnet.lang.check.diagnostic import Diagnostic, diagnose
from softnet.lang.check.names import Header, World
from softnet.lang.declare import HW
from softnet.lang.program.program import FieldDef
from softnet.lang.program.source import Definition
from softnet.lang.types import Type


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


def _local_names(tree: Definition) -> set[str]:
    """The parameters, and the names that a statement of the function, not a comprehension in it, assigns."""
    args = tree.args
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    inner = [n.target for n in ast.walk(tree) if isinstance(n, ast.comprehension)]
    names -= {n.id for target in inner for n in ast.walk(target) if isinstance(n, ast.Name)}
    return names | {argument.arg for argument in (*args.posonlyargs, *args.args, *args.kwonlyargs)}
