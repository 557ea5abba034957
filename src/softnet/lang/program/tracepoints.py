# SPDX-License-Identifier: GPL-2.0-or-later
"""Tracepoints by their names: ``trace_napi_poll(n, work, budget)`` is ``trace("napi_poll", n.napi_id, work, budget)``.

As in C it is a macro: the call is replaced in the tree of the file, once, before anything looks at it. The events and the names of
their arguments stand in softnet.trace; an argument that is called ``skb`` or ``napi`` is given as the structure and recorded by its
number. For the reader and the type checker the calls are declared in softnet.linux.include.trace.events.
"""

from __future__ import annotations

import ast
from typing import Final

from softnet.trace import EVENTS

PREFIX: Final = "trace_"
RECORDED_BY: Final = {"skb": "id", "napi": "napi_id"}
"""An argument's name -> the field of the structure that is recorded."""
TRACEPOINTS: Final = {PREFIX + event.name: event for event in EVENTS}


class _Expand(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        event = TRACEPOINTS.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if event is not None:
            for number, (argument, name) in enumerate(zip(node.args, event.args, strict=False)):
                if name in RECORDED_BY:
                    field = ast.Attribute(argument, RECORDED_BY[name], ast.Load())
                    node.args[number] = ast.copy_location(field, argument)
            node.args.insert(0, ast.copy_location(ast.Constant(event.name), node.func))
            node.func = ast.copy_location(ast.Name("trace", ast.Load()), node.func)
        return node


def expanded(tree: ast.Module) -> ast.Module:
    """The tree with its tracepoints expanded; the positions are the file's own."""
    return _Expand().visit(tree)  # type: ignore[no-any-return]
