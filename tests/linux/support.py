# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's tests share: small scenarios, runs with a trace, patch files. Mutations are made by tests/mutation.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from softnet.scenario import Scenario, apply_kernel, scenario_from_dict
from softnet.simulate.simulation import Run, Simulation
from softnet.trace import EVENT_ID, EVENTS, Record

HEAD = "# SPDX-License-Identifier: GPL-2.0-or-later\nfrom __future__ import annotations\n\nfrom softnet.lang import kfunc\n\n\n"


def patch_file(tmp_path: Path, name: str, text: str) -> str:
    """A patch file with this text below the usual head."""
    path = tmp_path / f"{name}.py"
    path.write_text(HEAD + text)
    return str(path)


def scenario(on: str, **tables: Any) -> Scenario:
    """A scenario from tables; ``on`` is the kernel as on the command line: 6.1, 6.12-rt, 6.12-threads."""
    return scenario_from_dict(apply_kernel(dict(tables), on), [], directory=Path())


def drain_scenario(kernel: str, *, packets: int = 170, defer_max: int = 64, cpus: int = 2, **more: Any) -> Scenario:
    """A burst for one application: CPU 0 allocates, CPU 1 reads long after the burst is over, one skb per flow.

    While the application drains, CPU 0 receives nothing: only a kick makes it look at its defer list.
    """
    tables: dict[str, Any] = {
        "machine": {"cpus": cpus},
        "kernel": {"sysctl": {"skb_defer_max": defer_max}, **more.pop("kernel_table", {})},
        "nic": [{"name": "eth0", "irq_cpus": [0], "gro": False, "ring": 1024}],
        "traffic": [
            {
                "nic": "eth0", "kind": "constant", "rate_pps": 1_000_000, "flows": packets, "proto": "tcp",
                "sizes": [[1514, 1.0]], "start_ms": 0.1, "stop_ms": 0.1 + packets / 1000,
            }
        ],
        "application": [{"name": "reader", "kind": "tcp", "cpu": 1, "service_ns": 15000}],
        "measure": {"duration_ms": 0.1 + packets / 1000 + packets * 0.025},
    }  # fmt: skip
    tables.update(more)
    return scenario(kernel, **tables)


def loopback_scenario(kernel: str, *, rps: bool = True, **more: Any) -> Scenario:
    """A sender on CPU 0 whose packets are read on CPU 1: everything goes through CPU 0's backlog."""
    tables: dict[str, Any] = {
        "machine": {"cpus": 2},
        "kernel": {"config": {"RPS": rps, "NET_FLOW_LIMIT": rps}, **more.pop("kernel_table", {})},
        "application": [{"name": "sink", "kind": "udp", "cpu": 1, "dst_ports": [9]}],
        "sender": [{"cpu": 0, "to": "sink", "interval_ns": 20_000, "size": 200}],
        "measure": {"duration_ms": 2},
    }
    tables.update(more)
    return scenario(kernel, **tables)


def simulate(what: Scenario, patches: Sequence[str] = (), trace: str = "full") -> tuple[Run, Simulation]:
    """Run it with all checks on."""
    sim = Simulation(what, patches=patches, trace=trace, checks=True, engine="reference")
    return sim.finish(), sim


def named(run: Run, *names: str) -> list[Record]:
    """The records of these events, in order."""
    wanted = {EVENT_ID[name] for name in names}
    return [record for record in run.trace.records if record.event in wanted]


def calls(run: Run) -> list[Record]:
    """The function calls, without the wakeups that go the same way."""
    return [record for record in named(run, "csd_queue_cpu") if record.b == 0]


def event_name(record: Record) -> str:
    """What a record is called."""
    return EVENTS[record.event].name
