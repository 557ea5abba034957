# SPDX-License-Identifier: GPL-2.0-or-later
"""What a sweep reads of a run is what a result says; and a simulation that became another's is that other one, word for word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.simulate.test_repeated import Booted, _same_memory

from softnet.scenario import Scenario
from softnet.simulate.api import resolve
from softnet.simulate.figures import Figured
from softnet.simulate.simulation import Setup, Simulation
from softnet.sweep.measures import values_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = pytest.mark.usefixtures("hasty_code")


class Turned(Figured):
    """Keeps its memory as boot left it."""

    def _begin(self) -> None:
        self.booted = bytes(self._bytes())
        super()._begin()


def _scenario(name: str, *settings: str) -> Scenario:
    return resolve(EXAMPLES / f"{name}.toml", "", ["measure.duration_ms=2.5", "measure.warmup_ms=0.7", *settings])


def _held(scenario: Scenario, figured: Figured, seeds: Sequence[int]) -> list[Any]:
    """The values of runs with these seeds are those of the results of simulations of their own."""
    found = []
    for seed in seeds:
        found.append(values_of(figured.figures(seed)))
        wanted = Simulation(scenario, seed=seed, trace="off").finish().result
        assert found[-1] == values_of(wanted)
    return found


@pytest.mark.parametrize("name", ["rps", "starved-cpu"])
def test_the_figures_are_those_of_the_result(name: str) -> None:
    """Of runs with drops, threads, several histograms; sampled at other times than the figures' runs stop at."""
    scenario = _scenario(name, "measure.series_interval_us=130", "nic.ring=16")
    figured = Figured(scenario, Setup(seed=5, trace="off"))
    assert figured.engine_name == "native"
    first, second, again = _held(scenario, figured, (5, 6, 5))
    assert first == again != second


def test_of_the_reference_engine_too() -> None:
    scenario = _scenario("rps", "measure.duration_ms=1", "measure.warmup_ms=0.3")
    native = Figured(scenario, Setup(seed=5, trace="off"))
    reference = Figured(scenario, Setup(seed=5, trace="off", engine="reference"))
    for seed in (5, 6):
        assert values_of(reference.figures(seed)) == values_of(native.figures(seed))


def test_a_simulation_becomes_another() -> None:
    """Of the same shape, of another one (more flows, another ring), and back."""
    first = _scenario("rps")
    figured = Turned(first, Setup(seed=5, trace="off"))
    _held(first, figured, (5,))
    linked = figured.image.linked
    same: list[bool] = []
    for settings in (("sysctl.netdev_budget=7", "nic.rps_cpus=[]"), ("nic.ring=512",), ("sysctl.netdev_budget=7",)):
        scenario = _scenario("rps", *settings)
        setup = Setup(seed=5, trace="off", program=figured.program, costs=figured.costs, code=figured.code)
        assert figured.turn_to(scenario, setup)
        fresh = Booted(scenario, Setup(seed=5, trace="off"))
        _same_memory(figured.booted, fresh.booted)
        _held(scenario, figured, (5, 6))
        same.append(figured.image.linked is linked)
    assert same == [True, False, False]
    # Another program, or no native engine: it stays what it is.
    assert not figured.turn_to(first, Setup(seed=5, trace="off"))
