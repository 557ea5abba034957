# SPDX-License-Identifier: GPL-2.0-or-later
"""A tracepoint is its event: by name, with a structure recorded by its number."""

from __future__ import annotations

import ast
from pathlib import Path

from softnet.lang.program.tracepoints import RECORDED_BY, expanded
from softnet.trace import EVENTS

LINUX = Path(__file__).parents[2] / "src" / "softnet" / "linux"
DECLARED = LINUX / "include" / "trace" / "events.py"
STRUCTURES = {"skb": "sk_buff", "napi": "napi_struct"}


def test_a_tracepoint_becomes_the_event_at_its_own_place() -> None:
    text = "trace_napi_poll(container_of(x, y, 'z'), work, 64)\n\ntrace_csd_function_exit()\nother_napi_poll(n)\n"
    tree = expanded(ast.parse(text))
    wanted = "trace('napi_poll', container_of(x, y, 'z').napi_id, work, 64)\ntrace('csd_function_exit')\nother_napi_poll(n)"
    assert ast.unparse(tree) == wanted
    call = next(node for node in ast.walk(tree) if isinstance(node, ast.Call))
    assert (call.lineno, call.col_offset, call.end_col_offset) == (1, 0, len(text.splitlines()[0]))
    assert (call.args[1].col_offset, call.args[1].end_col_offset) == (16, 39)


def test_every_event_is_declared_with_the_types_of_its_arguments() -> None:
    functions = [node for node in ast.parse(DECLARED.read_text()).body if isinstance(node, ast.FunctionDef)]
    declared = {f.name: [(a.arg, ast.unparse(a.annotation)) for a in f.args.args if a.annotation] for f in functions}
    assert declared == {f"trace_{e.name}": [(arg, STRUCTURES.get(arg, "int")) for arg in e.args] for e in EVENTS}
    assert set(STRUCTURES) == set(RECORDED_BY)


def test_the_kernel_calls_tracepoints_by_their_names() -> None:
    for path in LINUX.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Call) and ast.unparse(node.func) == "trace"), f"{path}:{node.lineno}"
