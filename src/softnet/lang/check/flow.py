# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths through a function: use before assignment, a missing return, dead code, loops without a way out."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field

from softnet.lang.program.source import Definition, nodes

Report = Callable[..., None]
Assigned = set[str]


@dataclass
class _Loop:
    """A loop being walked: what is assigned where it is left by ``break``."""

    at_break: list[Assigned] = field(default_factory=list)


class FlowChecker:
    """Walks one function once; a state of None means that control does not get there."""

    def __init__(self, tree: Definition, local_names: set[str], interacts: set[ast.AST], report: Report) -> None:
        self.tree = tree
        self.local_names = local_names
        self.interacts = interacts
        self.report = report
        self.loops: list[_Loop] = []

    def check(self, *, returns_value: bool, result: str) -> None:
        """Walk the body; a path that ends without a value is reported at its last statement."""
        args = self.tree.args
        parameters = {a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs)}
        after = self.block(self.tree.body, parameters)
        if returns_value and after is not None:
            self.report(self.tree.body[-1], "missing-return", name=self.tree.name, want=result)

    def block(self, body: list[ast.stmt], state: Assigned | None) -> Assigned | None:
        """The state after a list of statements."""
        for statement in body:
            if state is None:
                self.report(statement, "unreachable")
                return None
            state = self.statement(statement, state)
        return state

    def statement(self, node: ast.stmt, state: Assigned) -> Assigned | None:
        """The state after one statement."""
        match node:
            case ast.Return():
                self.uses(node, state)
                return None
            case ast.Break() | ast.Continue():
                self.jump(node, state)
                return None
            case ast.If():
                self.uses(node.test, state)
                yes = self.block(node.body, set(state))
                no = self.block(node.orelse, set(state)) if node.orelse else state
                return _merge(yes, no)
            case ast.While():
                return self.while_loop(node, state)
            case ast.For():
                return self.for_loop(node, state)
            case _:
                return self.simple(node, state)

    def simple(self, node: ast.stmt, state: Assigned) -> Assigned:
        """An assignment, a call, pass: what it reads, then what it assigns."""
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self.use(node.target, state)
        inside = nodes(node)
        self._uses(inside, state)
        if not (isinstance(node, ast.AnnAssign) and node.value is None):
            state |= {inner.id for inner in inside if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}
        return state

    def jump(self, node: ast.Break | ast.Continue, state: Assigned) -> None:
        """Break and continue."""
        if not self.loops:
            self.report(node, "outside-loop", what="break" if isinstance(node, ast.Break) else "continue")
        elif isinstance(node, ast.Break):
            self.loops[-1].at_break.append(state)

    def while_loop(self, node: ast.While, state: Assigned) -> Assigned | None:
        """A loop with a constant true test ends only by break or return."""
        self.uses(node.test, state)
        forever = isinstance(node.test, ast.Constant) and bool(node.test.value)
        loop = _Loop()
        self.loops.append(loop)
        self.block(node.body, set(state))
        self.loops.pop()
        if not forever:
            return state
        if not loop.at_break:
            if not _returns(node) and not any(n in self.interacts for n in nodes(node)):
                self.report(node.test, "endless")
            return None
        return set.intersection(*loop.at_break)

    def for_loop(self, node: ast.For, state: Assigned) -> Assigned:
        """The body may run not at all, so it assigns nothing for what follows."""
        self.uses(node.iter, state)
        self.loops.append(_Loop())
        target = {node.target.id} if isinstance(node.target, ast.Name) else set()
        self.block(node.body, state | target)
        self.loops.pop()
        return state

    def uses(self, node: ast.AST, state: Assigned) -> None:
        """Report the locals that a node reads and that some path here leaves unassigned."""
        self._uses(nodes(node), state)

    def _uses(self, inside: list[ast.AST], state: Assigned) -> None:
        for inner in inside:
            if isinstance(inner, ast.NamedExpr):
                # ':=' is allowed only where it is evaluated first, so its local is assigned from then on.
                self.uses(inner.value, state)
                state.add(inner.target.id)
        for inner in inside:
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
                self.use(inner, state)

    def use(self, name: ast.Name, state: Assigned) -> None:
        """One read; a name is reported once on a path."""
        if name.id in self.local_names and name.id not in state:
            self.report(name, "unassigned", name=name.id)
            state.add(name.id)


def _merge(one: Assigned | None, other: Assigned | None) -> Assigned | None:
    if one is None:
        return other
    return one if other is None else one & other


def _returns(loop: ast.While) -> bool:
    return any(isinstance(n, ast.Return) for n in nodes(loop))
