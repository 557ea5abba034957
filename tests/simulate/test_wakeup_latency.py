# SPDX-License-Identifier: GPL-2.0-or-later
"""From being woken to running, by class: what the histograms hold is what the trace says."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from softnet.simulate.api import resolve
from softnet.simulate.simulation import Simulation
from softnet.trace import EVENT_ID

EXAMPLES = Path(__file__).parents[2] / "examples"
CLASSES = {
    "ksoftirqd": "ksoftirqd",
    "backlog_napi": "backlog_napi",
    "irq": "irq_thread",
    "napi": "napi_thread",
}


def traced(simulation: Simulation, records) -> dict[str, list[int]]:
    """Class -> latencies: from each sched_waking to the sched_switch that brings the task on."""
    classes = {}
    for task in simulation.image.tasks:
        applications = {"web", "resolver", "server", "reader"} | {a.name for a in simulation.scenario.application}
        kind = task.comm.partition("/")[0]
        classes[task.pid] = "applications" if kind in applications else CLASSES.get(kind, "task")
    woken: dict[int, int] = {}
    out: dict[str, list[int]] = defaultdict(list)
    for r in records:
        if r.event == EVENT_ID["sched_waking"]:
            woken[r.a] = r.time_ns
        elif r.event == EVENT_ID["sched_switch"] and r.b in woken:
            out[classes[r.b]].append(r.time_ns - woken.pop(r.b))
    return out


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["6.9-rt", "6.10-rt", "6.12"])
def test_the_histograms_are_those_of_the_trace(kernel: str) -> None:
    settings = ["measure.duration_ms=40", "measure.warmup_ms=0", "sysctl.skb_defer_max=8"]
    simulation = Simulation(resolve(EXAMPLES / "seed.toml", kernel, settings), trace="full")
    done = simulation.finish()
    expected = traced(simulation, done.trace.records)
    found = done.result.wakeup_latency
    assert {name: h.count for name, h in found.items()} == {name: len(v) for name, v in expected.items()}
    for name, values in expected.items():
        assert (found[name].sum_ns, found[name].min_ns, found[name].max_ns) == (
            sum(values),
            min(values),
            max(values),
        )
    assert found["applications"].count > 50
    assert ("backlog_napi" in found) == (kernel == "6.10-rt")
    assert ("irq_thread" in found) == kernel.endswith("rt")


@pytest.mark.slow
def test_the_warm_up_is_left_out() -> None:
    settings = ["measure.duration_ms=3", "measure.warmup_ms=2"]
    simulation = Simulation(resolve(EXAMPLES / "rps.toml", "", settings), trace="full")
    done = simulation.finish()
    late = [r for r in done.trace.records if r.event == EVENT_ID["sched_switch"] and r.time_ns > 2_000_000]
    assert 0 < sum(h.count for h in done.result.wakeup_latency.values()) <= len(late)
