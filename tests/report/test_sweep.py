# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of an experiment: held to a golden text, and never more than the data say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.browser import CHROMEDRIVER, CHROMIUM, browser
from tests.report.golden import held_to_golden

from softnet.report.sweep import render_sweep, sweep_json
from softnet.report.sweep_page import sweep_page, write_sweep_page
from softnet.report.sweep_story import recommendation
from softnet.sweep.analysis import ArmSeen, Findings
from softnet.sweep.goal import Limit
from softnet.sweep.measures import Measure

P99 = Measure("web.p99", "web_p99_ns", "web p99", "ns", "lower")
CPU = Measure("cpu", "cpu_busy_percent", "CPU busy", "%", "lower")
DROPPED = Measure("dropped", "dropped", "packets dropped", "", "lower")
SAMPLES = Measure("web.samples", "web_count", "web samples", "", "")


def sample(seeds: int = 5, noise: float = 200.0, name: str = "edge") -> Findings:
    """Two factors: the budget does nothing, RPS halves the tail and costs CPU."""
    budgets, masks = ("75", "300"), ("[]", '"2"', '"fe"')
    rng = np.random.default_rng(4)
    luck = rng.normal(0, 2000, seeds)
    arms, p99, cpu = [], [], []
    for budget in budgets:
        for i, mask in enumerate(masks):
            arms.append(ArmSeen(len(arms), (budget, mask.strip('"')), (budget, mask), 0))
            p99.append(20000 - 5000 * i + luck + rng.normal(0, noise, seeds))
            cpu.append(30 + 4 * i + rng.normal(0, 0.1, seeds))
    about: dict[str, Any] = {"scenario": name, "duration_ns": 30_000_000, "warmup_ns": 5_000_000, "design": "grid", "until": None}
    factors = [
        {"key": "sysctl.netdev_budget", "column": "sysctl_netdev_budget", "levels": list(budgets), "range": None},
        {"key": "nic.rps_cpus", "column": "nic_rps_cpus", "levels": list(masks), "range": None},
    ]
    values = {
        "web.p99": np.array(p99), "cpu": np.array(cpu), "dropped": np.zeros((6, seeds)), "web.samples": np.full((6, seeds), 5000.0),
    }  # fmt: skip
    return Findings(about, factors, arms, list(range(1, seeds + 1)), [P99, DROPPED, CPU], values, [], 0)


@pytest.mark.slow
def test_the_text_is_the_golden_one() -> None:
    found = sample()
    found.failures.append((found.arms[4], 2, "the kernel stopped: BUG_ON", "softnet run edge.toml --seed=2"))
    held_to_golden("report", "sweep", render_sweep(found, 100))
    for line in render_sweep(found, 72).splitlines():
        assert len(line) <= 72 or "softnet run" in line


def test_a_sure_difference_is_recommended_with_its_interval_and_its_price() -> None:
    text = " ".join(recommendation(sample()))
    assert re.match(r"Take sysctl.netdev_budget=\d+, nic.rps_cpus=fe: of the 6 combinations tried it has the lowest mean", text)
    assert "It stands after the correction" in text
    # The budget does nothing, so the same mask with the other budget is as good.
    assert re.search(r"one other combination from it: sysctl.netdev_budget=\d+, nic.rps_cpus=fe\.", text)
    assert "cpu is worse: 38.0 % instead of 30.0 %." in text
    assert "What was not varied was not looked at." in text


def test_noise_is_not_recommended_as_more() -> None:
    text = " ".join(recommendation(sample(noise=60000)))
    assert "It stands" not in text
    assert text.startswith("Stay with the base (sysctl.netdev_budget=75, nic.rps_cpus=[])")
    assert "Of the others none is worse by more than chance explains." in text


def test_the_base_stays_where_nothing_is_better_and_what_staying_costs_is_said() -> None:
    found = sample()
    p99, cpu = found.values["web.p99"], found.values["cpu"]
    p99[:] = p99[0] + 3000 * np.arange(6)[:, None] + np.arange(5) * np.arange(6)[:, None]
    text = " ".join(recommendation(found))
    assert "none of the other 5 combinations has a lower mean web.p99 than its" in text
    assert "Worse by more than chance explains are 5 of 5: sysctl.netdev_budget=75, nic.rps_cpus=2 (+" in text
    assert "is best with" not in text, "the base has the lowest cpu, too"
    cpu[:] = cpu[::-1].copy()
    text = " ".join(recommendation(found))
    assert re.search(
        r"cpu is best with sysctl.netdev_budget=\d+, nic.rps_cpus=fe: [23]\d.\d % instead of 3\d.\d %, with a mean web", text
    )
    # What does nothing at all; and what is better, but hardly.
    p99[:] = 20000
    assert "is 20 µs in every combination, seed by seed. Nothing that was varied matters to it." in " ".join(recommendation(found))
    p99[1] = 19900 + np.arange(5)
    assert "has a lower one by 1 % or more." in " ".join(recommendation(found))


def test_a_base_that_breaks_a_limit_is_left_and_what_is_hardly_worse_is_named() -> None:
    found = sample()
    found.limits = (Limit("cpu < 36%", "cpu", "<", 36.0),)
    found.values["cpu"][0] += 8
    p99 = found.values["web.p99"]
    p99[1] = p99[0] + 1000 + np.arange(5) / 10
    p99[4] = p99[1] + 10 + np.arange(5) / 10
    p99[3] = p99[1] + 5000 + np.arange(5) / 10
    text = " ".join(recommendation(found))
    assert text.startswith(
        "Take sysctl.netdev_budget=75, nic.rps_cpus=2: of the 6 combinations tried, 3 keep cpu < 36%; of these it"
    )
    assert "The base does not keep cpu < 36%." in text
    assert "Worse by less than 1 %, though surely: sysctl.netdev_budget=300, nic.rps_cpus=2." in text


def test_one_seed_says_nothing_of_chance() -> None:
    found = sample(seeds=1)
    text = " ".join(recommendation(found))
    assert "with one seed nothing says how much of it is chance" in text
    assert "It stands" not in text
    assert "too few" in found.warnings()[0]
    assert not any(change.sure for change in found.changes(P99))
    assert "*" not in render_sweep(found).replace("* stands", "")


def test_short_runs_are_warned_of() -> None:
    found = sample()
    assert found.warnings() == []
    found.values["web.samples"][2, 3] = 600
    (text,) = found.warnings()
    assert text.startswith("the runs are short for web.p99: one has 600 samples, so 6 beyond it, where 10 are the least;")


def test_failed_and_missing_runs_are_no_figures() -> None:
    found = sample()
    found.arms[2] = found.arms[2]._replace(failed=1)
    found.values["web.p99"][2, 1] = np.nan
    found.values["web.p99"][5] = np.nan
    assert found.best(P99) == 4 or found.best(P99) == 1
    document = sweep_json(found)
    assert document["arms"][5]["measures"]["web.p99"]["mean"] is None
    assert "NaN" not in render_sweep(found)
    assert "nan" not in sweep_page(found)


def test_the_page_asks_for_nothing_and_names_are_only_text() -> None:
    found = sample(name="<script>alert(1)</script>\x1b[31m")
    page = sweep_page(found)
    assert page == sweep_page(found)
    assert "<script>" not in page
    assert "\x1b" not in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    for part in ("What the data say", "What each factor does", "Two factors together", "Trade-offs"):
        assert part in page
    assert "\x1b" not in render_sweep(found)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM or not CHROMEDRIVER, reason="needs Debian's chromium and chromium-driver")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    write_sweep_page(tmp_path / "sweep.html", sample())
    with browser(tmp_path / "profile") as window:
        window.open(tmp_path / "sweep.html")
        assert window.errors() == []
        assert window.requests() == [(tmp_path / "sweep.html").as_uri()]
        assert window.js("return document.documentElement.scrollWidth <= innerWidth")
        assert window.js("return document.querySelectorAll('.chart').length") == 5
