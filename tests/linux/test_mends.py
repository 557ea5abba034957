# SPDX-License-Identifier: GPL-2.0-or-later
"""The edits that mend a finding: which kernels they fit, and what of a patch stands in their way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tests.mutation import mutate

from softnet.linux.mends import MENDS, Edit, edited, mended
from softnet.properties.findings import FINDINGS
from softnet.scenario import parse_kernel

PAIRS = [(number, kernel) for number in MENDS for kernel in FINDINGS[number].kernels]


def fits(number: str, kernel: str, *patches: str) -> bool:
    choice = parse_kernel(kernel)
    return mended(number, choice.release, choice.flavour, patches) is not None


@pytest.mark.slow
def test_they_fit_every_kernel_that_has_the_finding() -> None:
    assert [(number, kernel) for number, kernel in PAIRS if not fits(number, kernel)] == []


def test_a_patch_does_not_change_the_way(tmp_path: Path) -> None:
    # Without its kick in this shape the kernel would fit the way of those that kick by a work item.
    other = mutate(tmp_path, "6.12", "kick_defer_list_purge", "smp_call_function_single_async(", "smp_call_function_single(")
    assert fits("C7", "6.12")
    assert not fits("C7", "6.12", other)


@pytest.mark.parametrize(
    ("text", "old", "new", "after"),
    [
        ("f(1)  # why\ng()", "f(1)", "f(2)", "f(2)\ng()"),
        ("f()\nif x:\n    f()", "f()", "g()", "f()\nif x:\n    g()"),
        ("if x:\n    a()\nelse:\n    b()\n    c()", "b()\nc()", "c()\nb()", "if x:\n    a()\nelse:\n    c()\n    b()"),
        ("a(7)\nb()", "...\nb()", "b()\n...", "b()\na(7)"),
        ("f( 1,\n 2 )", "f(1, 2)", "f(3)", "f(3)"),
        ("f(1)", "f(2)", "f(3)", None),
        ("a()\nx()\nb()", "a()\nb()", "b()\na()", None),
        ("b()", "...\nb()", "b()\n...", None),
    ],
)
def test_statements_are_compared(text: str, old: str, new: str, after: str | None) -> None:
    indent = "\n    "
    found = edited("def f(x):" + indent + text.replace("\n", indent), Edit("f", old, new))
    wanted = None if after is None else ast.unparse(ast.parse("def f(x):" + indent + after.replace("\n", indent)))
    assert found == wanted


def test_a_patch_of_the_function_is_edited_where_the_statements_are(tmp_path: Path) -> None:
    other = mutate(tmp_path, "6.12", "trigger_rx_softirq", "trace_trigger_rx_softirq(sd.cpu)", "trace_trigger_rx_softirq(0)")
    found = mended("C9", "6.12", "plain", (other,))
    assert found is not None
    ((name, module),) = found
    assert name == "C9 mended/trigger_rx_softirq()"
    assert module.__dict__["trigger_rx_softirq"].__code__.co_filename == name
    gone = mutate(tmp_path, "6.12", "trigger_rx_softirq", "smp_store_release(sd.defer_ipi_scheduled, 0)", "smp_mb()")
    assert not fits("C9", "6.12", gone)


def test_what_has_no_mend_fits_nothing() -> None:
    assert set(FINDINGS) - set(MENDS) == {"C4", "C8", "C10", "I13"}
    assert not fits("C4", "6.12")
