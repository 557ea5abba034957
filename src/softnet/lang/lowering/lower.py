# SPDX-License-Identifier: GPL-2.0-or-later
"""From checked Python functions to the intermediate form: statements and control flow.

The order of evaluation is Python's, since the reference engine runs the same text and every access may be an interaction
point. Branches on constants, ``IS_ENABLED(CONFIG_X)`` above all, are decided here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

from softnet.lang import ir
from softnet.lang.check.subset import TypedProgram
from softnet.lang.lowering.intrinsics import TRANSPARENT, Intrinsics
from softnet.lang.lowering.values import BINARY_OPERATORS, Context
from softnet.lang.program.layout import ENGINE_BASE, ENGINE_STRUCT, in_lines, lay_out
from softnet.lang.program.observe import Around, observers_of
from softnet.lang.program.program import function_numbers
from softnet.lang.types import VOID


def lower_program(
    typed: TypedProgram,
    costs: Mapping[str, int],
    events: Mapping[str, int],
    *,
    checks: bool = False,
    polls: Sequence[str] = (),
) -> ir.Module:
    """Lower all functions.

    ``costs`` maps a cost's name to its row, ``events`` an event's name to its number; ``checks``: accesses to guarded
    fields check their lock; ``polls``: the functions by which NAPIs are polled, for the observers.
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
    for name in sorted(typed.functions):
        module.functions[name] = Lowering(typed.functions[name], context).lower()
    return module


class Lowering(Intrinsics):
    """Lowers one function."""

    serial: int
    around: Around | None
    given: list[str]
    token: str
    loops: list[tuple[str, str]]
    """Of the loops around: where ``continue`` and where ``break`` go."""

    def lower(self) -> ir.Function:
        """The function with its reachable blocks."""
        header = self.header
        self.loops = []
        self.serial = 0
        self.blocks.append(self.current)
        self.around = self.context.observers.around.get(header.name)
        if self.around is not None:
            self.entered(self.around)
        self.block(header.tree.body)
        self.returning(None)
        locals_ = [*self.typed.locals, *self.hidden]
        params = tuple(name for name, _ in header.params)
        return ir.Function(
            header.name, header.kind, header.shipped, header.source.path, header.tree.lineno, params,
            header.result != VOID, locals_, reachable(self.blocks), self.world.program.functions[header.name].facts,
        )  # fmt: skip

    # -- observers

    def entered(self, around: Around) -> None:
        """Call the observer of the function's beginning; keep what its end must be told."""
        names = [name for name, _ in self.header.params]
        if around.leave:
            self.given = [self.hidden_local("given") for _ in range(around.leave_arguments)]
            for kept, name in zip(self.given, names, strict=False):
                self.emit(ir.Set(self.at, kept, self.get(name)))
            self.token = self.hidden_local("token")
        if around.enter:
            args = tuple(self.get(name) for name in names[: around.enter_arguments])
            token = self.temp()
            self.emit(ir.Call(self.at, token, around.enter, args))
            if around.leave:
                self.emit(ir.Set(self.at, self.token, token))

    def returning(self, value: ir.Operand | None) -> None:
        """Return, by way of the observer of the function's end."""
        around = self.around
        if around is not None and around.leave and self.current.end is None:
            args: list[ir.Operand] = [self.get(self.token)] if around.token else []
            if around.result:
                args.append(0 if value is None else value)
            args += [self.get(kept) for kept in self.given]
            self.emit(ir.Call(self.at, None, around.leave, tuple(args)))
        self.end(ir.Return(self.at, value))

    # -- blocks

    def new_block(self, what: str) -> ir.Block:
        """A block that is not entered yet."""
        self.serial += 1
        return ir.Block(f"{what}{self.serial}")

    def enter(self, block: ir.Block) -> None:
        """Code from here on goes into ``block``."""
        self.blocks.append(block)
        self.current = block

    def end(self, how: ir.Terminator) -> None:
        """End the current block unless it has ended."""
        if self.current.end is None:
            self.current.end = how

    def jump(self, target: ir.Block) -> None:
        """Go on in another block."""
        self.end(ir.Jump(self.at, target.label))

    def when(self, condition: ir.Operand, then: Callable[[], None]) -> None:
        if isinstance(condition, int):
            if condition:
                then()
            return
        yes, after = self.new_block("then"), self.new_block("after")
        self.end(ir.Branch(self.at, condition, yes.label, after.label))
        self.enter(yes)
        then()
        self.jump(after)
        self.enter(after)

    def condition(self, node: ast.expr, yes: ir.Block, no: ir.Block) -> None:
        """Jump to one of two blocks; and, or and not become jumps, constants decide here."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand, no, yes)
            return
        if isinstance(node, ast.BoolOp):
            conjunction = isinstance(node.op, ast.And)
            for part in node.values[:-1]:
                more = self.new_block("more")
                if conjunction:
                    self.condition(part, more, no)
                else:
                    self.condition(part, yes, more)
                self.enter(more)
            self.condition(node.values[-1], yes, no)
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TRANSPARENT:
            if node.func.id not in self.world.headers:
                self.condition(node.args[0], yes, no)
                return
        value = self.value(node)
        self.place_of(node)
        if isinstance(value, int):
            self.jump(yes if value else no)
        else:
            self.end(ir.Branch(self.at, value, yes.label, no.label))

    def branches(self, node: ast.expr) -> ir.Operand:
        kept = self.hidden_local("value")
        yes, no, after = self.new_block("yes"), self.new_block("no"), self.new_block("after")
        self.condition(node.test if isinstance(node, ast.IfExp) else node, yes, no)
        for block, number in ((yes, 1), (no, 0)):
            self.enter(block)
            value: ir.Operand = number
            if isinstance(node, ast.IfExp):
                value = self.value(node.body if number else node.orelse)
            self.emit(ir.Set(self.at, kept, value))
            self.jump(after)
        self.enter(after)
        return self.get(kept)

    # -- statements

    def block(self, body: list[ast.stmt]) -> None:
        """A list of statements."""
        for statement in body:
            self.place_of(statement)
            getattr(self, "_stmt_" + type(statement).__name__.lower())(statement)

    def _stmt_pass(self, node: ast.Pass) -> None:
        """Nothing."""

    def _stmt_expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.value(node.value)

    def _stmt_return(self, node: ast.Return) -> None:
        value = None if node.value is None else self.value(node.value)
        self.place_of(node)
        self.returning(value)

    def _stmt_if(self, node: ast.If) -> None:
        yes, no, after = self.new_block("then"), self.new_block("else"), self.new_block("after")
        self.condition(node.test, yes, no)
        for block, body in ((yes, node.body), (no, node.orelse)):
            self.enter(block)
            self.block(body)
            self.jump(after)
        self.enter(after)

    def _stmt_while(self, node: ast.While) -> None:
        head, body, after = self.new_block("while"), self.new_block("body"), self.new_block("after")
        self.jump(head)
        self.enter(head)
        self.emit(ir.Fuel(self.at))
        self.condition(node.test, body, after)
        self.loop_body(node.body, body, head, after)
        self.jump(head)
        self.enter(after)

    def _stmt_for(self, node: ast.For) -> None:
        call, target = node.iter, node.target
        assert isinstance(call, ast.Call)
        assert isinstance(target, ast.Name)
        bounds = self.operands(call.args)
        start, stop = (0, bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[1])
        step = bounds[2] if len(bounds) == 3 else 1
        counter, limit = self.hidden_local("count"), self.hidden_local("limit")
        self.emit(ir.Set(self.at, counter, start))
        self.emit(ir.Set(self.at, limit, stop))
        head, body = self.new_block("for"), self.new_block("body")
        again, after = self.new_block("next"), self.new_block("after")
        self.jump(head)
        self.enter(head)
        self.emit(ir.Fuel(self.at, counted=True))
        inside = self.binary("<", self.get(counter), self.get(limit))
        self.end(ir.Branch(self.at, inside, body.label, after.label))
        body.body.append(ir.Get(self.at, first := self.temp(), counter))
        body.body.append(ir.Set(self.at, target.id, first))
        self.loop_body(node.body, body, again, after)
        self.jump(again)
        self.enter(again)
        self.emit(ir.Set(self.at, counter, self.binary("+", self.get(counter), step)))
        self.jump(head)
        self.enter(after)

    def loop_body(self, statements: list[ast.stmt], body: ir.Block, again: ir.Block, after: ir.Block) -> None:
        """The inside of a loop: ``continue`` goes to ``again``, ``break`` to ``after``."""
        self.loops.append((again.label, after.label))
        self.enter(body)
        self.block(statements)
        self.loops.pop()

    def _stmt_break(self, node: ast.Break) -> None:
        self.end(ir.Jump(self.at, self.loops[-1][1]))

    def _stmt_continue(self, node: ast.Continue) -> None:
        self.end(ir.Jump(self.at, self.loops[-1][0]))

    def _stmt_annassign(self, node: ast.AnnAssign) -> None:
        # Under CPython a bare annotation stores None, which is 0 here.
        assert isinstance(node.target, ast.Name)
        value = 0 if node.value is None else self.value(node.value)
        self.emit(ir.Set(self.at, node.target.id, value))

    def _stmt_assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        value = self.keep(self.value(node.value), target)
        if isinstance(target, ast.Name):
            self.place_of(node)
            self.emit(ir.Set(self.at, target.id, value()))
            return
        place = self.place(target)
        self.place_of(target)
        self.store(place, value())

    def _stmt_augassign(self, node: ast.AugAssign) -> None:
        op = BINARY_OPERATORS[type(node.op)]
        target = node.target
        if isinstance(target, ast.Name):
            old = self.keep(self.get(target.id), node.value)
            right = self.value(node.value)
            self.place_of(node)
            self.emit(ir.Set(self.at, target.id, self.binary(op, old(), right)))
            return
        place = self.place(target)
        self.place_of(target)
        address = self.keep(place.address, node.value)
        old = self.keep(self.load(place), node.value)
        right = self.value(node.value)
        self.place_of(node)
        result = self.binary(op, old(), right)
        self.place_of(target)
        self.store(ir.Place(address(), place.field, place.kind, place.guard), result)


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
        if isinstance(block.end, ir.Jump):
            pending.append(by_label[block.end.target])
        elif isinstance(block.end, ir.Branch):
            pending += [by_label[block.end.no], by_label[block.end.yes]]
    return [block for block in blocks if block.label in seen]
