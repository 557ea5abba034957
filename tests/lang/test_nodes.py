# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read of functions' trees, and the code that is kept of them, for all functions of a shipped kernel."""

from __future__ import annotations

import ast
from pathlib import Path
from types import CodeType

from softnet.lang.program.layout import lay_out_structs
from softnet.lang.program.program import Program
from softnet.lang.program.source import nodes
from softnet.lang.python.text import compiled, find_function
from softnet.simulate.api import resolve
from softnet.simulate.simulation import load_program

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "loopback.toml"
PATCH = ROOT / "examples" / "patches" / "kick_at_max.py"
LEFT_OUT = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)


def _program(*patches: str, kernel: str = "6.12") -> Program:
    return load_program(resolve(EXAMPLE, kernel, []), patches)


def test_nodes_are_those_of_pythons_own_walk() -> None:
    trees = [find_function(definition) for definition in _program().functions.values()]
    assert len(trees) > 500
    for tree in trees:
        assert nodes(tree) == [node for node in ast.walk(tree) if not isinstance(node, LEFT_OUT)]


def test_code_that_is_kept_is_the_code_that_is_made() -> None:
    """The patched kernel's code comes from where the other's was kept, all but what the patch changes."""

    def code(program: Program, change: ast.NodeTransformer | None = None) -> dict[str, CodeType]:
        engine = lay_out_structs(program)["engine_state"]
        return {name: compiled(definition, engine, change) for name, definition in program.functions.items()}

    code(_program(kernel="6.1"))  # other functions of the same names
    plain, patched = code(_program()), code(_program(str(PATCH)))
    # With a change, here one that changes nothing, code is always made anew.
    anew = code(_program(str(PATCH)), ast.NodeTransformer())
    assert patched == anew
    assert {name for name in plain if patched[name] is not plain[name]} == {"skb_attempt_defer_free"}
