# SPDX-License-Identifier: GPL-2.0-or-later
"""A run says where the model's scheduler is known to be wrong, and nothing where it is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softnet.errors import ScenarioError
from softnet.scenario import Kernel, scenario_from_dict


def notes(hog: dict[str, Any], application: dict[str, Any], duration_ms: int = 100) -> list[str]:
    raw = {
        "machine": {"cpus": 2},
        "nic": [{"name": "eth0"}],
        "traffic": [{"kind": "constant", "rate_pps": 1000, "flows": 1, "proto": "udp", "sizes": [[200, 1]]}],
        "application": [{"name": "web", "kind": "udp", **application}],
        "task": [{"kind": "hog", **hog}],
        "measure": {"duration_ms": duration_ms},
    }
    return [note for note in scenario_from_dict(raw, [], directory=Path()).notes() if note.startswith("task.hog")]


@pytest.mark.parametrize(
    ("hog", "application"),
    [
        ({"cpu": 1}, {"cpu": 1}),
        ({"cpu": 0}, {"cpu": 1}),
        ({"cpu": 1}, {"cpu": 1, "sched": "fifo:50"}),
        ({"cpu": 1, "sched": "fifo:50"}, {"cpu": 1}),
    ],
)
def test_nothing_is_said_where_the_answer_is_right(hog: dict[str, Any], application: dict[str, Any]) -> None:
    assert notes(hog, application) == []


def test_a_real_time_hog_for_longer_than_the_kernel_lets_it() -> None:
    (note,) = notes({"cpu": 1, "sched": "fifo:50"}, {"cpu": 1}, duration_ms=2500)
    assert "neither real-time throttling nor 6.12's fair server" in note


def test_less_than_two_ticks_is_refused_only_by_releases_with_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    raw: dict[str, Any] = {"kernel": {"release": "6.1", "hz": 250, "sysctl": {"netdev_budget_usecs": 2000}}}
    (note,) = [text for text in scenario_from_dict(raw).notes() if "netdev_budget_usecs" in text]
    assert "less than two ticks (8000 us) is refused from v6.14 on" in note
    monkeypatch.setattr(Kernel, "has", lambda self, feature: feature == "budget_usecs_min")
    with pytest.raises(ScenarioError, match=r"less than two ticks, which 6\.1 refuses") as caught:
        scenario_from_dict(raw)
    assert "at least 8000 with hz = 250" in str(caught.value)
    raw["kernel"]["sysctl"]["netdev_budget_usecs"] = 8000
    assert not [text for text in scenario_from_dict(raw).notes() if "netdev_budget_usecs" in text]
