# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses are known to share a cache line, and how a line is called on the two sides of a call."""

from __future__ import annotations

import pytest

from softnet.lang.passes.symbolic_lines import (
    CPU,
    NUMBER,
    UNALIGNED,
    Address,
    Line,
    Root,
    param,
    row,
    to_callee,
    to_caller,
    unaligned,
)  # fmt: skip
from softnet.lang.program.layout import BEGINS_LINE, LINE_WORDS, WITHIN_LINE

P, Q = param("p"), param("q")
BEGINNING, WITHIN, ANYWHERE = Address(P, 0, BEGINS_LINE), Address(P, 0, WITHIN_LINE), Address(P)


def test_words_of_a_structure_that_begins_a_line() -> None:
    assert BEGINNING.plus(LINE_WORDS - 1, BEGINS_LINE).line() == BEGINNING.line() == Line(P, 0)
    assert BEGINNING.plus(LINE_WORDS, BEGINS_LINE).line() == Line(P, 1)


def test_a_structure_within_a_line_has_one_line() -> None:
    assert ANYWHERE.plus(5, WITHIN_LINE).line() == ANYWHERE.line() == WITHIN.line()


def test_without_an_alignment_each_word_is_a_line_of_its_own() -> None:
    one, other = (ANYWHERE.plus(words, UNALIGNED).line() for words in (3, 4))
    assert one == Line(P, 3, by_word=True)
    assert one != other
    assert one == ANYWHERE.plus(3, UNALIGNED).line()
    assert one != ANYWHERE.line()


def test_a_part_keeps_the_alignment_of_the_whole() -> None:
    """The structure inside may lie anywhere: what counts is the one that begins at the root."""
    inner = BEGINNING.plus(3, BEGINS_LINE)
    assert inner.plus(2, UNALIGNED) == Address(P, 5, BEGINS_LINE)
    assert BEGINNING.plus(1, WITHIN_LINE) == Address(P, 1, BEGINS_LINE)
    assert ANYWHERE.plus(3, WITHIN_LINE).plus(2, UNALIGNED) == Address(P, 5, WITHIN_LINE)


def test_back_to_the_structure_around() -> None:
    member = BEGINNING.plus(3, BEGINS_LINE)
    assert member.plus(-3, WITHIN_LINE) == BEGINNING
    assert member.plus(-2, WITHIN_LINE) == Address(P, 1, BEGINS_LINE)
    assert ANYWHERE.plus(3, WITHIN_LINE).plus(-3, UNALIGNED) == ANYWHERE


def test_before_the_root_nothing_is_known() -> None:
    """container_of() of a parameter: the structure around begins somewhere before it."""
    around = ANYWHERE.plus(-3, BEGINS_LINE)
    assert around == unaligned(P, -3)
    assert around.words == 0
    assert around.line() != ANYWHERE.line()
    assert around == ANYWHERE.plus(-3, BEGINS_LINE)


def test_instances_of_a_table_are_the_same_for_the_same_index() -> None:
    index = Address(Root("temp", "entry", 4))
    assert row("s", index) == row("s", index)
    assert row("s", index) != row("t", index)
    assert row("s", index) != row("s", Address(index.root, 1))


CASES = [
    (Line(P, 0), Address(Q), Line(Q, 0)),
    (Line(P, 2), Address(Q), Line(Q, 2)),
    (Line(P, 3, by_word=True), Address(Q), Line(Q, 3, by_word=True)),
    # The argument is a part of something whose lines can be counted.
    (Line(P, 1), Address(Q, LINE_WORDS, BEGINS_LINE), Line(Q, 2)),
    (Line(P, 0), Address(Q, 3, WITHIN_LINE), Line(Q, 0)),
    (Line(P, 3, by_word=True), Address(Q, LINE_WORDS, BEGINS_LINE), Line(Q, 1)),
    # It is a part of something whose lines cannot: only its own beginning names them.
    (Line(P, 1), Address(Q, 3), Line(unaligned(Q, 3).root, 1)),
    (Line(P, 2, by_word=True), Address(Q, 3), Line(Q, 5, by_word=True)),
    (Line(NUMBER, 7), Address(Q, 3), Line(NUMBER, 7)),
]


@pytest.mark.parametrize(("line", "argument", "expected"), CASES)
def test_a_line_of_the_callee_as_the_caller_names_it(line: Line, argument: Address, expected: Line) -> None:
    assert to_caller(line, {"p": argument}) == expected


def test_an_instance_is_named_by_the_callers_index() -> None:
    theirs = row("cpu_hw", Address(param(CPU)))
    cpu = Address(Root("cpu", "entry", 2))
    assert to_caller(theirs.line(), {CPU: cpu}) == row("cpu_hw", cpu).line()


def test_a_root_of_the_caller_as_the_callee_names_it() -> None:
    temp = Root("temp", "entry", 4)
    assert to_callee(Q, {Q: P}) == P
    assert to_callee(NUMBER, {}) == NUMBER
    assert to_callee(temp, {Q: P}) is None
    instance = row("s", Address(temp)).root
    assert to_callee(instance, {temp: P}) == row("s", Address(P)).root
    assert to_callee(instance, {Q: P}) is None


def test_there_and_back_is_the_same_line() -> None:
    temp = Root("temp", "entry", 4)
    line = Line(row("s", Address(temp)).root, 1)
    theirs = to_callee(line.root, {temp: P})
    assert theirs is not None
    assert to_caller(line._replace(root=theirs), {"p": Address(temp)}) == line
