# SPDX-License-Identifier: GPL-2.0-or-later
"""The patch files that ship as examples do what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.linux.support import drain_scenario, event_name, named, simulate

from softnet.errors import SoftnetError
from softnet.linux.releases import RELEASES, load_patch, modules_for, patch_info

PATCHES = Path(__file__).parents[2] / "examples" / "patches"


def lengths_at_kicks(patches: list[str]) -> set[int]:
    """How long the defer list was at each kick."""
    out = set()
    length = 0
    for record in named(simulate(drain_scenario("6.12"), patches)[0], "skb_attempt_defer_free", "kick_defer_list_purge"):
        if event_name(record) == "skb_attempt_defer_free":
            length = record.c
        else:
            out.add(length)
    return out


@pytest.mark.parametrize(("name", "length"), [("kick_at_max.py", 64), ("defer_watermark.py", 9)])
def test_example_patch(name, length):
    assert lengths_at_kicks([]) == {33}
    assert lengths_at_kicks([str(PATCHES / name)]) == {length}


def test_a_patch_leaves_no_module_behind():
    before = set(sys.modules)
    load_patch(PATCHES / "kick_at_max.py")
    assert set(sys.modules) == before


@pytest.mark.parametrize(("text", "words"), [("def f(:\n", "must be Python"), ("import nothing_of_that_name\n", "failed while")])
def test_a_broken_patch_file_is_refused(tmp_path, text, words):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(SoftnetError, match=words):
        load_patch(path)


def test_a_missing_patch_file_is_refused(tmp_path):
    with pytest.raises(SoftnetError, match="no such patch file"):
        load_patch(tmp_path / "none.py")


def test_an_unknown_release_is_refused():
    with pytest.raises(SoftnetError, match="no such kernel release"):
        modules_for("5.4")


def test_every_patch_says_where_it_comes_from():
    for name in RELEASES["6.12"]:
        if ".patches." in name:
            info = patch_info(name)
            assert set(info) == {"commit", "subject", "since", "link"}, name
            assert len(info["commit"]) == 12, name


def test_6_10_is_6_9_and_the_series():
    added = [name.rpartition(".")[2] for name in RELEASES["6.10"] if name not in RELEASES["6.9"]]
    assert added == ["napi_wakeup_unconditional", "backlog_napi_threads", "backlog_napi_defer_list"]
