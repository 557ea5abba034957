# SPDX-License-Identifier: GPL-2.0-or-later
"""A run says what the kernel will do otherwise than the scenario asks."""

from __future__ import annotations

from typing import Any

import pytest

from softnet.errors import ScenarioError
from softnet.scenario import Kernel, scenario_from_dict


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
