# SPDX-License-Identifier: GPL-2.0-or-later
"""``[machine.idle]``: shipped tables, shorthand, what does not fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from softnet.errors import ScenarioError
from softnet.scenario import Scenario, scenario_from_dict
from softnet.scenario.idle import idle_tables

ROOT = Path(__file__).parents[2]


def made(idle: Any, *args: str) -> Scenario:
    return scenario_from_dict({"machine": {"idle": idle}, "kernel": {"boot_args": list(args)}}, [])


def state(name: str, exit_us: float, residency_us: float) -> dict[str, Any]:
    return {"name": name, "exit_latency_us": exit_us, "target_residency_us": residency_us}


@pytest.mark.parametrize("name", list(idle_tables()))
def test_a_shipped_table_is_good_and_says_where_each_figure_is_from(name: str) -> None:
    table = idle_tables()[name]
    assert made(name).idle_states[1:] == table.states
    assert made({"states": [s.model_dump() for s in table.states]}).idle_states == made(name).idle_states
    assert len(table.sources) == len(table.states)
    assert all(source.strip() for source in (*table.sources, table.about))


def test_the_document_names_all_tables() -> None:
    text = " ".join((ROOT / "docs" / "scenario.md").read_text(encoding="utf-8").split())
    listed = re.search(r"by a shipped table: ([a-z, -]+) \(", text)
    assert listed is not None
    assert listed[1].split(", ") == list(idle_tables())


@pytest.mark.parametrize("arg", ["idle=halt", "idle=poll", "cpuidle.off=1"])
def test_a_boot_argument_takes_the_states_away_and_that_is_said(arg: str) -> None:
    scenario = made("icelake-server", arg)
    assert not scenario.governed
    assert any(f"machine.idle: with {arg}" in note for note in scenario.notes())


def test_without_states_nothing_is_governed() -> None:
    assert not scenario_from_dict({}, []).governed


@pytest.mark.parametrize(
    ("idle", "words"),
    [
        ("icelake", "did you mean icelake-server?"),
        ({"table": "icelake-server", "states": [state("C1", 1, 1)]}, "both a table and states"),
        ({"governor": "teo"}, "a governor without idle states"),
        ({"states": [state("C6", 170, 600), state("C1", 1, 1)]}, "shallower than C6"),
        ({"states": [state("C1", 1, 1), state("C1", 2, 2)]}, "two idle states of one name"),
        ({"states": [state("POLL", 1, 1)]}, "two idle states of one name"),
        ({"table": "icelake-server", "disable": ["C7"]}, "no such idle state"),
        ({"table": "icelake-server", "governor": "haltpoll"}, "haltpoll knows two states"),
        ({"table": "icelake-server", "latency_limit_us": -1}, "latency_limit_us"),
    ],
)
def test_what_does_not_fit_is_told(idle: Any, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        made(idle)
    assert words in str(caught.value)
