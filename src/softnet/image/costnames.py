# SPDX-License-Identifier: GPL-2.0-or-later
"""The costs that a program's functions ask for by name."""

from __future__ import annotations

import ast

from softnet.errors import SoftnetError
from softnet.lang.program.program import Program
from softnet.lang.program.source import nodes


def cost_names(program: Program) -> list[str]:
    """Every literal name given to work() and work_bytes(), sorted. Raises SoftnetError for one that is no literal."""
    return program.derived.get("costs", lambda: _find(program))


def _find(program: Program) -> list[str]:
    from softnet.lang.python.text import find_function

    names: set[str] = set()
    for definition in program.functions.values():
        for node in nodes(find_function(definition)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("work", "work_bytes"):
                name = node.args[0] if node.args else None
                if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
                    raise SoftnetError(
                        "a cost is named by a literal",
                        where=f"{definition.file}:{node.lineno}",
                        found=ast.unparse(node),
                        expected='work("name")',
                    )
                names.add(name.value)
    return sorted(names)
