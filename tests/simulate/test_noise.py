# SPDX-License-Identifier: GPL-2.0-or-later
"""Noise: both engines agree, it does what it says, and the arrivals are the same with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.linux.support import scenario
from tests.simulate.engines import assert_equal, outcome

from softnet.errors import ScenarioError
from softnet.report.story import result_story
from softnet.scenario import Scenario
from softnet.scenario.noise import PROFILES
from softnet.simulate.result import Result
from softnet.simulate.simulation import Simulation

ROOT = Path(__file__).parents[2]
EVERY = [
    {"kind": "interrupt", "interval_us": 150, "duration_us": [1, 20]},
    {"kind": "steal", "interval_us": 400, "duration_us": [5, 100], "cpus": [1]},
    {"kind": "smi", "interval_us": 1000, "duration_us": [50, 150]},
]


def noisy(noise: Any, kernel: str = "6.12", ms: float = 10, **machine: Any) -> Scenario:
    return scenario(
        kernel,
        machine={"cpus": 2, **machine, **({"noise": noise} if noise else {})},
        nic=[{"name": "eth0", "irq_cpus": [0], "rps_cpus": [1]}],
        traffic=[{"kind": "constant", "rate_pps": 20_000, "proto": "udp", "sizes": [[128, 1]]}],
        application=[{"name": "app", "kind": "udp", "cpu": 1}],
        measure={"duration_ms": ms},
    )


def run(what: Scenario) -> Result:
    return Simulation(what, engine="reference").finish().result


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_code")
@pytest.mark.parametrize("kernel", ["6.12", "6.12-rt"])
def test_both_engines_are_disturbed_alike(kernel: str) -> None:
    for what in (noisy(EVERY, kernel, ms=4), noisy(EVERY, kernel, ms=4, idle="icelake-server")):
        assert_equal(outcome(what, "native"), outcome(what, "reference"))


def test_a_stop_is_as_long_as_it_says_and_no_packet_is_lost() -> None:
    """A tenth of the time at the most; what is slow was stopped."""
    quiet, smi = run(noisy(None)), run(noisy([{"kind": "smi", "interval_us": 2000, "duration_us": [100, 100]}]))
    worst = {name: r.latency["app"].summary() for name, r in (("quiet", quiet), ("smi", smi))}
    assert worst["quiet"]["max_ns"] < 20_000
    assert 100_000 <= worst["smi"]["max_ns"] < 200_000
    assert smi.conservation.balance == quiet.conservation.balance == 0
    assert smi.conservation.arrived == quiet.conservation.arrived
    assert smi.counters["delivered"] == quiet.counters["delivered"]


def test_an_interrupt_of_another_device_is_an_interrupt() -> None:
    noise = [{"kind": "interrupt", "interval_us": 100, "duration_us": [2, 2], "cpus": [0]}]
    tick = [{"kind": "cyclictest", "cpu": 1}]
    result = run(scenario("6.12", machine={"cpus": 2, "noise": noise}, task=tick, measure={"duration_ms": 10}))
    count = result.events["irq_handler_entry"][0]
    assert 80 <= count <= 120
    assert result.cpu_time_ns[0]["hardirq"] >= count * 2000


def test_seeds_disturb_differently() -> None:
    steal = [{"kind": "steal", "interval_us": 500, "duration_us": [5, 100]}]
    what = noisy(steal)
    other = what.model_copy(update={"measure": what.measure.model_copy(update={"seed": 2})})
    assert run(what).latency["app"].buckets != run(other).latency["app"].buckets


@pytest.mark.parametrize("name", list(PROFILES))
def test_a_profile_is_a_scenario_s_and_says_where_it_is_from(name: str) -> None:
    assert noisy(name).machine.noise
    assert PROFILES[name].source
    assert f"`{name}`" in (ROOT / "docs" / "scenario.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        ("loud", '"bare-metal"'),
        ([{"kind": "smi", "interval_us": 100, "duration_us": [60, 60]}], "no range that fits into the interval"),
        ([{"kind": "smi", "interval_us": 100, "duration_us": [6, 5]}], "no range that fits into the interval"),
        ([{"kind": "steal", "interval_us": 100, "duration_us": [6, 7], "cpus": [7]}], "CPU"),
    ],
)
def test_what_does_not_fit_is_told(noise: Any, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        noisy(noise)
    assert words in str(caught.value)


def test_the_report_says_whose_maximum_it_is() -> None:
    said = "A maximum is that of an undisturbed machine: no noise was asked for (machine.noise)."
    quiet, loud = run(noisy(None, ms=2)), run(noisy("smi", ms=2))
    assert said in [sentence.text for sentence in result_story(quiet)]
    assert said not in [sentence.text for sentence in result_story(loud)]
