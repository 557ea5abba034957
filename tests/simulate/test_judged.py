# SPDX-License-Identifier: GPL-2.0-or-later
"""Random scenarios on which the run-time checks spoke without a patch, and what each was: docs/invariants.md has the reasons.

All of them were mistakes of the checks. A scenario is kept as it was found; what the chance of a later softnet makes of it is
another run, so the kinds have tests of their own below, which no draw moves.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.linux.support import patch_file

from softnet.lang.native.compile import available
from softnet.machine.state import SOFTIRQ_OFFSET
from softnet.scenario import Scenario, apply_kernel, load_scenario, scenario_from_dict
from softnet.simulate.simulation import Simulation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(available()), reason="no native engine here"),
    pytest.mark.usefixtures("hasty_code"),
]

JUDGED = Path(__file__).parent / "judged"
FILES = sorted(path.name for path in JUDGED.iterdir() if path.name != "idle-fuel.toml")


def said(scenario: Scenario, engine: str = "native") -> list[str]:
    """What the checks of a run say, known findings apart."""
    warnings = Simulation(scenario, engine=engine, checks=True).finish().result.warnings
    return [line for line in warnings if line.startswith("invariant")]


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_what_was_judged_a_mistake_of_a_check_is_said_no_more(name: str) -> None:
    path = JUDGED / name
    if path.suffix == ".toml":
        scenario = load_scenario(path)
    else:
        scenario = scenario_from_dict(json.loads(path.read_text(encoding="utf-8")))
    assert said(scenario) == []


def work_item(**how: Any) -> Scenario:
    """6.1-rt: CPU 1 frees skbs of CPU 0, whose worker a hog of higher priority keeps waiting."""
    tables: dict[str, Any] = {
        "machine": {"cpus": 2},
        "kernel": {"sysctl": {"skb_defer_max": how.get("skb_defer_max", 1)}},
        "nic": [{"name": "eth0", "irq_cpus": [0]}],
        "traffic": [{"kind": "constant", "rate_pps": 100_000, "proto": "tcp", "dst_ports": [80]}],
        "application": [{"name": "a", "kind": "tcp", "cpu": 1, "dst_ports": [80]}],
        "task": [{"kind": "hog", "name": "h", "cpu": 0, "sched": "fifo:20", "duty": 0.5, "period_us": 1000}],
        "measure": {"duration_ms": 6, "warmup_ms": 0},
    }
    return scenario_from_dict(apply_kernel(tables, "6.1-rt"))


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_queued_work_item_is_a_kick_under_way(engine: str) -> None:
    """I8 looked for a function call, which 6.1-rt does not use: its kick is a work item, and its worker may wait."""
    assert said(work_item(), engine) == []


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_work_item_that_waits_for_bottom_halves_will_flush(seed: int) -> None:
    """I6: the item clears the flag first and then waits for whoever has bottom halves off, here a NAPI's thread."""
    tables: dict[str, Any] = {
        "machine": {"cpus": 2},
        "nic": [{"threaded": True}],
        "traffic": [{"kind": "onoff", "rate_pps": 1_500_000, "proto": "tcp", "on_us": 2000, "off_us": 500}],
        "application": [{"name": "a0", "kind": "tcp"}],
        "measure": {"duration_ms": 10, "warmup_ms": 0, "seed": seed},
    }
    assert said(scenario_from_dict(apply_kernel(tables, "6.1-rt"))) == []


NOTHING_QUEUED = '''@kfunc
def queue_work_on(cpu: int, item: work_struct) -> bool:
    """Forget the item."""
    return True
'''


def test_a_work_item_that_is_never_run_is_still_found(tmp_path: Path) -> None:
    """The checks must not fall silent: a kick that sets the flag and queues nothing."""
    patch = patch_file(tmp_path, "nothing", NOTHING_QUEUED)
    warnings = Simulation(work_item(), engine="native", checks=True, patches=[patch]).finish().result.warnings
    assert any(line.startswith("invariant I8") for line in warnings), warnings


def test_a_cpu_in_a_softirq_of_the_idle_task_does_not_idle() -> None:
    """I1: what such a softirq has in hand was taken for lost, as its CPU runs the idle task and no interrupt.

    It runs there behind the function calls that a polling idle CPU takes without an IPI.
    """
    tables = {"machine": {"cpus": 1}, "measure": {"duration_ms": 1, "warmup_ms": 0}}
    simulation = Simulation(scenario_from_dict(apply_kernel(tables, "6.1")), engine="native", checks=True)
    simulation.finish()
    assert simulation.invariants is not None
    assert simulation.invariants._idle()
    image = simulation.image
    table = image.layout.tables["cpu_hw"]
    image.memory[table.base + image.layout.structs["cpu_hw"].fields["preempt_count"].offset] = SOFTIRQ_OFFSET
    assert not simulation.invariants._idle()
