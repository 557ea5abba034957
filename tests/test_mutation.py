# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutations: what an edit changes, and what it says when its text is not there."""

from __future__ import annotations

import pytest
from tests.mutation import Edit, Mutation, mutation
from tests.verify.mutations import MUTATIONS

from softnet.linux.releases import load_patch

TEXT = """@kfunc
def f(n: int) -> int:
    \"\"\"Count.\"\"\"
    m = n

    if m > 0:
        m += 1
        m += 1
    return m
"""


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (Edit("f", "m > 0", "m >= 0"), "if m > 0:", "if m >= 0:"),
        (Edit("f", "m += 1", "m += 2", count=2), "m += 1\n        m += 1", "m += 2\n        m += 2"),
        (Edit("f", "return m", ""), "    return m\n", ""),
        (Edit("f", " > 0", ""), "m > 0", "m"),
        (Edit("f", "m = n", "\n  m = n\n  m += 3\n"), "    m = n\n", "    m = n\n    m += 3\n"),
        (Edit("f", "m = n\n\nif m > 0:", "m = n + 1\nif m:"), "    m = n\n\n    if m > 0:", "    m = n + 1\n    if m:"),
        (Edit("f", "    m += 1\nreturn m", "    m -= 1\nreturn m"), "        m += 1\n    return", "        m -= 1\n    return"),
        (Edit("f", "", "if n < 0:\n    return 0"), "    m = n\n", "    if n < 0:\n        return 0\n    m = n\n"),
    ],
)
def test_an_edit_changes_this_text_and_no_other(edit: Edit, before: str, after: str) -> None:
    assert TEXT.count(before) == 1
    assert edit.apply(TEXT, "here") == TEXT.replace(before, after)


@pytest.mark.parametrize(
    ("edit", "times"),
    [(Edit("f", "m += 1", "m += 2"), "2 times, not 1"), (Edit("f", "m -= 1", "m"), "0 times, not 1"),
     (Edit("f", "m += 1", "", count=3), "2 times, not 3")],
)  # fmt: skip
def test_a_text_that_is_not_there_as_often_as_said_names_mutation_kernel_and_function(edit: Edit, times: str) -> None:
    with pytest.raises(AssertionError, match=rf"^too_much on 6.9-rt: f\(\) has this {times}:\n{edit.old[0]}"):
        edit.apply(TEXT, "too_much on 6.9-rt")


def test_a_function_that_is_not_there_is_named() -> None:
    with pytest.raises(AssertionError, match=r"6\.9 has no backlog_napi_should_run\(\)"):
        MUTATIONS["should_run_tests_sched"].text("6.9")


def test_the_function_is_that_of_the_kernel_in_use() -> None:
    row = mutation("late", "The limit is not looked at.", Edit("skb_attempt_defer_free", ">= defer_max", ">= 1 << 30"))
    assert "spin_lock_irqsave(sd.defer_lock)" in row.text("6.1")
    assert "spin_lock_bh(sd.defer_lock)" in row.text("6.12")


def test_a_mutation_may_add_a_field_and_a_function(tmp_path) -> None:
    adds = """
    class softnet_data(Struct, extends=True):
        flushes: int = percpu()


    @kfunc
    def count_flush(sd: softnet_data) -> None:
        sd.flushes += 1
    """
    row = Mutation("counted", "Nothing: flushes are counted.", (Edit("skb_defer_free_flush", "", "count_flush(sd)"),), adds)
    module = load_patch(row.write(tmp_path, "6.12"))
    assert {"softnet_data", "count_flush", "skb_defer_free_flush"} <= set(vars(module))
