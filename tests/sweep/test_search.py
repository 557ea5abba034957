# SPDX-License-Identifier: GPL-2.0-or-later
"""Searches and races: the best is found with a fifth of a grid's runs, limits are kept, and hopeless combinations are dropped."""

from __future__ import annotations

import importlib.util
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.golden import held_to_golden
from tests.sweep.conftest import VARY
from tests.sweep.test_sweep import asked, files

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.report.sweep import render_sweep, sweep_json
from softnet.sweep import api
from softnet.sweep.analysis import findings, hopeless
from softnet.sweep.factors import factor_of_text
from softnet.sweep.measures import Measure, measures_of
from softnet.sweep.plan import plan
from softnet.sweep.search import Score, Search
from softnet.sweep.store import Finished

optuna = pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'softnet[search]'")

LEVELS = tuple(range(10, 160, 10))


@pytest.mark.slow
def test_a_search_finds_the_best_of_a_grid_with_a_fifth_of_its_runs() -> None:
    """Of thirty valleys with a limit at least twenty-nine: a search has no promise for each. The bench has other kinds, too."""
    spec = importlib.util.spec_from_file_location("grid_search", Path(__file__).parents[2] / "bench" / "grid_search.py")
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    found = [bench.searched(bench.valley(random.Random(seed), sizes), sizes) for seed in range(10) for sizes in bench.SIZES]
    assert len(found) == 30
    assert sum(found) >= 29


@pytest.mark.slow
def test_levels_without_order_and_ranges_are_searched_too() -> None:
    """One of five levels that no number orders, and two ranges: near its best, and what fails is not asked for again."""
    factors = [factor_of_text(f"sysctl.{text}") for text in ("a=x,y,z,v,w", "b=0..1000", "c=1..1000:log")]
    tried: list[tuple[str, ...]] = []

    def score(point: Sequence[str]) -> Score:
        name, b, c = point[0], int(point[1]), int(point[2])
        if b > 900:
            return Score(math.nan, ())
        value = {"x": 30, "y": 20, "z": 0, "v": 25, "w": 40}[name] + abs(b - 640) / 10 + 20 * abs(math.log10(c) - 1)
        return Score(value, (math.inf if c > 900 else 300 - b,))

    def run(points: Sequence[tuple[str, ...]]) -> list[Score]:
        tried.extend(points)
        return [score(point) for point in points]

    Search(factors, 60).go(tuple(factor.base for factor in factors), run)
    assert len(set(tried)) == len(tried) == 61
    best = min(tried, key=lambda point: score(point).rank)
    assert best[0] == "z"
    assert score(best).value < 5


class Stub:
    """Runs that come from a formula: lower p99 in a valley, more CPU where both settings are high. Counts them."""

    def __init__(self, scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs = 0
        columns = [measure.name for measure in measures_of(plan(asked(scenario)).arms[0].scenario)]
        self.at = {name: columns.index(name) for name in ("web.p99", "cpu", "dropped")}
        self.count = len(columns)
        monkeypatch.setattr(api, "run_once", self.run)

    def run(self, job: Any) -> Finished:
        self.runs += 1
        sysctl = job.scenario.kernel.sysctl
        values: list[Any] = [0] * self.count
        values[self.at["web.p99"]] = self.p99(sysctl.netdev_budget, sysctl.dev_weight) + job.seed
        values[self.at["cpu"]] = self.cpu(sysctl.netdev_budget, sysctl.dev_weight)
        return Finished(values, "")

    @staticmethod
    def p99(budget: int, weight: int) -> int:
        return 1000 + (budget - 93) ** 2 + 2 * (weight - 71) ** 2

    @staticmethod
    def cpu(budget: int, weight: int) -> float:
        return (budget + weight) / 4


def _searched(scenario: Path, runs: int, **given: Any) -> Any:
    levels = ",".join(map(str, LEVELS))
    vary = (f"sysctl.netdev_budget={levels}", f"sysctl.dev_weight={levels}")
    return asked(
        scenario, vary=vary, design="search", runs=runs, minimize="web.p99", subject_to=("cpu < 35%",), seeds=2, **given
    )  # fmt: skip


@pytest.mark.slow
def test_a_search_keeps_its_limits_and_goes_on_where_it_was(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub(scenario, monkeypatch)
    kept = [(b, w) for b in LEVELS for w in LEVELS if stub.cpu(b, w) < 35]
    best = min(kept, key=lambda settings: stub.p99(*settings))
    assert stub.p99(*best) > min(stub.p99(b, w) for b in LEVELS for w in LEVELS)  # the limit is one
    api.sweep(_searched(scenario, 44), tmp_path / "out", processes=1)
    assert stub.runs == 2 * 45
    found = findings(tmp_path / "out")
    assert len(found.arms) == 45
    number = found.best(found.shown[0])
    assert number is not None
    assert tuple(int(level) for level in found.arms[number].levels) == best
    assert [measure.name for measure in found.shown[:2]] == ["web.p99", "cpu"]
    held_to_golden("sweep", "search", render_sweep(found, 100))
    assert sweep_json(found)["arms"][0]["breaks"] == []
    # Again: nothing is run, and nothing is another. With fewer and then more: the first ones are those of before.
    wanted = files(tmp_path / "out")
    stub.runs = 0
    api.sweep(_searched(scenario, 44), tmp_path / "out", processes=1)
    assert (stub.runs, files(tmp_path / "out")) == (0, wanted)
    api.sweep(_searched(scenario, 16), tmp_path / "short", processes=1)
    api.sweep(_searched(scenario, 20), tmp_path / "short", processes=1)
    assert stub.runs == 2 * 21


def test_a_maximum_is_searched_for_and_combinations_that_do_not_fit_are_left_out(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stub(scenario, monkeypatch)
    vary = ("sysctl.netdev_budget=10..150", "measure.warmup_ms=0,1.5", "measure.duration_ms=2,1")
    swept = api.sweep(asked(scenario, vary=vary, design="search", runs=12, maximize="cpu", seeds=1), tmp_path / "out", processes=1)
    assert swept.unfit > 0
    found = findings(tmp_path / "out")
    number = found.best(found.shown[0])
    assert number is not None
    assert int(found.arms[number].levels[0]) >= 140
    assert all(arm.levels[1:] != ("1.5", "1") for arm in found.arms)


@pytest.mark.slow
def test_hopeless_arms_are_dropped_and_the_best_seldom_is() -> None:
    """Of 12 arms with noise that is shared by seed, and looks at 3 to 10 seeds: what is dropped is worse, nearly always."""
    draw = np.random.default_rng(1)
    lost = kept = 0
    experiments = 60
    for _ in range(experiments):
        truth = np.concatenate([[5.0, 0.0, 0.2], draw.uniform(0.5, 10, 9)])
        values = truth[:, None] + draw.normal(0, 3, 10) + draw.normal(0, 0.6, (12, 10))
        alive = list(range(12))
        for seeds in range(3, 10):
            out = hopeless([values[arm, :seeds] for arm in alive], 1, 7)
            assert 0 not in out
            alive = [arm for index, arm in enumerate(alive) if index not in out]
        lost += 1 not in alive
        kept += len(alive)
    assert lost / experiments <= 0.05
    assert kept / experiments < 8
    # Higher is better; an arm without figures, and a single seed, say nothing.
    assert hopeless([np.array([1.0, 1.1]), np.array([9.0, 9.1]), np.array([1.0, 1.1])], -1, 1) == [2]
    assert hopeless([np.array([1.0]), np.array([9.0])], 1, 1) == []
    assert hopeless([np.array([np.nan, np.nan]), np.array([9.0, 8.0]), np.array([np.nan, 1.0])], 1, 1) == []


def test_a_race_drops_what_is_surely_not_the_best(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(scenario, monkeypatch)
    vary = ("sysctl.netdev_budget=10,90,100", "sysctl.dev_weight=70")
    given: dict[str, Any] = {"vary": vary, "seeds": 8, "minimize": "web.p99"}
    swept = api.sweep(asked(scenario, **given, race=True), tmp_path / "race", processes=1)
    # The base stays; 100 is worse than 90 by the same in each seed: three are enough.
    assert swept.dropped == {2: 3}
    assert stub.runs == swept.finished == 8 + 8 + 3
    found = findings(tmp_path / "race")
    assert found.missing == 0
    assert found.best(found.shown[0]) == 1
    text = render_sweep(found, 100)
    assert "dropped after 3 seeds" in text
    assert sweep_json(found)["arms"][2]["dropped_after"] == 3
    # What it did not run is run without it, and then raced again it is what it was.
    raced = files(tmp_path / "race")
    api.sweep(asked(scenario, **given), tmp_path / "race", processes=1)
    assert stub.runs == 24
    api.sweep(asked(scenario, **given, race=True), tmp_path / "race", processes=1)
    assert (stub.runs, files(tmp_path / "race")) == (24, raced)


def test_limits_are_said_where_none_keeps_them(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Stub(scenario, monkeypatch)
    vary = ("sysctl.netdev_budget=10,90", "sysctl.dev_weight=70")
    api.sweep(asked(scenario, vary=vary, subject_to=("web.p99 < 1us", "cpu >= 20")), tmp_path / "out", processes=1)
    found = findings(tmp_path / "out")
    assert [limit.bound for limit in found.limits] == [1000, 20]
    assert "no combination that was tried keeps web.p99 < 1us and cpu >= 20" in render_sweep(found, 100)
    assert found.remarks(found.arms[1]) == ["not web.p99 < 1us"]
    assert isinstance(found.shown[0], Measure)


BAD = {
    "search-for-nothing": ["--design", "search", "--runs", "8"],
    "search-without-runs": ["--design", "search", "--minimize", "web.p99"],
    "two-objectives": ["--minimize", "web.p99", "--maximize", "cpu"],
    "unknown-objective": ["--minimize", "web.p98"],
    "not-a-limit": ["--minimize", "web.p99", "--subject-to", "cpu under 40%"],
    "limit-of-the-wrong-unit": ["--minimize", "web.p99", "--subject-to", "dropped < 4us"],
    "limit-of-an-unknown-measure": ["--subject-to", "cpus < 40%"],
    "race-without-direction": ["--race", "--measure", "kicks"],
    "race-and-until": ["--race", "--until", "web.p99=5%"],
    "search-and-until": ["--design", "search", "--runs", "8", "--minimize", "web.p99", "--until", "web.p99=5%"],
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_goal_is_one_message(
    case: str, scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scenario.parent)
    monkeypatch.setattr(api, "run_once", lambda job: pytest.fail("something ran"))
    words = ["sweep", scenario.name, f"--vary={VARY[0]}", *BAD[case], "--jobs=1", "--out=out", "--quiet"]
    assert run_cli(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert not Path("out").exists()
    held_to_golden("sweep", case, printed.err)


def test_without_optuna_a_search_says_what_to_install(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(SoftnetError, match=r"pip install 'softnet\[search\]'"):
        plan(asked(scenario, vary=VARY[:1], design="search", runs=8, minimize="web.p99"))


def test_experiment_json_says_what_was_looked_for(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Stub(scenario, monkeypatch)
    vary = ("sysctl.netdev_budget=10,90", "sysctl.dev_weight=70")
    api.sweep(asked(scenario, vary=vary, maximize="web.p99", subject_to=("cpu < 40%",)), tmp_path / "out", processes=1)
    about = json.loads((tmp_path / "out" / "experiment.json").read_text())
    assert about["goal"] == "web.p99"
    assert about["subject_to"] == [{"text": "cpu < 40%", "measure": "cpu", "operator": "<", "bound": 40.0}]
    assert findings(tmp_path / "out").best(findings(tmp_path / "out").shown[0]) == 0
