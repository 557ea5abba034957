# SPDX-License-Identifier: GPL-2.0-or-later
"""Functions in the intermediate form, written by hand for tests of its analyses."""

from __future__ import annotations

from collections.abc import Sequence

from softnet.lang import ir

AT = ir.At(1, 1)


def t(number: int) -> ir.Temp:
    """A temp."""
    return ir.Temp(number)


def place(address: ir.Operand, field: str = "s.f", kind: ir.Kind | ir.Raw = "shared") -> ir.Place:
    """A place of a kind."""
    return ir.Place(address, field, kind)


def get(to: int, local: str) -> ir.Instr:
    """Read a local."""
    return ir.Get(AT, t(to), local)


def read(address: ir.Operand) -> ir.Call:
    """The price of a line that is read."""
    return ir.Call(AT, None, "line_read", (address,))


def write(address: ir.Operand) -> ir.Call:
    """The price of a line that is written."""
    return ir.Call(AT, None, "line_write", (address,))


def point(why: str = "s.f") -> ir.Point:
    """An interaction point."""
    return ir.Point(AT, why)


def call(function: str, *args: ir.Operand, to: int | None = None) -> ir.Call:
    """A call by name."""
    return ir.Call(AT, None if to is None else t(to), function, args)


def jump(label: str) -> ir.Jump:
    """Go on in a block."""
    return ir.Jump(AT, label)


def branch(value: ir.Operand, yes: str, no: str) -> ir.Branch:
    """Go on in one of two blocks."""
    return ir.Branch(AT, value, yes, no)


def give(value: ir.Operand | None = None) -> ir.Return:
    """Return."""
    return ir.Return(AT, value)


def block(label: str, *instrs: ir.Instr) -> ir.Block:
    """A block; the last instruction ends it."""
    *body, end = instrs
    assert isinstance(end, ir.Jump | ir.Branch | ir.Return)
    return ir.Block(label, body, end)


def function(name: str, params: Sequence[str], *blocks: ir.Block, kind: str = "kfunc", more: Sequence[str] = ()) -> ir.Function:
    """A function; ``more`` are locals that are no parameters."""
    return ir.Function(name, kind, True, "file.py", 1, tuple(params), True, [*params, *more], list(blocks))


def module(*functions: ir.Function, in_lines: dict[str, int] | None = None, pointed: Sequence[str] = ()) -> ir.Module:
    """A module of these functions, and of two by which the price of a line is taken."""
    prices = [function(name, ["address"], block("entry", give()), kind="hwfunc") for name in ("line_read", "line_write")]
    by_name = {f.name: f for f in (*functions, *prices)}
    numbers = {name: number for number, name in enumerate(sorted(by_name), 1)}
    engine = {name: 16 + index for index, name in enumerate(("now", "lim", "cpu", "ctx"))}
    turns = frozenset(("engine_state.now", "engine_state.lim", "engine_state.cpu"))
    return ir.Module(by_name, numbers, {}, {}, {}, {}, 0, engine, set(pointed), in_lines=in_lines or {}, decides_turn=turns)
