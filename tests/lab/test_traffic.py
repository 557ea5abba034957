# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario's cards as a guest plays them: packets that a kernel takes, sockets for them, what is said of both."""

from __future__ import annotations

import array
import base64
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from softnet.lab.errors import LabError
from softnet.lab.guest import cards as guest_cards
from softnet.lab.guest.load import _Stream
from softnet.lab.play import traffic
from softnet.lab.play.arm import GuestArm
from softnet.lab.play.scenario import guest_plan, refuse_impossible
from softnet.lab.play.stretch import stretched
from softnet.lab.tracing.facts import Facts
from softnet.lab.vm.kernels import Kernel
from softnet.scenario import Scenario, load_scenario, scenario_from_dict
from softnet.scenario.traffic import arrivals

EXAMPLES = Path(__file__).parents[2] / "examples"
RAW = Path(__file__).parent / "fixtures" / "raw-6.12.json.gz"


def _arm(folder: Path, rt: bool = False) -> GuestArm:
    (folder / "config").write_text("CONFIG_HZ=250\n" + "CONFIG_PREEMPT_RT=y\n" * rt)
    return GuestArm("6.12", image=Kernel("6.12", "6.12.9+deb12-amd64", folder / "vmlinuz", None, {}))


def _facts() -> Facts:
    told = json.loads(gzip.decompress(RAW.read_bytes()))["facts"]
    return Facts(told["release"], told["offsets"], told["symbols"], tuple(told["tracepoints"]))


def _scenario(**tables: Any) -> Scenario:
    document: dict[str, Any] = {
        "name": "cards",
        "nic": [{"name": "eth0", "queues": 2, "irq_cpus": [0, 2], "rps_cpus": [1, 3]}],
        "traffic": [
            {"kind": "constant", "rate_pps": 1000, "flows": 6, "proto": "tcp", "dst_ports": [80], "sizes": [[66, 1], [590, 1]]},
            {"kind": "constant", "rate_pps": 500, "flows": 2, "dst_ports": [53, 99], "sizes": [[100, 1]]},
        ],
        "application": [
            {"name": "web", "cpus": [1, 3], "dst_ports": [80]},
            {"name": "dns", "kind": "udp", "cpu": 1, "dst_ports": [53]},
        ],
        "measure": {"duration_ms": 40},
        **tables,
    }
    return scenario_from_dict(document)


def _packets(queue: dict[str, Any]) -> list[tuple[int, bytes, bool, bytes]]:
    """What the guest's own reader makes of a queue."""
    return guest_cards.Player(dict(queue), 0, 0).packets


def _internet_sum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_every_arrival_is_written_when_and_as_long_as_it_is_due(tmp_path: Path) -> None:
    scenario = _scenario()
    made, _ = traffic.cards(scenario, _arm(tmp_path), [])
    asked: list[list[tuple[int, int]]] = [[], []]
    for chunk in arrivals(scenario):
        for time_ns, queue, size in zip(chunk.time_ns.tolist(), chunk.nic_queue.tolist(), chunk.len_bytes.tolist(), strict=True):
            asked[queue].append((time_ns, size))
    for queue, wanted in zip(made[0]["queues"], asked, strict=True):
        packets = _packets(queue)
        # A virtio_net_hdr of 10 bytes instead of an Ethernet header of 14; a time stamp of 8.
        got = [(at, len(head) - 10 + 14 + 8 * stamped + len(rest)) for at, head, stamped, rest in packets]
        assert got == wanted
        assert queue["count"] == len(wanted) > 0
    assert [queue["cpu"] for queue in made[0]["queues"]] == [0, 2]


def test_headers_are_ones_that_a_kernel_takes(tmp_path: Path) -> None:
    made, sockets = traffic.cards(_scenario(), _arm(tmp_path), [])
    flows: dict[tuple[bytes, int, int], int] = {}
    seen = set()
    for queue in made[0]["queues"]:
        for _, head, stamped, rest in _packets(queue):
            flags, _, _, _, start, offset = struct.unpack_from("<BBHHHH", head)
            network, transport = head[10:30], head[30:]
            payload = 8 * stamped + len(rest)
            assert _internet_sum(network) == 0xFFFF
            assert struct.unpack_from(">H", network, 2)[0] == len(head) - 10 + payload
            assert (flags, start) == (1, 20)
            sport, dport = struct.unpack_from(">HH", transport)
            assert network[16:19] == bytes((192, 168, 0))
            # Port 99 has no listener: its packets go to the discard port of an address that is not the guest's.
            assert network[19] == (2 if dport == 9 else 1)
            seen.add((network[9], dport))
            if network[9] == 17:
                assert offset == 6
                assert struct.unpack_from(">H", transport, 4)[0] == 8 + payload
                continue
            assert offset == 16
            assert transport[12] >> 4 == len(transport) // 4
            key = (network[12:16], sport, dport)
            seq = struct.unpack_from(">I", transport, 4)[0]
            assert seq == flows.get(key, traffic.FIRST_SEQ)
            flows[key] = seq + payload
    assert seen == {(6, 80), (17, 53), (17, 9)}
    tcp = [row for row in sockets if row["kind"] == "tcp"]
    lengths = [base64.b64decode(row["lengths"]) for row in tcp]
    to_come = [sum(struct.unpack(f"<{len(data) // 2}H", data)) for data in lengths]
    assert sorted(to_come) == sorted(last - traffic.FIRST_SEQ for last in flows.values())
    assert {row["worker"] for row in tcp} == {0, 1}
    assert [row["port"] for row in sockets if row["kind"] == "udp"] == [53]


def test_the_interrupt_is_a_thread_only_where_the_kernel_has_one(tmp_path: Path) -> None:
    scenario = _scenario(kernel={"flavour": "rt", "threads": {"irq": "fifo:42"}})
    plain, _ = traffic.cards(scenario, _arm(tmp_path), [])
    threaded, _ = traffic.cards(scenario, _arm(tmp_path, rt=True), [])
    assert plain[0]["queues"][0]["sched"] == "fifo:99"
    assert threaded[0]["queues"][0]["sched"] == "fifo:42"


def test_settings_of_a_card_reach_its_files_and_what_it_is_not_is_said(tmp_path: Path) -> None:
    scenario = _scenario(
        nic=[{"name": "eth0", "rps_cpus": [1], "threaded": True, "rx_usecs": 50, "weight": 32, "gro": False}],
        kernel={"threads": {"napi": {"sched": "fifo:40", "cpus": [1]}, "ksoftirqd/2": "other:-5"}},
        event=[
            {"at_ms": 1, "set": "nic.eth0.rps_cpus", "value": [2]},
            {"at_ms": 2, "set": "nic.eth0.gro", "value": True},
            {"at_ms": 3, "set": "nic.eth0.irq_cpus", "value": [3]},
            {"at_ms": 4, "set": "cpu.2.online", "value": 0},
        ],
    )
    guest = guest_plan(scenario, _arm(tmp_path), _facts())
    settings = dict(guest.plan["settings"])
    assert settings["/sys/class/net/eth0/queues/rx-0/rps_cpus"] == "00000002"
    assert settings["/sys/class/net/eth0/threaded"] == "1"
    assert guest.plan["threads"] == [["napi/*", "fifo:40", (1,)], ["ksoftirqd/2", "other:-5", None]]
    assert guest.plan["work"]["events"] == [
        [1_000_000, "/sys/class/net/eth0/queues/rx-0/rps_cpus", "00000004"],
        [2_000_000, "card:gro/eth0", "1"],
        [3_000_000, "card:affinity/eth0-0", "3"],
        [4_000_000, "/sys/devices/system/cpu/cpu2/online", "0"],
    ]
    for said in ("no interrupt to coalesce", "weight of 64 and not 32", "TUN device", "TCP_REPAIR", "hash"):
        assert any(said in text for text in guest.deviations), said


def test_cards_that_no_guest_can_have_are_errors() -> None:
    with pytest.raises(LabError, match="name that the kernel gives"):
        refuse_impossible(_scenario(nic=[{"name": "a-name-of-16-char"[:16]}]))
    with pytest.raises(LabError, match="no interrupt to coalesce"):
        refuse_impossible(_scenario(event=[{"at_ms": 1, "set": "nic.eth0.rx_usecs", "value": 5}]))
    with pytest.raises(LabError, match="all have one name"):
        refuse_impossible(_scenario(kernel={"threads": {"napi/eth0-1": "fifo:3"}}))


@pytest.mark.slow
def test_more_packets_than_a_guest_takes_are_an_error(tmp_path: Path) -> None:
    flood = [{"kind": "constant", "rate_pps": 10_000_000, "sizes": [[60, 1]]}]
    with pytest.raises(LabError, match="more packets"):
        traffic.cards(_scenario(traffic=flood), _arm(tmp_path), [])


def test_messages_are_cut_out_of_a_stream_wherever_it_was_split() -> None:
    sizes = [20, 5, 8, 30]
    data = b"".join(struct.pack("<q", 100 + at) + b"x" * (size - 8) if size >= 8 else b"x" * size for at, size in enumerate(sizes))
    for cut in range(1, len(data)):
        stream = _Stream(sizes)
        latencies: array.array[int] = array.array("q")
        assert stream.take(data[:cut], 200, latencies) + stream.take(data[cut:], 200, latencies) == 4
        # The message of five bytes has no room for a time stamp.
        assert list(latencies) == [100, 98, 97]


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.toml")))
def test_a_stretched_scenario_has_the_same_packets_later(name: str) -> None:
    scenario = load_scenario(EXAMPLES / f"{name}.toml")
    slow = stretched(scenario, 10)
    assert slow.measure.duration_ns == 10 * scenario.measure.duration_ns
    assert [task.policy for task in slow.task] == [task.policy for task in scenario.task]
    assert stretched(scenario, 1) is scenario
    first, second = (next(arrivals(each), None) for each in (scenario, slow))
    if first is not None and second is not None:
        count = min(len(first), len(second), 50)
        assert second.len_bytes[:count].tolist() == first.len_bytes[:count].tolist()
        assert second.flow[:count].tolist() == first.flow[:count].tolist()
        assert all(
            abs(a - 10 * b) <= 20 for a, b in zip(second.time_ns[:count].tolist(), first.time_ns[:count].tolist(), strict=True)
        )
