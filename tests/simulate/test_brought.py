# SPDX-License-Identifier: GPL-2.0-or-later
"""What people bring: small inputs on which an answer was wrong or silent, each with the right one, in both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.scenario import captures as make

from softnet.cli.check import command
from softnet.errors import SoftnetError
from softnet.image import plan
from softnet.image.plan import Plan, skbs_needed
from softnet.report.terminal import render_result
from softnet.scenario import Scenario, scenario_from_dict
from softnet.simulate.result import Result
from softnet.simulate.simulation import Simulation

pytestmark = pytest.mark.usefixtures("hasty_code")

GAP_NS = 20_000


def captured(directory: Path, frames: list[bytes], *, nic: dict[str, Any] | None = None, link: int = 1, **tables: Any) -> Scenario:
    """Four CPUs, RPS over all of them, one queue; the frames 20 us apart."""
    path = directory / "brought.pcap"
    path.write_bytes(make.pcap([(10**18 + number * GAP_NS, frame) for number, frame in enumerate(frames)], link=link))
    raw: dict[str, Any] = {
        "machine": {"cpus": 4},
        "kernel": {"release": "6.12"},
        "nic": [{"name": "eth0", "irq_cpus": [0], "rps_cpus": "f", **(nic or {})}],
        "traffic": [{"kind": "capture", "file": path.name}],
        "application": [{"name": "sink", "kind": "udp", "cpu": 1}],
        "measure": {"duration_ms": 4},
        **tables,
    }
    return scenario_from_dict(raw, directory=directory)


def both(scenario: Scenario) -> Result:
    native, reference = (Simulation(scenario, engine=engine).finish().result for engine in ("native", "reference"))
    assert {**native.to_dict(), "engine": ""} == {**reference.to_dict(), "engine": ""}
    assert not native.conservation.balance
    return native


def cpus_used(result: Result) -> int:
    """CPUs that processed a packet: where RPS steered."""
    return sum(row["processed"] > 0 for row in result.softnet_columns)


def udp_frames(count: int, **ip: Any) -> list[bytes]:
    return [make.ethernet(make.ipv4(make.udp(b"x" * 18, sport=1000 + number % 64, dport=53), 17, **ip)) for number in range(count)]


@pytest.mark.slow
def test_rps_spreads_where_the_card_hashed_addresses_only(tmp_path: Path) -> None:
    frames = udp_frames(128)
    assert cpus_used(both(captured(tmp_path, frames, nic={"rx_flow_hash_udp": "sd"}))) == 4
    # A hash over ports is taken as it is; with rss = false there is none, and the kernel's own is used.
    taken = Simulation(captured(tmp_path, frames)).finish().result
    assert taken.counters["rps_ipis"] + taken.counters["delivered"] > 0
    assert cpus_used(Simulation(captured(tmp_path, frames, nic={"rss": False})).finish().result) == 4


@pytest.mark.slow
def test_rps_spreads_what_is_inside_a_tunnel(tmp_path: Path) -> None:
    def gre(port: int) -> bytes:
        return b"\0\0\x08\0" + make.ipv4(make.udp(b"y" * 20, sport=port), 17, "192.0.2.9", "192.0.2.10")

    frames = [make.ethernet(make.ipv4(gre(1000 + number % 32), 47)) for number in range(64)]
    result = both(captured(tmp_path, frames))
    assert cpus_used(result) == 4
    assert result.conservation.dropped == {"IP_NOPROTO": 64}  # nobody set up a tunnel


@pytest.mark.slow
def test_fragments_are_steered_by_their_addresses(tmp_path: Path) -> None:
    frames = [make.ethernet(make.ipv4(make.udp(b"z" * 40, sport=number), 17, frag=0x2000)) for number in range(64)]
    assert cpus_used(both(captured(tmp_path, frames))) == 1


@pytest.mark.slow
def test_the_kernel_itself_receives_icmp_igmp_and_arp(tmp_path: Path) -> None:
    frames = [make.ethernet(make.ipv4(b"\x08\0\0\0" + bytes(60), 1))] * 5
    frames += [make.ethernet(make.ipv6(b"\x80\0\0\0" + bytes(60), 58), 0x86DD)] * 4
    frames += [make.ethernet(make.ipv4(bytes(8), 2))] * 3 + [make.ethernet(bytes(46), 0x0806)] * 2
    result = both(captured(tmp_path, frames))
    assert (result.conservation.kernel, result.conservation.dropped) == (14, {})
    text = " ".join(render_result(result).split())
    assert "14 were for the kernel itself (ICMP, IGMP, ARP), none was dropped" in text


@pytest.mark.slow
@pytest.mark.parametrize("gro", [True, False])
def test_frames_that_are_not_ip_are_received_steered_and_dropped(gro: bool, tmp_path: Path) -> None:
    pppoe = [
        make.ethernet(
            bytes.fromhex("110000070052") + b"\0\x21" + make.ipv4(make.tcp(b"p" * 40, sport=2000 + number % 16), 6), 0x8864
        )
        for number in range(48)
    ]
    mpls = [make.ethernet(bytes.fromhex("00010140") + make.ipv4(make.udp(b"m", sport=number), 17), 0x8847) for number in range(16)]
    scenario = captured(tmp_path, pppoe + mpls, nic={"gro": gro})
    result = both(scenario)
    assert result.conservation.dropped == {"UNHANDLED_PROTO": 64}
    assert cpus_used(result) == 4
    assert any("16 frames hold no IP packet but MPLS" in note for note in result.notes)
    assert any("48 frames hold no IP packet but PPPoE" in note for note in result.notes)


def long_backlog(**measure: Any) -> Scenario:
    """75,000 packets for a CPU that a task holds; the kernel would drop none of them."""
    return scenario_from_dict(
        {
            "machine": {"cpus": 2},
            "kernel": {"release": "6.12", "flavour": "rt", "sysctl": {"netdev_max_backlog": 100_000}},
            "nic": [{"name": "eth0", "irq_cpus": [0], "ring": 1024, "rps_cpus": [1]}],
            "traffic": [
                {"kind": "constant", "rate_pps": 500_000, "stop_ms": 150, "flows": 16, "dst_ports": [5000], "sizes": [[60, 1]]}
            ],
            "application": [{"name": "sink", "kind": "udp", "dst_ports": [5000], "rcvbuf": 2_000_000_000}],
            "task": [{"kind": "hog", "cpu": 1, "sched": "fifo:90", "duty": 0.9, "period_us": 200_000}],
            "measure": {"duration_ms": 400, **measure},
        }
    )


def test_the_model_holds_as_many_skbs_as_a_scenario_can_use() -> None:
    scenario = long_backlog()
    assert skbs_needed(scenario) > 75_000
    assert Plan.of(scenario).counts["sk_buff"] >= skbs_needed(scenario)


def test_check_says_that_a_run_may_come_to_the_models_bound(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text(
        """
        [kernel.sysctl]
        netdev_max_backlog = 1_000_000
        [[nic]]
        rps_cpus = "2"
        [[traffic]]
        kind = "constant"
        rate_pps = 2_000_000
        [measure]
        duration_ms = 500
        """,
        encoding="utf-8",
    )
    said = CliRunner().invoke(command, [str(path)], catch_exceptions=False).output
    assert "skbs may be in use at once, and the model holds 524,288: a run that needs more stops" in said
    path.write_text(path.read_text(encoding="utf-8").replace("2_000_000", "500_000"), encoding="utf-8")
    assert "skbs may be in use" not in CliRunner().invoke(command, [str(path)], catch_exceptions=False).output


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_run_that_needs_more_skbs_than_the_model_holds_stops(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SKB_POOL", 2000)
    monkeypatch.setattr(plan, "SKB_POOL_MAX", 2500)
    with pytest.raises(SoftnetError, match="more skbs in use at once than the model holds; the kernel has no such bound") as caught:
        Simulation(long_backlog(duration_ms=20), engine=engine).finish()
    assert "all of 2,500 skbs in use" in str(caught.value)


@pytest.mark.slow
def test_a_defer_list_that_nobody_empties_is_told() -> None:
    raw: dict[str, Any] = {
        "machine": {"cpus": 2},
        "kernel": {"release": "6.9"},
        "nic": [{"name": "wan", "irq_cpus": [0]}],
        "traffic": [
            {
                "kind": "constant",
                "rate_pps": 20_000,
                "flows": 8,
                "proto": "tcp",
                "dst_ports": [443],
                "stop_ms": 5,
                "sizes": [[600, 1]],
            }
        ],
        "application": [{"name": "proxy", "cpu": 1, "dst_ports": [443], "service_ns": 20_000}],
        "measure": {"duration_ms": 40},
    }
    result = both(scenario_from_dict(raw))
    (left,) = result.deferred_left
    assert (left["cpu"], left["skbs"]) == (0, result.series["defer_count/0"][-1])
    assert left["since_ns"] <= 5_000_000
    text = " ".join(render_result(result).split())
    assert "lain on CPU 0's list of deferred frees for the last 3" in text
    # While packets still come, a list that is not empty is nothing to speak of.
    raw["traffic"][0]["stop_ms"] = 40
    assert "lain on" not in render_result(Simulation(scenario_from_dict(raw)).finish().result)


@pytest.mark.slow
def test_how_long_a_preempted_ksoftirqd_waits_is_told() -> None:
    """Two tasks that never sleep beside ksoftirqd: it is preempted, and waits for their time slices."""
    raw = {
        "machine": {"cpus": 2},
        "kernel": {"release": "6.1"},
        "nic": [{"name": "eth0", "irq_cpus": [0], "ring": 4096}],
        "traffic": [
            {"kind": "constant", "rate_pps": 1_200_000, "flows": 8, "proto": "udp", "dst_ports": [7000], "sizes": [[200, 1]]}
        ],
        "application": [{"name": "rpc", "kind": "udp", "cpu": 1, "dst_ports": [7000]}],
        "task": [{"kind": "hog", "name": "a", "cpu": 0}, {"kind": "hog", "name": "b", "cpu": 0}],
        "measure": {"duration_ms": 60},
    }
    result = both(scenario_from_dict(raw))
    waits = result.preempted_latency["ksoftirqd"]
    assert waits.max_ns > 1_000_000
    assert "From giving way to running again, by class" in render_result(result)
