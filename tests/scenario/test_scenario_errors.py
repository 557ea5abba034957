# SPDX-License-Identifier: GPL-2.0-or-later
"""Each file of tests/golden/scenario_errors is broken; the text beside it is the whole message.

``SOFTNET_UPDATE_GOLDEN=1`` writes the texts anew.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from softnet.errors import ScenarioError
from softnet.scenario import Machine, Scenario, ScenarioProblems, load_scenario, scenario_from_dict

GOLDEN = Path(__file__).parent.parent / "golden" / "scenario_errors"
CASES = sorted(path.stem for path in GOLDEN.glob("*.toml"))

OVERRIDES = {
    "override_without_value": ["machine.cpus"],
    "override_unknown_table": ["machin.cpus=2"],
    "override_unknown_key": ["sysctl.skb_defer_maxx=2"],
    "override_unknown_nic": ["nic.eth7.ring=2"],
    "override_out_of_range": ["sysctl.skb_defer_max=-5", "machine.cpus=x"],
    "override_unknown_kernel": ["kernel=6.13-rt"],
    "override_threads_too_early": ["kernel=6.9-threads"],
    "override_below_a_value": ["machine.cpus.x=1"],
    "override_of_no_list": ["sender.rate_pps=1"],
}


def message_of(path: Path, overrides: list[str]) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, overrides)
    return str(caught.value).replace(f"{path.parent}/", "")


def hold_against(golden: Path, text: str) -> None:
    if os.environ.get("SOFTNET_UPDATE_GOLDEN"):
        golden.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_a_broken_scenario_is_told_in_one_message(case: str) -> None:
    hold_against(GOLDEN / f"{case}.txt", message_of(GOLDEN / f"{case}.toml", []))


@pytest.mark.parametrize("case", OVERRIDES)
def test_a_broken_override_is_told_in_one_message(case: str, tmp_path: Path) -> None:
    path = tmp_path / "fine.toml"
    path.write_text('[machine]\ncpus = 2\n[[nic]]\nname = "eth0"\n', encoding="utf-8")
    hold_against(GOLDEN / f"{case}.txt", message_of(path, OVERRIDES[case]))


def test_no_golden_text_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {*CASES, *OVERRIDES}


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("not_toml", "unclosed_string")])
def test_every_problem_names_a_line_of_the_file(case: str) -> None:
    with pytest.raises(ScenarioProblems) as caught:
        load_scenario(GOLDEN / f"{case}.toml")
    lines = (GOLDEN / f"{case}.toml").read_text(encoding="utf-8").splitlines()
    for problem in caught.value.problems:
        assert problem.where.startswith(f"{GOLDEN / case}.toml:"), problem
        number = int(problem.where.removeprefix(f"{GOLDEN / case}.toml:").split(":")[0])
        assert 1 <= number <= len(lines)
        assert problem.expected or problem.hint


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfename = 1", "not text in UTF-8"), (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deeply")],
)
def test_a_file_that_is_no_text_is_told(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    assert said in message_of(path, [])


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)
    assert "too large for a scenario" in message_of(path, [])


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_file_that_cannot_be_read_is_told(name: str, tmp_path: Path) -> None:
    assert "the scenario cannot be read" in message_of(tmp_path / name, [])


def test_python_objects_give_the_same_errors() -> None:
    with pytest.raises(ScenarioProblems) as caught:
        Scenario(machine=Machine(cpus=2), application=[{"name": "web", "cpu": 2}])  # type: ignore[arg-type]
    assert str(caught.value) == ("application.web.cpu: no such CPU\n  found:    2\n  expected: 0 to 1 (machine.cpus is 2)").replace(
        "application.web.cpu", "application[0].cpu"
    )


def test_an_error_survives_pickling() -> None:
    with pytest.raises(ScenarioProblems) as caught:
        scenario_from_dict({"machine": {"cpus": 0, "x": 1}})
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert len(copy.problems) == 2
