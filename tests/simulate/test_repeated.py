# SPDX-License-Identifier: GPL-2.0-or-later
"""A simulation that is run again with another seed gives what a new one gives, word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from tests.long import LONG
from tests.scenario.strategies import scenario_dicts

from softnet.scenario import scenario_from_dict
from softnet.simulate.api import resolve
from softnet.simulate.repeated import Repeated
from softnet.simulate.simulation import Setup, Simulation

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SHORT = ["measure.duration_ms=3", "measure.warmup_ms=1"]
QUICK = ("many-flows", "rps")

pytestmark = pytest.mark.usefixtures("hasty_code")


class Booted(Simulation):
    """Keeps its memory as boot left it."""

    def _begin(self) -> None:
        self.booted = bytes(memoryview(self.image.memory).cast("B"))  # type: ignore[arg-type]
        super()._begin()


class PutBack(Repeated):
    """Keeps its memory as it was put back."""

    def _put_back(self) -> None:
        super()._put_back()
        self.booted = bytes(self._bytes())


def _same_memory(found: bytes, wanted: bytes) -> None:
    # Not "==" of the memories: pytest would lay out their difference, which takes hours.
    differs = np.flatnonzero(np.frombuffer(found, dtype=np.int64) != np.frombuffer(wanted, dtype=np.int64))
    assert not len(differs), f"words {differs[:10].tolist()} differ"


def _same(name: str, settings: list[str]) -> None:
    scenario = resolve(EXAMPLES / f"{name}.toml", "", settings)
    repeated = PutBack(scenario, Setup(seed=5, trace="off"))
    assert repeated.engine_name == "native"
    first = repeated.finish().result
    assert first == Simulation(scenario, seed=5, trace="off").finish().result
    for seed in (6, 5):
        fresh = Booted(scenario, seed=seed, trace="off")
        found = repeated.again(seed).result
        _same_memory(repeated.booted, fresh.booted)
        assert found.to_dict() == fresh.finish().result.to_dict()


@pytest.mark.parametrize("name", QUICK)
def test_again_is_anew(name: str) -> None:
    _same(name, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["changing-settings", "hotplug", "loopback", "rfs", "starved-cpu", "threaded-napi"])
def test_again_is_anew_with_tasks_changes_and_cpus_that_go(name: str) -> None:
    _same(name, [])


@pytest.mark.slow
@settings(max_examples=20 if LONG else 10)
@given(scenario_dicts(duration_ms=1))
def test_a_machine_that_is_put_back_is_one_that_was_booted(raw: dict[str, Any]) -> None:
    scenario = scenario_from_dict(raw, directory=Path())
    repeated = PutBack(scenario, Setup(seed=5, trace="off"))
    repeated.finish()
    repeated.again(6)
    _same_memory(repeated.booted, Booted(scenario, seed=6, trace="off").booted)
