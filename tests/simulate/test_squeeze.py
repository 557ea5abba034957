# SPDX-License-Identifier: GPL-2.0-or-later
"""Why net_rx_action() left with work undone: beside the kernel's time_squeeze, in both engines."""

from __future__ import annotations

import pytest
from tests.linux.support import scenario
from tests.mutation import mutate

from softnet.report.terminal import render_result
from softnet.simulate.simulation import Simulation
from softnet.trace import EVENT_ID

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hasty_code")]
"""They compile a kernel."""


def busy(kernel="6.12", warmup_ms=0, **sysctl):
    """One CPU that receives more than it can take."""
    return scenario(
        kernel,
        machine={"cpus": 2},
        kernel={"sysctl": sysctl, "hz": 1000},
        nic=[{"name": "eth0", "irq_cpus": [0], "gro": False}],
        traffic=[{"kind": "constant", "rate_pps": 1_500_000, "flows": 16, "proto": "udp"}],
        application=[{"name": "sink", "kind": "udp", "cpu": 1}],
        measure={"duration_ms": 8, "warmup_ms": warmup_ms},
    )


def run_both(what, patches=()):
    native, reference = (
        Simulation(what, engine=engine, trace="full", patches=patches).finish() for engine in ("native", "reference")
    )
    assert native.result.counters == reference.result.counters
    assert native.result.squeezes == reference.result.squeezes
    return native


@pytest.mark.parametrize(
    ("kernel", "sysctl", "by_budget", "by_time"),
    [
        ("6.9", {"netdev_budget": 20}, True, False),
        ("6.12", {"netdev_budget": 100_000, "netdev_budget_usecs": 2000}, False, True),
        ("6.12", {"netdev_budget": 2950, "netdev_budget_usecs": 2000}, True, True),
    ],
)
def test_each_cause_is_counted(kernel, sysctl, by_budget, by_time):
    run = run_both(busy(kernel, **sysctl))
    counters = run.result.counters
    assert bool(counters["time_squeeze_budget"]) is by_budget
    assert bool(counters["time_squeeze_time"]) is by_time
    assert counters["time_squeeze_budget"] + counters["time_squeeze_time"] == counters["time_squeeze"]
    assert run.result.squeezes["by_budget"] == [counters["time_squeeze_budget"], 0]
    # The records say the same: a squeeze by the budget has done at least that much.
    work = [r.a for r in run.trace.records if r.event == EVENT_ID["time_squeeze"]]
    assert sum(w >= sysctl["netdev_budget"] for w in work) == counters["time_squeeze_budget"]


def test_the_warm_up_is_not_counted():
    whole = Simulation(busy(netdev_budget=20)).finish().result
    half = Simulation(busy(netdev_budget=20, warmup_ms=4)).finish().result
    assert 0 < half.counters["time_squeeze_budget"] < whole.counters["time_squeeze_budget"]
    assert half.counters["time_squeeze_budget"] == half.counters["time_squeeze"]


def test_the_report_names_both():
    text = render_result(Simulation(busy(netdev_budget=20)).finish().result)
    assert "times netdev_budget was used up, 0 times netdev_budget_usecs had passed" in " ".join(text.split())


def test_a_patch_of_net_rx_action_is_counted_too(tmp_path):
    patch = mutate(tmp_path, "6.12", "net_rx_action", "if budget <= 0 or", "if budget <= -1000 or")
    counters = run_both(busy(netdev_budget=20, netdev_budget_usecs=4000), [patch]).result.counters
    assert counters["time_squeeze_budget"] == counters["time_squeeze"] > 0
