# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever stands in a file or an override: a scenario, or one ScenarioError."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scenario.strategies import scenario_dicts

from softnet.errors import ScenarioError
from softnet.scenario import Scenario, load_scenario, scenario_from_dict

ROOT = Path(__file__).parent.parent.parent
TEXTS = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.toml"))]

SCALARS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.text(max_size=5),
    st.dates(),
    st.datetimes(),
    st.times(),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "name", "cpu", "x", ""]), inner),
    max_leaves=6,
)


def scenario_or_error(build: Any) -> Scenario | ScenarioError:
    try:
        result: Scenario = build()
    except ScenarioError as error:
        told = str(error)
        assert told
        assert "pydantic" not in told
        return error
    assert scenario_from_dict(result.to_dict(), directory=result.directory) == result
    result.notes()
    return result


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (table or list, key) in a document."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        found.append((value, key))
        found += places(child)
    return found


@pytest.mark.slow
@settings(max_examples=2 * settings.default.max_examples)
@given(raw=scenario_dicts(), data=st.data())
def test_a_value_replaced_by_anything(raw: dict[str, Any], data: st.DataObject) -> None:
    raw = copy.deepcopy(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        table, key = data.draw(st.sampled_from(places(raw)))
        if data.draw(st.booleans()) or isinstance(table, list):
            table[key] = data.draw(ANYTHING)
        else:
            table[data.draw(st.sampled_from(["cpus", "kind", "nic", "x", "cpu", "name"]))] = table.pop(key)
    scenario_or_error(lambda: scenario_from_dict(raw))


@pytest.mark.slow
@settings(max_examples=2 * settings.default.max_examples)
@given(data=st.data())
def test_a_file_with_damage(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 12))
        put = data.draw(st.sampled_from(["", "[", "]", "=", '"', "'", "\n", "#", "0", "-", ".", "[[nic]]\n", "x = 1\n", "é"]))
        text = text[:at] + put + text[at + cut :]
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    path.write_text(text, encoding="utf-8")
    result = scenario_or_error(lambda: load_scenario(path))
    if isinstance(result, ScenarioError) and result.where:
        assert result.where.startswith(str(path))


STEPS = [
    "kernel",
    "sysctl",
    "nic",
    "eth0",
    "0",
    "1",
    "traffic",
    "rate_pps",
    "machine",
    "cpus",
    "threads",
    "",
    "napi",
]
KEYS = st.lists(st.sampled_from(STEPS), min_size=1, max_size=4).map(".".join)
VALUES = st.sampled_from(["1", "-1", "[1]", "true", "fifo:1", "6.9-rt", "", "[", "{a=1}", "nan", "1979-05-27", '"x"', "é"])


@pytest.mark.slow
@settings(max_examples=2 * settings.default.max_examples)
@given(
    raw=scenario_dicts(),
    overrides=st.lists(st.builds("{}{}{}".format, KEYS, st.sampled_from(["=", " = ", ""]), VALUES), max_size=3),
)
def test_any_override(raw: dict[str, Any], overrides: list[str]) -> None:
    before = copy.deepcopy(raw)
    scenario_or_error(lambda: scenario_from_dict(raw, overrides))
    assert raw == before


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: tomllib.loads(text)["name"])
def test_the_examples_themselves_are_whole(text: str) -> None:
    assert isinstance(
        scenario_or_error(lambda: scenario_from_dict(tomllib.loads(text), directory=ROOT / "examples")),
        Scenario,
    )
