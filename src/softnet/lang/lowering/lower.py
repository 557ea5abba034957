# SPDX-License-Identifier: GPL-2.0-or-later
"""From checked Python functions to the intermediate form: statements and control flow.

The order of evaluation is Python's, since the reference engine runs the same text and every access may be an interaction
point. Branches on constants, ``IS_ENABLED(CONFIG_X)`` above all, are decided here.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from softnet.lang import ir
from softnet.lang.check.subset import TypedFunction, TypedProgram
from softnet.lang.dispatch import Dispatch
from softnet.lang.lowering.builder import Builder, Context
from softnet.lang.lowering.expressions import Expressions
from softnet.lang.program.layout import ENGINE_BASE, ENGINE_STRUCT, in_lines, lay_out
from softnet.lang.program.observe import Around, observers_of
from softnet.lang.program.program import function_numbers
from softnet.lang.syntax import BINARY_OPERATORS, STATEMENTS
from softnet.lang.types import VOID


def lower_program(
    typed: TypedProgram,
    costs: Mapping[str, int],
    events: Mapping[str, int],
    *,
    checks: bool = False,
    polls: Sequence[str] = (),
    known: Mapping[str, ir.Function] | None = None,
) -> ir.Module:
    """Lower all functions.

    ``costs`` maps a cost's name to its row, ``events`` an event's name to its number; ``checks``: accesses to guarded
    fields check their lock; ``polls``: the functions by which NAPIs are polled, for the observers; ``known``: functions that
    have been lowered already, in a program that is the same but for its other functions' bodies.
    """
    program = typed.world.program
    hooks = observers_of(program, polls)
    layout = lay_out(program, {})
    engine = {name: ENGINE_BASE + f.offset for name, f in layout.structs[ENGINE_STRUCT].fields.items()}
    module = ir.Module(
        functions={},
        function_ids=function_numbers(program),
        events=dict(events),
        table_index=layout.table_index,
        strides={name: struct.stride for name, struct in layout.structs.items()},
        offsets={f"{s.name}.{f.name}": f.offset for s in layout.structs.values() for f in s.fields.values()},
        table_dir=layout.table_dir,
        engine=engine,
        observer_index=layout.observer_index,
        in_lines=in_lines(layout.structs),
        before_switch=hooks.before_switch,
        pointed=set(program.functions if program.pointed is None else program.pointed),
        decides_turn=frozenset(f"{s.name}.{f.name}" for s in layout.structs.values() for f in s.fields.values() if f.decides_turn),
    )
    context = Context(typed.world, module, layout.structs, costs, checks, hooks)
    known = known or {}
    for name in sorted(typed.functions):
        module.functions[name] = known[name] if name in known else lower_function(typed.functions[name], context)
    return module


def lower_function(function: TypedFunction, context: Context) -> ir.Function:
    """One function with its reachable blocks."""
    out = Builder(function, context)
    Statements(out, _Observed(out)).lower()
    header = function.header
    return ir.Function(
        header.name, header.kind, header.shipped, header.source.path, header.tree.lineno, tuple(name for name, _ in header.params),
        header.result != VOID, [*function.locals, *out.hidden], reachable(out.blocks),
        context.world.program.functions[header.name].facts,
    )  # fmt: skip


class _Observed:
    """The calls of a function's observers, where it begins and where it returns."""

    def __init__(self, out: Builder) -> None:
        self.out = out
        self.around = out.context.observers.around.get(out.header.name, Around())
        self.arguments: list[str] = []
        """Locals that keep the arguments for the observer of the end: the function may assign to its parameters."""
        self.token = ""
        """The local that keeps what the observer of the beginning gave."""

    def entered(self) -> None:
        """The function begins."""
        out, around = self.out, self.around
        names = [name for name, _ in out.header.params]
        if around.leave:
            self.arguments = [out.hidden_local("given") for _ in range(around.leave_arguments)]
            for kept, name in zip(self.arguments, names, strict=False):
                out.set(kept, out.get(name))
            self.token = out.hidden_local("token")
        if around.enter:
            args = tuple(out.get(name) for name in names[: around.enter_arguments])
            token = out.temp()
            out.emit(ir.Call(out.at, token, around.enter, args))
            if around.leave:
                out.set(self.token, token)

    def returning(self, value: ir.Operand | None) -> None:
        """The function returns ``value``."""
        out, around = self.out, self.around
        if not around.leave or out.current.end is not None:
            return
        args: list[ir.Operand] = [out.get(self.token)] if around.token else []
        if around.result:
            args.append(0 if value is None else value)
        args += [out.get(kept) for kept in self.arguments]
        out.emit(ir.Call(out.at, None, around.leave, tuple(args)))


class Statements(Dispatch[None], over=STATEMENTS):
    """Lowers the statements of one function."""

    def __init__(self, out: Builder, observed: _Observed) -> None:
        self.out = out
        self.observed = observed
        self.expressions = Expressions(out)
        self.loops: list[tuple[ir.Block, ir.Block]] = []
        """The loops around: where ``continue`` and where ``break`` go."""

    def lower(self) -> None:
        """The whole function."""
        self.observed.entered()
        self.block(self.out.header.tree.body)
        self.returning(None)

    def returning(self, value: ir.Operand | None) -> None:
        """Return, by way of the observer of the function's end."""
        self.observed.returning(value)
        self.out.end(ir.Return(self.out.at, value))

    def block(self, body: list[ast.stmt]) -> None:
        """A list of statements."""
        for statement in body:
            self.out.locate(statement)
            self.visit(statement)

    def on_pass(self, node: ast.Pass) -> None:
        """Nothing."""

    def on_expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.expressions.value(node.value)

    def on_return(self, node: ast.Return) -> None:
        value = None if node.value is None else self.expressions.value(node.value)
        self.out.locate(node)
        self.returning(value)

    # -- branches and loops

    def on_if(self, node: ast.If) -> None:
        out = self.out
        yes, no, after = out.new_block("then"), out.new_block("else"), out.new_block("after")
        self.expressions.condition(node.test, yes, no)
        for block, body in ((yes, node.body), (no, node.orelse)):
            out.enter(block)
            self.block(body)
            out.jump(after)
        out.enter(after)

    def on_while(self, node: ast.While) -> None:
        out = self.out
        head, body, after = out.new_block("while"), out.new_block("body"), out.new_block("after")
        out.jump(head)
        out.enter(head)
        out.emit(ir.Fuel(out.at))
        self.expressions.condition(node.test, body, after)
        self.loop_body(node.body, body, head, after)
        out.jump(head)
        out.enter(after)

    def on_for(self, node: ast.For) -> None:
        out = self.out
        call, target = node.iter, node.target
        assert isinstance(call, ast.Call)
        assert isinstance(target, ast.Name)
        bounds = self.expressions.operands(call.args)
        start, stop = (0, bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[1])
        step = bounds[2] if len(bounds) == 3 else 1
        counter, limit = out.hidden_local("count"), out.hidden_local("limit")
        out.set(counter, start)
        out.set(limit, stop)
        head, body = out.new_block("for"), out.new_block("body")
        again, after = out.new_block("next"), out.new_block("after")
        out.jump(head)
        out.enter(head)
        out.emit(ir.Fuel(out.at, counted=True))
        out.branch(out.binary("<", out.get(counter), out.get(limit)), body, after)
        body.body.append(ir.Get(out.at, first := out.temp(), counter))
        body.body.append(ir.Set(out.at, target.id, first))
        self.loop_body(node.body, body, again, after)
        out.jump(again)
        out.enter(again)
        out.set(counter, out.binary("+", out.get(counter), step))
        out.jump(head)
        out.enter(after)

    def loop_body(self, statements: list[ast.stmt], body: ir.Block, again: ir.Block, after: ir.Block) -> None:
        """The inside of a loop: ``continue`` goes to ``again``, ``break`` to ``after``."""
        self.loops.append((again, after))
        self.out.enter(body)
        self.block(statements)
        self.loops.pop()

    def on_break(self, node: ast.Break) -> None:
        self.out.jump(self.loops[-1][1])

    def on_continue(self, node: ast.Continue) -> None:
        self.out.jump(self.loops[-1][0])

    # -- assignments

    def on_ann_assign(self, node: ast.AnnAssign) -> None:
        # Under CPython a bare annotation stores None, which is 0 here.
        assert isinstance(node.target, ast.Name)
        self.out.set(node.target.id, 0 if node.value is None else self.expressions.value(node.value))

    def on_assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        value = self.expressions.keep(self.expressions.value(node.value), target)
        if isinstance(target, ast.Name):
            self.out.locate(node)
            self.out.set(target.id, value())
            return
        place = self.expressions.place(target)
        self.out.locate(target)
        self.out.store(place, value())

    def on_aug_assign(self, node: ast.AugAssign) -> None:
        out, expressions = self.out, self.expressions
        op = BINARY_OPERATORS[type(node.op)]
        target = node.target
        if isinstance(target, ast.Name):
            old = expressions.keep(out.get(target.id), node.value)
            right = expressions.value(node.value)
            out.locate(node)
            out.set(target.id, out.binary(op, old(), right))
            return
        place = expressions.place(target)
        out.locate(target)
        address = expressions.keep(place.address, node.value)
        old = expressions.keep(out.load(place), node.value)
        right = expressions.value(node.value)
        out.locate(node)
        result = out.binary(op, old(), right)
        out.locate(target)
        out.store(ir.Place(address(), place.field, place.kind, place.guard), result)


def reachable(blocks: list[ir.Block]) -> list[ir.Block]:
    """The blocks that the first one leads to, in their order."""
    by_label = {block.label: block for block in blocks}
    seen: dict[str, ir.Block] = {}
    pending = [blocks[0]]
    while pending:
        block = pending.pop()
        if block.label in seen:
            continue
        seen[block.label] = block
        pending += [by_label[label] for label in block.successors()]
    return [block for block in blocks if block.label in seen]
