# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls for cache lines that are dropped, and those that must stay."""

from __future__ import annotations

import pytest

from lang.world import program_with
from softnet.lang import ir
from softnet.lang.layout import lay_out_structs
from softnet.lang.lines import drop_repeated_lines

AT = ir.At(1, 1)
STRUCTS = lay_out_structs(program_with())
SKB = STRUCTS["sk_buff"].fields
SD = STRUCTS["softnet_data"].fields


def access(serial: int, name: str, words: int, line: str, local: str = "p") -> list[ir.Instr]:
    base, address = ir.Temp(2 * serial), ir.Temp(2 * serial + 1)
    return [
        ir.Get(AT, base, local),
        ir.Offset(AT, address, base, words, name),
        ir.Call(AT, None, line, (address,)),
    ]


def kept(*parts: list[ir.Instr]) -> int:
    block = ir.Block("entry", [instr for part in parts for instr in part], ir.Return(AT, None))
    function = ir.Function("f", "kfunc", True, "f.py", 1, ("p", "q"), False, ["p", "q"], [block])
    module = ir.Module({"f": function}, {}, {}, {}, {}, {}, 0, {}, set())
    drop_repeated_lines(module, STRUCTS)
    return sum(isinstance(i, ir.Call) and i.function.startswith("line_") for i in block.body)


READ_LEN = ("sk_buff.len", SKB["len"].offset, "line_read")
READ_CPU = ("sk_buff.cpu", SKB["cpu"].offset, "line_read")
WRITE_CPU = ("sk_buff.cpu", SKB["cpu"].offset, "line_write")


def test_a_second_read_of_a_line_is_free() -> None:
    assert kept(access(1, *READ_LEN), access(2, *READ_CPU)) == 1


def test_a_write_after_a_read_is_not() -> None:
    assert kept(access(1, *READ_LEN), access(2, *WRITE_CPU)) == 2


def test_a_read_or_write_after_a_write_is_free() -> None:
    assert kept(access(1, *WRITE_CPU), access(2, *READ_LEN), access(3, *WRITE_CPU)) == 1


@pytest.mark.parametrize(
    "between",
    [
        ir.Point(AT, "x"),
        ir.Suspend(AT),
        ir.Call(AT, None, "spin_lock", ()),
        ir.CallPointer(AT, None, 1, ()),
        ir.Set(AT, "p", 0),
    ],
)
def test_whatever_may_give_way_or_change_the_reference_ends_it(between: ir.Instr) -> None:
    assert kept(access(1, *READ_LEN), [between], access(2, *READ_LEN)) == 2


def test_another_reference_may_be_another_line() -> None:
    assert kept(access(1, *READ_LEN), access(2, *READ_LEN, "q")) == 2


def test_lines_of_one_structure_are_told_apart() -> None:
    assert SD["processed"].offset >> 4 != SD["defer_count"].offset >> 4
    one = ("softnet_data.processed", SD["processed"].offset, "line_read")
    other = ("softnet_data.defer_count", SD["defer_count"].offset, "line_read")
    assert kept(access(1, *one), access(2, *other), access(3, *one)) == 2


def test_a_structure_that_others_embed_may_begin_anywhere() -> None:
    # list_head lies inside napi_struct: two of its words may stand on two lines.
    fields = STRUCTS["list_head"].fields
    one = ("list_head.next", fields["next"].offset, "line_read")
    other = ("list_head.prev", fields["prev"].offset, "line_read")
    assert kept(access(1, *one), access(2, *other)) == 2
    assert kept(access(1, *one), access(2, *one)) == 1
