# SPDX-License-Identifier: GPL-2.0-or-later
"""What the form says of itself: what an instruction reads and computes, where a block leads, and one case for each type."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

import pytest
from tests.lang.forms import AT, block, branch, give, jump, place, t

from softnet.lang import ir
from softnet.lang.dispatch import Dispatch, method_name
from softnet.lang.lowering import lower

EXAMPLES: tuple[tuple[ir.Instr, list[int], int | None], ...] = (
    (ir.Binary(AT, t(1), "+", t(2), 3), [2], 1),
    (ir.Binary(AT, t(1), "+", t(2), t(2)), [2, 2], 1),
    (ir.BitLength(AT, t(1), t(2)), [2], 1),
    (ir.Get(AT, t(1), "x"), [], 1),
    (ir.Set(AT, "x", t(2)), [2], None),
    (ir.Load(AT, t(1), place(t(2))), [2], 1),
    (ir.Store(AT, place(t(2)), t(3)), [2, 3], None),
    (ir.Store(AT, place(16), 5), [], None),
    (ir.Atomic(AT, t(1), "cmpxchg", place(t(2)), (0, t(3))), [2, 3], 1),
    (ir.Barrier(AT, "smp_mb"), [], None),
    (ir.Offset(AT, t(1), t(2), 4, "s.f"), [2], 1),
    (ir.Element(AT, t(1), t(2), t(3), 8, 1), [2, 3], 1),
    (ir.Table(AT, t(1), "s", t(2)), [2], 1),
    (ir.TableLength(AT, t(1), "s"), [], 1),
    (ir.IndexOf(AT, t(1), "s", t(2)), [2], 1),
    (ir.Call(AT, t(1), "f", (t(2), 7, t(3))), [2, 3], 1),
    (ir.Call(AT, None, "f", (t(2),)), [2], None),
    (ir.CallPointer(AT, t(1), t(2), (t(3),)), [2, 3], 1),
    (ir.Point(AT, "s.f"), [], None),
    (ir.Suspend(AT), [], None),
    (ir.Trace(AT, "event", (t(1), 0, t(2))), [1, 2], None),
    (ir.Check(AT, t(1), "bug-on"), [1], None),
    (ir.Fuel(AT), [], None),
    (ir.Jump(AT, "a"), [], None),
    (ir.Branch(AT, t(1), "a", "b"), [1], None),
    (ir.Return(AT, t(1)), [1], None),
    (ir.Return(AT, None), [], None),
)


@pytest.mark.parametrize(("instr", "used", "defined"), EXAMPLES)
def test_what_an_instruction_uses_and_defines(instr: ir.Instr, used: list[int], defined: int | None) -> None:
    assert [temp.number for temp in instr.uses()] == used
    assert instr.defines() == (None if defined is None else t(defined))


def test_there_is_an_example_of_every_instruction() -> None:
    assert {type(instr) for instr, _, _ in EXAMPLES} == set(ir.INSTRUCTIONS)
    assert set(ir.INSTRUCTIONS) == set(ir.Instr.__subclasses__())


@pytest.mark.parametrize(("instr", "used", "defined"), EXAMPLES)
def test_no_temp_in_a_field_is_forgotten(instr: ir.Instr, used: list[int], defined: int | None) -> None:
    """Found another way: by looking into every field."""
    found: list[int] = []
    for field in dataclasses.fields(instr):
        value: Any = getattr(instr, field.name)
        value = value.address if isinstance(value, ir.Place) else value
        if field.name != "to":
            found += [v.number for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, ir.Temp)]
    assert found == used


def test_where_a_block_leads() -> None:
    assert block("a", jump("b")).successors() == ("b",)
    assert block("a", branch(t(1), "yes", "no")).successors() == ("yes", "no")
    assert block("a", give()).successors() == ()
    assert ir.Block("a").successors() == ()


def test_unreachable_blocks_are_dropped_and_the_order_stays() -> None:
    blocks = [
        block("entry", branch(1, "late", "loop")), block("dead", jump("late")), block("loop", jump("entry")), block("late", give()),
    ]  # fmt: skip
    assert [b.label for b in lower.reachable(blocks)] == ["entry", "loop", "late"]


# -- dispatch


def test_the_name_of_a_case() -> None:
    assert [method_name(kind) for kind in (ir.CallPointer, ast.AugAssign, ast.If)] == ["on_call_pointer", "on_aug_assign", "on_if"]


def test_a_visitor_without_a_case_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match=r"Narrow: no on_set\(\)"):

        class Narrow(Dispatch[int], over=(ir.Get, ir.Set)):
            def on_get(self, i: ir.Get) -> int:
                return 1


def test_a_case_for_no_type_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match=r"on_gett\(\) is for no type"):

        class Misspelt(Dispatch[int], over=(ir.Get,)):
            def on_get(self, i: ir.Get) -> int:
                return 1

            def on_gett(self, i: ir.Get) -> int:
                return 2


def test_all_others_may_have_one_case() -> None:
    class Some(Dispatch[str], over=(ir.Get, ir.Set)):
        def on_get(self, i: ir.Get) -> str:
            return "get"

        def otherwise(self, node: object) -> str:
            return "other"

    class More(Some):
        def on_set(self, i: ir.Set) -> str:
            return "set"

    set_ = ir.Set(AT, "x", 1)
    assert [Some().visit(ir.Get(AT, t(1), "x")), Some().visit(set_), More().visit(set_)] == ["get", "other", "set"]
    assert (Some.has_method(set_), More.has_method(set_)) == (False, True)


def test_an_unknown_node_is_refused() -> None:
    class One(Dispatch[int], over=(ir.Get,)):
        def on_get(self, i: ir.Get) -> int:
            return 1

    with pytest.raises(TypeError, match="One does not know Suspend"):
        One().visit(ir.Suspend(AT))
