# SPDX-License-Identifier: GPL-2.0-or-later
"""Both engines leave the same trace, the same result and the same words in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulate.engines import assert_equal, outcome
from softnet.lang.compile import Options, available
from softnet.scenario import Scenario, apply_kernel, load_scenario, scenario_from_dict

pytestmark = pytest.mark.skipif(bool(available()), reason="no native engine here")

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.toml"))
QUICK = ("seed.toml",)  # what `make check` has time for
KERNELS = ("6.1", "6.1-rt", "6.9-rt", "6.10-rt", "6.12", "6.12-rt", "6.12-threads")


def shortened(name: str) -> Scenario:
    """An example cut to a few milliseconds around its warm-up, so that the reference engine takes a second at most."""
    scenario = load_scenario(EXAMPLES / name)
    if scenario.event:
        return scenario
    return load_scenario(EXAMPLES / name, ["measure.warmup_ms=2", "measure.duration_ms=8"])


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in NAMES])
def test_examples(name: str) -> None:
    scenario = shortened(name)
    native = outcome(scenario, "native")
    assert native.records
    assert_equal(native, outcome(scenario, "reference"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_whole_examples(name: str) -> None:
    scenario = load_scenario(EXAMPLES / name)
    assert_equal(outcome(scenario, "native"), outcome(scenario, "reference"))


@pytest.mark.slow
def test_run_ahead_changes_nothing() -> None:
    scenario = shortened("rps.toml")
    ahead = outcome(scenario, "native")
    stepwise = outcome(scenario, "native", options=Options(run_ahead=False))
    assert stepwise.records == ahead.records
    assert stepwise.result == ahead.result


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rps.toml", "seed.toml", "loopback.toml"])
def test_the_checked_build_finds_no_overflow_and_no_wild_address(name: str) -> None:
    scenario = shortened(name)
    checked = outcome(scenario, "native", options=Options(checked=True))
    assert checked.stop == ""
    assert_equal(checked, outcome(scenario, "reference"))


@pytest.mark.slow
def test_locks_of_guarded_fields_are_checked_alike() -> None:
    scenario = shortened("seed.toml")
    assert_equal(outcome(scenario, "native", checks=True), outcome(scenario, "reference", checks=True))


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Random machines, kernels, cards, traffic, applications and settings, each a few hundred microseconds long."""
    cpus = draw(st.integers(1, 4))
    cpu = st.integers(0, cpus - 1)
    queues = draw(st.integers(1, 2))
    nic: dict[str, Any] = {
        "name": "eth0", "queues": queues, "ring": draw(st.sampled_from([16, 64, 256])),
        "irq_cpus": draw(st.lists(cpu, min_size=queues, max_size=queues)),
        "rx_usecs": draw(st.sampled_from([0, 0, 20])), "gro": draw(st.booleans()), "threaded": draw(st.booleans()),
        "rps_cpus": draw(st.lists(cpu, unique=True, max_size=cpus)),
        "napi_defer_hard_irqs": draw(st.sampled_from([0, 0, 2])),
    }  # fmt: skip
    if nic["napi_defer_hard_irqs"]:
        nic["gro_flush_timeout"] = 20_000
    proto = draw(st.sampled_from(["tcp", "udp"]))
    traffic: dict[str, Any] = {
        "kind": "poisson", "rate_pps": draw(st.sampled_from([50_000, 400_000, 2_000_000])),
        "flows": draw(st.integers(1, 20)), "proto": proto, "dst_ports": [80], "train": draw(st.integers(1, 6)),
    }  # fmt: skip
    application = {"name": "app", "kind": proto, "cpus": [draw(cpu)], "dst_ports": [80],
                   "service_ns": draw(st.sampled_from([500, 5_000, 40_000]))}  # fmt: skip
    tasks: list[dict[str, Any]] = []
    if draw(st.booleans()):
        tasks.append({"kind": "cyclictest", "cpu": draw(cpu), "sched": "fifo:80", "interval_us": 60})
    if draw(st.booleans()):
        tasks.append({"kind": "hog", "cpu": draw(cpu), "sched": draw(st.sampled_from(["other", "fifo:10"]))})
    sysctl = {"skb_defer_max": draw(st.sampled_from([0, 1, 4, 64])), "netdev_budget": draw(st.sampled_from([8, 300])),
              "netdev_max_backlog": draw(st.sampled_from([4, 1000]))}  # fmt: skip
    raw: dict[str, Any] = {
        "name": "random", "machine": {"cpus": cpus}, "nic": [nic], "traffic": [traffic], "application": [application],
        "task": tasks, "kernel": {"sysctl": sysctl},
        "measure": {"duration_ms": 1, "warmup_ms": 0, "seed": draw(st.integers(0, 1000))},
    }  # fmt: skip
    return scenario_from_dict(apply_kernel(raw, draw(st.sampled_from(KERNELS))))


@pytest.mark.slow
@settings(max_examples=30)
@given(scenarios())
def test_random_scenarios(scenario: Scenario) -> None:
    assert_equal(outcome(scenario, "native"), outcome(scenario, "reference"))


@pytest.mark.slow
@pytest.mark.skipif("SOFTNET_EXPLORE" not in os.environ, reason="a thousand random scenarios: SOFTNET_EXPLORE=1")
@settings(max_examples=1000)
@given(scenarios())
def test_a_thousand_random_scenarios(scenario: Scenario) -> None:
    assert_equal(outcome(scenario, "native"), outcome(scenario, "reference"))
