# SPDX-License-Identifier: GPL-2.0-or-later
"""The subset is enforced: each file of tests/golden/subset holds one mistake, the text beside it the whole message.

``SOFTNET_UPDATE_GOLDEN=1`` writes the texts anew.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from tests.lang.world import BASE, COSTS, EVENTS, program_with

from softnet.errors import SoftnetError
from softnet.lang.check.diagnostic import MESSAGES, SubsetErrors, raise_all, render
from softnet.lang.check.subset import check_program, typed_program
from softnet.lang.types import BOOL, INT, ref

GOLDEN = Path(__file__).parent.parent / "golden" / "subset"
CASES = sorted(path.stem for path in GOLDEN.glob("*.py"))

# CPython itself refuses these when the file is parsed, before any check of ours.
REFUSED_BY_PYTHON = {"outside-loop"}


def diagnostics_of(case: str):
    return check_program(program_with(GOLDEN / f"{case}.py"), costs=COSTS, events=EVENTS)


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    text = render(diagnostics_of(case)).replace(f"{GOLDEN}/", "")
    golden = GOLDEN / f"{case}.txt"
    if os.environ.get("SOFTNET_UPDATE_GOLDEN"):
        golden.write_text(text + "\n" if text else "", encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8").rstrip("\n")


def test_every_message_is_shown_by_a_case() -> None:
    shown = {d.code for case in CASES for d in diagnostics_of(case)}
    assert set(MESSAGES) - shown == REFUSED_BY_PYTHON


def test_each_case_but_two_has_one_mistake() -> None:
    counts = {case: len(diagnostics_of(case)) for case in CASES}
    assert {case: n for case, n in counts.items() if n != 1} == {"fine": 0, "several": 6}


def test_the_position_is_where_the_text_stands() -> None:
    for case in CASES:
        for d in diagnostics_of(case):
            lines = Path(d.span.file).read_text(encoding="utf-8").splitlines()
            assert 1 <= d.span.column <= len(lines[d.span.line - 1]) + 1
            assert d.span.end_line > d.span.line or d.span.end_column > d.span.column


def test_columns_count_characters_not_bytes() -> None:
    mistakes = {d.code: d for d in diagnostics_of("wide_characters")}
    span = mistakes["unknown-field"].span
    line = Path(span.file).read_text(encoding="utf-8").splitlines()[span.line - 1]
    assert line[span.column - 1 : span.end_column - 1] == "skb.lenn"


def test_all_errors_are_raised_as_one_error_in_order() -> None:
    found = diagnostics_of("several")
    with pytest.raises(SubsetErrors) as caught:
        raise_all(list(reversed(found)))
    error = caught.value
    assert isinstance(error, SoftnetError)
    assert list(error.diagnostics) == found
    assert str(error) == render(found)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_nothing_is_raised_for_nothing() -> None:
    raise_all([])


def test_types_of_locals() -> None:
    typed = typed_program(program_with(GOLDEN / "fine.py"), costs=COSTS, events=EVENTS)
    change = typed.functions["my_change"]
    assert change.locals["qlen"] == INT
    assert change.locals["head"] == ref("sk_buff")
    assert typed.functions["process_backlog"].locals["sd"] == ref("softnet_data")
    assert typed.functions["napi_schedule_prep"].header.result == BOOL
    assert change.address_taken == {"process_backlog"}


def test_a_patch_overrides_by_name_and_only_the_linked_function_is_checked() -> None:
    program = program_with(GOLDEN / "unknown_field.py", GOLDEN / "fine.py")
    assert check_program(program, costs=COSTS, events=EVENTS) == []


def test_the_base_kernel_is_clean() -> None:
    assert check_program(program_with(), costs=COSTS, events=EVENTS) == []
    assert BASE.exists()
