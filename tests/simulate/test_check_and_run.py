# SPDX-License-Identifier: GPL-2.0-or-later
"""What check finds sound, run can do: every event that a scenario may have is made, and nothing asks for gigabytes."""

from __future__ import annotations

from typing import Any

import pytest

from softnet.errors import ScenarioError
from softnet.scenario import Scenario, changes, scenario_from_dict
from softnet.scenario.check import RFS_ENTRIES_MAX, SAMPLES_MAX
from softnet.scenario.events import AT_BOOT_ONLY, NIC_EVENT_KEYS
from softnet.scenario.fields import SOCKETS_MAX
from softnet.scenario.kernel_models import Sysctl
from softnet.scenario.traffic import socket_table
from softnet.simulate.simulation import Simulation

VALUES: dict[str, Any] = {
    "rps_cpus": [1],
    "irq_cpus": [1, 0],
    "gro": False,
    "flow_limit_table_len": 256,
    "netdev_budget_usecs": 8000,
}
TARGETS = [
    *(f"sysctl.{name}" for name in Sysctl.model_fields if name not in AT_BOOT_ONLY["sysctl"]),
    *(f"nic.eth0.{name}" for name in NIC_EVENT_KEYS),
    "loopback.rps_cpus",
    "cpu.1.online",
]


def tables(**more: Any) -> dict[str, Any]:
    return {
        "machine": {"cpus": 2},
        "nic": [{"name": "eth0", "queues": 2}],
        "traffic": [{"kind": "constant", "rate_pps": 100_000}],
        "measure": {"duration_ms": 1, "warmup_ms": 0},
        **more,
    }


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_every_event_that_a_scenario_may_have_is_made(target: str) -> None:
    value = VALUES.get(target.rpartition(".")[2], 1)
    scenario = scenario_from_dict(tables(event=[{"at_ms": 0.5, "set": target, "value": value}]))
    assert len(changes(scenario)) == 1
    Simulation(scenario, engine="reference").finish()


@pytest.mark.parametrize("target", [f"{'nic.eth0' if t == 'nic' else t}.{k}" for t, keys in AT_BOOT_ONLY.items() for k in keys])
def test_what_the_model_makes_at_boot_is_no_event(target: str) -> None:
    """check found it sound, and the run stopped at its time."""
    with pytest.raises(ScenarioError) as caught:
        scenario_from_dict(tables(event=[{"at_ms": 0.5, "set": target, "value": 1}]))
    assert "makes it at boot" in str(caught.value)


def rps_sock(entries: int) -> dict[str, Any]:
    return tables(kernel={"sysctl": {"rps_sock_flow_entries": entries}})


def flows(count: int, proto: str = "tcp") -> dict[str, Any]:
    return tables(traffic=[{"kind": "constant", "rate_pps": 1000, "flows": count, "proto": proto}])


TOO_MUCH = {
    "a table of half a billion entries": (rps_sock(1 << 29), "rps_sock_flow_entries"),
    "one of a hundred million": (rps_sock(100_000_000), "rps_sock_flow_entries"),
    "a million sockets": (flows(1 << 20), "more sockets than the model holds"),
    "flow tables of all queues": (tables(nic=[{"queues": 8, "rps_flow_cnt": 1 << 19}]), "more entries of flow tables"),
    "a sample a microsecond, for an hour": (tables(measure={"duration_ms": 3_600_000, "series_interval_us": 1}), "samples"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_would_take_gigabytes_is_refused(name: str) -> None:
    raw, message = TOO_MUCH[name]
    with pytest.raises(ScenarioError) as caught:
        scenario_from_dict(raw)
    assert message in str(caught.value)


def test_what_is_just_within_the_limits_is_sound() -> None:
    for raw in (rps_sock(1 << 20), flows(SOCKETS_MAX), flows(1 << 20, "udp"), tables(nic=[{"rps_flow_cnt": RFS_ENTRIES_MAX}]),
                tables(measure={"duration_ms": SAMPLES_MAX // 1000, "series_interval_us": 1})):  # fmt: skip
        assert isinstance(scenario_from_dict(raw), Scenario)


def test_sockets_are_counted_wherever_flows_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sources, each within the limit; a capture has as many flows as it has."""
    monkeypatch.setattr("softnet.scenario.flows.SOCKETS_MAX", 5)
    source = {"kind": "constant", "rate_pps": 1000, "flows": 3, "proto": "tcp"}
    raw = tables(traffic=[source, source], application=[{"name": "a", "kind": "tcp"}])
    with pytest.raises(ScenarioError, match="more sockets than the model holds"):
        socket_table(scenario_from_dict(raw))
