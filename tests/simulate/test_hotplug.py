# SPDX-License-Identifier: GPL-2.0-or-later
"""A CPU goes offline under load and comes back: nothing is lost, and the kernel's steps happen in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from softnet.errors import ScenarioError
from softnet.scenario import scenario_from_dict
from softnet.simulate.api import resolve, run
from softnet.trace import EVENT_ID

pytestmark = pytest.mark.usefixtures("hasty_code")

HOTPLUG = Path(__file__).parents[2] / "examples" / "hotplug.toml"
DOWN_NS, UP_NS = 4_000_000, 8_000_000


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["6.1", "6.9-rt", "6.12", "6.12-threads", "6.12-rt"])
def test_packets_survive(kernel: str) -> None:
    """Every packet is delivered, dropped or queued, and the CPU does nothing while it is offline."""
    done = run(HOTPLUG, kernel=kernel, trace="full", checks=True)
    assert done.result.conservation.balance == 0
    assert done.result.conservation.delivered > 1500
    events = {name: [r for r in done.trace.records if r.event == EVENT_ID[name]] for name in ("cpu_offline", "cpu_online")}
    (down,), (up,) = events["cpu_offline"], events["cpu_online"]
    assert (down.a, up.a) == (2, 2)
    assert DOWN_NS < down.time_ns < DOWN_NS + 1_000_000
    assert UP_NS <= up.time_ns < UP_NS + 1_000_000
    while_dead = [r for r in done.trace.records if r.cpu == 2 and down.time_ns < r.time_ns < up.time_ns]
    assert while_dead == []
    steered = [r for r in done.trace.records if r.event == EVENT_ID["get_rps_cpu"] and r.b == 2]
    assert any(r.time_ns < down.time_ns for r in steered)
    assert any(r.time_ns > up.time_ns for r in steered)
    assert not any(down.time_ns < r.time_ns < up.time_ns for r in steered)


def test_pinned_work_moves() -> None:
    """An application bound to the CPU runs elsewhere, as select_fallback_rq() does it, and receives on."""
    done = run(HOTPLUG, settings=["application.server.cpus=[2]", "nic.eth0.rps_cpus=[]"])
    assert done.result.conservation.balance == 0
    assert done.result.conservation.delivered > 1000


@pytest.mark.slow
def test_engines_agree() -> None:
    """The same bytes from both engines, with a CPU that comes and goes."""
    reference = run(HOTPLUG, engine="reference", trace="full")
    native = run(HOTPLUG, engine="native", trace="full")
    assert reference.trace.records == native.trace.records


@pytest.mark.parametrize("target", ["cpu.0.online", "cpu.9.online", "cpu.1.offline"])
def test_impossible_cpus(target: str) -> None:
    """CPU 0 stays, and only CPUs that exist can go."""
    scenario = resolve(HOTPLUG).to_dict()
    scenario["event"][0]["set"] = target
    from softnet.scenario import scenario_from_dict

    with pytest.raises(ScenarioError) as caught:
        scenario_from_dict(scenario)
    assert target in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("back", [False, True])
def test_the_worker_of_a_cpu_that_goes_is_unbound_until_it_is_back(back: bool) -> None:
    """6.1-rt kicks by a work item: workqueue_offline_cpu() lets what is queued run elsewhere, workqueue_online_cpu() ends it."""
    from softnet.simulate.simulation import Simulation

    tables = resolve(HOTPLUG, kernel="6.1-rt").to_dict()
    tables["measure"] |= {"duration_ms": 5, "warmup_ms": 0}
    tables["event"] = [{"at_ms": 1, "set": "cpu.2.online", "value": 0}, {"at_ms": 3, "set": "cpu.2.online", "value": 1}][: 1 + back]
    simulation = Simulation(scenario_from_dict(tables))
    simulation.finish()
    image = simulation.image
    worker = image.ref("worker_pool", 2).worker
    cpus = [cpu for cpu in range(4) if worker.allowed[cpu >> 5] >> (cpu & 31) & 1]
    assert (cpus, worker.nr_allowed) == (([2], 1) if back else ([0, 1, 3], 3))
    assert worker.cpu in cpus
