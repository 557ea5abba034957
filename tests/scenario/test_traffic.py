# SPDX-License-Identifier: GPL-2.0-or-later
"""Arrivals: exact times, fair draws, one order, bounded memory, and the same bytes everywhere."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scenario import captures as make

from softnet.errors import CaptureError, ScenarioError
from softnet.scenario import (
    Application,
    CaptureTraffic,
    ConstantTraffic,
    Measure,
    Nic,
    OnOffTraffic,
    PoissonTraffic,
    Scenario,
    Sender,
    apply_kernel,
    load_scenario,
    scenario_from_dict,
)
from softnet.scenario.columns import (
    CHUNK,
    COLUMNS,
    FLAG_FRAGMENT,
    FLAG_NO_MERGE,
    FLAG_PUSH,
    ArrivalChunk,
    concatenate,
)
from softnet.scenario.flows import PROTO_NUMBER, generated_flows
from softnet.scenario.generate import _log_table, exponential
from softnet.scenario.traffic import arrivals, capture_notes, sender_flows, socket_table

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))


def scenario(*traffic: Any, duration_ms: float = 10, **tables: Any) -> Scenario:
    tables.setdefault("nic", (Nic(),))
    return Scenario(traffic=traffic, measure=Measure(duration_ms=duration_ms), **tables)


def everything(described: Scenario, seed: int | None = None) -> ArrivalChunk:
    return concatenate(list(arrivals(described, seed)))


def digest(described: Scenario, seed: int | None = None) -> str:
    total = hashlib.sha256()
    for chunk in arrivals(described, seed):
        total.update(chunk.matrix().tobytes())
    return total.hexdigest()


def test_constant_traffic_is_exact() -> None:
    got = everything(scenario(ConstantTraffic(rate_pps=3_000_000, start_ms=1, stop_ms=3)))
    assert got.time_ns.tolist() == [1_000_000 + i * 1000 // 3 for i in range(6000)]


def test_constant_traffic_does_not_drift() -> None:
    """After hours, packet i still arrives at floor(i / rate)."""
    from softnet.scenario.generate import _spaced

    number = 3_333_333 * 36_000
    assert int(_spaced(3_333_333, number)[0]) == 36_000 * 10**9
    assert int(_spaced(3_333_333, number + 7)[1]) == (number + 8) * 10**9 // 3_333_333


def test_the_logarithm_table_is_exact() -> None:
    from decimal import Decimal, getcontext

    getcontext().prec = 40
    table = _log_table().tolist()
    for i in (0, 1, 2, 1000, 2048, 4095, 4096):
        exact = (1 + Decimal(i) / 4096).ln() * 2**32
        assert abs(Decimal(table[i]) - exact) <= Decimal("0.5001")


def test_exponential_draws_have_the_right_distribution() -> None:
    draws = exponential(7, 1, np.arange(1_000_000, dtype=np.int64)) / 2**32
    assert draws.min() >= 0
    assert abs(draws.mean() - 1) < 0.004
    assert abs(draws.var() - 1) < 0.012
    for quantile in (0.1, 0.5, 0.9, 0.99, 0.999):
        assert abs(np.mean(draws < -np.log(1 - quantile)) - quantile) < 0.002


@pytest.mark.parametrize("rate_pps", [50, 7_777, 1_000_000, 30_000_000])
def test_poisson_traffic_has_its_rate_and_its_spread(rate_pps: int) -> None:
    expected = 60_000
    got = everything(scenario(PoissonTraffic(rate_pps=rate_pps), duration_ms=expected * 1000 / rate_pps))
    assert abs(len(got) - expected) < 5 * expected**0.5
    gaps = np.diff(got.time_ns)
    mean_ns = 1e9 / rate_pps
    assert abs(gaps.mean() / mean_ns - 1) < 0.03
    assert abs(gaps.std() / mean_ns - 1) < 0.05


def test_onoff_traffic_is_silent_between_bursts() -> None:
    got = everything(scenario(OnOffTraffic(rate_pps=1_000_000, on_us=50, off_us=150, start_ms=1)))
    phase = (got.time_ns - 1_000_000) % 200_000
    assert phase.max() < 50_000
    assert len(got) == 50 * 45
    assert set(np.unique(phase).tolist()) == set(range(0, 50_000, 1000))


def test_exponential_bursts_keep_the_mean_rate() -> None:
    got = everything(scenario(OnOffTraffic(rate_pps=1_000_000, on_us=100, off_us=300, exponential=True), duration_ms=4000))
    assert abs(len(got) / 1_000_000 - 1) < 0.05
    gaps = np.diff(got.time_ns)
    silences = gaps[gaps > 1000] - 1000
    assert abs(silences.mean() / 300_000 - 1) < 0.05
    assert abs(silences.std() / 300_000 - 1) < 0.08


def test_flows_sizes_and_trains_are_as_described() -> None:
    source = PoissonTraffic(
        rate_pps=20_000_000,
        flows=10,
        sizes=((60, 1.0), (600, 2.0), (1514, 1.0)),
        proto="tcp",
        dst_ports=(80, 443),
        train=5,
    )
    got = everything(scenario(source, application=(Application(name="web", dst_ports=(80,)),)))
    shares = np.bincount(got.flow) / len(got)
    assert len(shares) == 10
    assert np.abs(shares - 0.1).max() < 0.01
    for size, share in ((60, 0.25), (600, 0.5), (1514, 0.25)):
        assert abs(np.mean(got.len_bytes == size) - share) < 0.01
    assert (got.payload_bytes == got.len_bytes - 66 * (got.len_bytes > 66) - 60 * (got.len_bytes == 60)).all()
    trains = got.flow[: len(got) // 5 * 5].reshape(-1, 5)
    assert (trains == trains[:, :1]).all()
    assert ((got.flags & FLAG_PUSH) != 0).tolist() == [(i + 1) % 5 == 0 for i in range(len(got))]
    # One packet of each flow begins it; all others continue it.
    first = np.array([int(np.flatnonzero(got.flow == flow)[0]) for flow in range(10)])
    assert np.flatnonzero(got.seq_ok == 0).tolist() == sorted(first.tolist())
    # Even flows go to port 80, where somebody listens.
    assert ((got.sock != 0) == (got.flow % 2 == 0)).all()


def test_udp_is_never_a_continuation() -> None:
    assert not everything(scenario(ConstantTraffic(rate_pps=100_000, flows=3))).seq_ok.any()


GENERATORS = st.one_of(
    st.builds(ConstantTraffic, rate_pps=st.integers(1, 3_000_000), flows=st.integers(1, 40)),
    st.builds(PoissonTraffic, rate_pps=st.integers(1, 3_000_000), flows=st.integers(1, 40), train=st.integers(1, 9)),
    st.builds(
        OnOffTraffic,
        rate_pps=st.integers(1_000_000, 5_000_000),
        on_us=st.integers(1, 900),
        off_us=st.integers(1, 900),
        exponential=st.booleans(),
        flows=st.integers(1, 40),
        proto=st.sampled_from(["tcp", "udp"]),
    ),
)


@pytest.mark.slow
@given(
    sources=st.lists(GENERATORS, min_size=1, max_size=4),
    queues=st.integers(1, 5),
    seed=st.integers(0, 2**63 - 1),
)
def test_merging_keeps_every_packet_in_order(sources: list[Any], queues: int, seed: int) -> None:
    described = scenario(*sources, nic=(Nic(queues=queues),), duration_ms=5, application=(Application(name="a"),))
    chunks = list(arrivals(described, seed))
    assert [len(chunk) for chunk in chunks[:-1]] == [CHUNK] * max(len(chunks) - 1, 0)
    if not chunks:
        return
    got = concatenate(chunks)
    for name in COLUMNS:
        column = getattr(got, name)
        assert column.dtype == np.int64
        assert len(column) == len(got)
    order = list(zip(got.time_ns.tolist(), got.source.tolist(), strict=True))
    assert order == sorted(order), "time order, ties by source"
    assert 0 <= got.time_ns.min() <= got.time_ns.max() < 5_000_000
    assert 0 <= got.nic_queue.min() <= got.nic_queue.max() < queues
    base = 0
    for index, source in enumerate(sources):
        mine = got[np.flatnonzero(got.source == index)]
        # Alone, in the same place among the sources, it gives the same packets.
        silent = [source if other == index else ConstantTraffic(rate_pps=1, start_ms=4.999999) for other in range(len(sources))]
        alone = everything(scenario(*silent, nic=(Nic(queues=queues),), duration_ms=5), seed)
        alone = alone[np.flatnonzero(alone.source == index)]
        assert mine.time_ns.tolist() == alone.time_ns.tolist()
        assert mine.len_bytes.tolist() == alone.len_bytes.tolist()
        if len(mine):
            assert base <= mine.flow.min() <= mine.flow.max() < base + source.flows
        base += source.flows


def test_ties_come_in_the_order_of_the_file() -> None:
    described = scenario(*[ConstantTraffic(rate_pps=1_000_000) for _ in range(3)], duration_ms=30)
    got = everything(described)
    assert got.source.tolist() == [0, 1, 2] * 30_000


def test_seeds_differ_and_repeat() -> None:
    described = scenario(PoissonTraffic(rate_pps=100_000, flows=9), nic=(Nic(rss=False),))
    assert digest(described, 1) == digest(described, 1) != digest(described, 2)
    assert digest(described) == digest(described, 1)


def test_arrivals_do_not_depend_on_the_kernel_or_its_settings() -> None:
    path = ROOT / "examples" / "seed.toml"
    overrides = ["sysctl.skb_defer_max=16", "nic.eth0.rps_cpus=[1,2]", "kernel.hz=1000"]
    same = {digest(load_scenario(path, [f"kernel={kernel}", *more])) for kernel in ("6.1", "6.12-rt") for more in ([], overrides)}
    assert len(same) == 1


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_same_bytes_in_two_processes_and_two_hash_seeds(path: Path) -> None:
    program = (
        "import hashlib, sys\n"
        "from softnet.scenario import load_scenario\n"
        "from softnet.scenario.traffic import arrivals, sender_flows, socket_table\n"
        "described = load_scenario(sys.argv[1])\n"
        "total = hashlib.sha256()\n"
        "for chunk in arrivals(described, 11):\n"
        "    total.update(chunk.matrix().tobytes())\n"
        "print(total.hexdigest(), socket_table(described)[:9], sender_flows(described, 11))\n"
    )
    outputs = set()
    for hash_seed in ("1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert digest(load_scenario(path), 11) in outputs.pop()


def test_a_long_run_streams_in_bounded_memory() -> None:
    described = scenario(
        PoissonTraffic(rate_pps=200_000, flows=1000),
        OnOffTraffic(rate_pps=100_000, on_us=500, off_us=500),
        duration_ms=3_600_000,
    )
    stream = arrivals(described)
    next(stream)
    tracemalloc.start()
    try:
        count = sum(len(next(stream)) for _ in range(150))
        assert tracemalloc.get_traced_memory()[1] < 40 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert count == 150 * CHUNK


@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("vlan", [0, 5, 4094])
@pytest.mark.parametrize(
    ("src", "dst", "clients"),
    [
        ("", "", ["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        ("192.0.2.254", "", ["192.0.2.254", "192.0.2.255", "192.0.3.0"]),
        ("", "198.51.100.7", ["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        ("fd00::ffff:ffff:ffff:ffff", "fd00::7", ["fd00::ffff:ffff:ffff:ffff", "fd00:0:0:1::", "fd00:0:0:1::1"]),
        ("", "fd00::7", ["fd01::1", "fd01::2", "fd01::3"]),
    ],
)
def test_a_generator_states_addresses_and_vlan(
    src: str, dst: str, clients: list[str], vlan: int, proto: Literal["tcp", "udp"], tmp_path: Path
) -> None:
    """Its packets, written into a capture and read back, are the same to card and kernel: the same queues and hashes."""
    traffic = ConstantTraffic(rate_pps=1_000_000, flows=3, src=src, dst=dst, vlan=vlan, proto=proto, dst_ports=(80,))
    described = scenario(traffic, nic=(Nic(queues=8, rss=False),))
    sent = everything(described)
    flows = generated_flows(traffic, 0, 0, described.measure.seed)
    size = 16 if bool(flows.is_ipv6[0]) else 4
    assert [str(ipaddress.ip_address(address[:size].tobytes())) for address in flows.src] == clients
    frames = []
    for flow in range(3):
        sport, ends = int(flows.sport[flow]), (clients[flow], str(ipaddress.ip_address(flows.dst[flow, :size].tobytes())))
        body = make.tcp(sport=sport) if proto == "tcp" else make.udp(sport=sport, dport=80)
        packet = make.ipv4(body, PROTO_NUMBER[proto], *ends) if size == 4 else make.ipv6(body, PROTO_NUMBER[proto], *ends)
        kind = 0x0800 if size == 4 else 0x86DD
        frames.append((10**18 + flow, make.ethernet(packet, kind, tags=(0x8100,) if vlan else (), tci=vlan)))
    path = tmp_path / "sent.pcap"
    path.write_bytes(make.pcap(frames))
    read = everything(scenario(CaptureTraffic(file=str(path)), nic=(Nic(queues=8, rss=False),)))
    assert dict(zip(sent.flow.tolist(), zip(sent.nic_queue.tolist(), sent.flow_hash.tolist(), strict=True), strict=True)) == dict(
        zip(read.flow.tolist(), zip(read.nic_queue.tolist(), read.flow_hash.tolist(), strict=True), strict=True)
    )
    header = 14 + 4 * (vlan > 0) + (20 if size == 4 else 40) + (32 if proto == "tcp" else 8)
    assert set((sent.len_bytes - sent.payload_bytes).tolist()) == {header}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"src": "10.0.0"}, "not an IP address"),
        ({"src": "10.0.0.1", "dst": "fd00::1"}, "an address of another family"),
        ({"src": "255.255.255.254", "flows": 3}, "addresses run out"),
    ],
)
def test_addresses_that_cannot_be(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        scenario(ConstantTraffic(rate_pps=1000, **keys))


# Captures


def write(path: Path, packets: list[tuple[int, bytes]]) -> Path:
    path.write_bytes(make.pcap([(10**18 + time_ns, make.ethernet(ip)) for time_ns, ip in packets]))
    return path


def three_packets(directory: Path) -> Path:
    return write(
        directory / "three.pcap",
        [
            (0, make.ipv4(make.tcp(b"a" * 10, seq=100), 6)),
            (1_000_000, make.ipv4(make.tcp(b"b" * 20, seq=110, flags=0x18), 6)),
            (4_000_000, make.ipv4(make.tcp(b"c" * 20, seq=500), 6)),
        ],
    )


def test_a_capture_keeps_its_gaps_at_any_speed(tmp_path: Path) -> None:
    path = str(three_packets(tmp_path))
    for speed, expected in (
        (1.0, [0, 1_000_000, 4_000_000]),
        (2.0, [0, 500_000, 2_000_000]),
        (0.5, [0, 2_000_000, 8_000_000]),
    ):
        got = everything(scenario(CaptureTraffic(file=path, speed=speed, start_ms=1)))
        assert (got.time_ns - 1_000_000).tolist() == expected
    assert len(everything(scenario(CaptureTraffic(file=path, stop_ms=4)))) == 2


def test_a_capture_repeats_after_an_average_gap(tmp_path: Path) -> None:
    got = everything(scenario(CaptureTraffic(file=str(three_packets(tmp_path)), loop=True), duration_ms=13))
    assert got.time_ns.tolist() == [0, 1_000_000, 4_000_000, 6_000_000, 7_000_000, 10_000_000, 12_000_000]
    assert set(got.flow.tolist()) == {0}


@pytest.mark.parametrize("stop_ns", range(1, 5_000_001, 499_999))
def test_a_capture_longer_than_the_run_does_not_begin_again(tmp_path: Path, stop_ns: int) -> None:
    """Where the run ends within the capture, there is nothing to repeat: its gap is not that of the packets that came."""
    path = str(three_packets(tmp_path))
    once, looped = (
        everything(scenario(CaptureTraffic(file=path, loop=loop), duration_ms=stop_ns / 1e6)).time_ns.tolist()
        for loop in (False, True)
    )
    assert looped == once == [at for at in (0, 1_000_000, 4_000_000) if at < stop_ns]


def test_the_shipped_capture_does_not_begin_again_within_a_quarter_of_its_time() -> None:
    raw = ROOT / "examples" / "seed.toml"
    settings = ["measure.duration_ms=30", "measure.warmup_ms=0"]
    plain, looped = (everything(load_scenario(raw, [*settings, f"traffic.0.loop={loop}"])) for loop in ("false", "true"))
    assert len(plain) == len(looped) == 520
    assert plain.time_ns.tolist() == looped.time_ns.tolist()


@pytest.mark.parametrize("speed", [0.25, 1.0, 3.0])
def test_a_looped_capture_is_the_capture_again_and_again(tmp_path: Path, speed: float) -> None:
    """Whatever is shown of it: the same gaps, sizes and flows, one whole file's time and one average gap apart."""
    there = make.ipv4(make.tcp(b"x" * 9), 6, src="10.0.0.2", dst="10.0.0.1")
    back = make.ipv4(make.tcp(), 6, src="10.0.0.1", dst="10.0.0.2")
    times = [(0, back), (100, there), (200, there), (900, there), (3900, back)]
    path = str(write(tmp_path / "loop.pcap", times))
    source = CaptureTraffic(file=path, loop=True, speed=speed, local_addresses=("10.0.0.1",))
    got = everything(scenario(source, duration_ms=0.05))
    # The file lasts 3900 ns and has 4 gaps of 975 ns on average.
    span, offsets = int(3900 / speed), [0, int(100 / speed), int(800 / speed)]
    period = span + span // 4
    assert got.time_ns.tolist() == [
        at for n in range(50_000 // period + 1) for at in (n * period + o for o in offsets) if at < 50_000
    ]
    assert set(got.flow.tolist()) == {0}


@pytest.mark.parametrize("count", [1, 3])
def test_a_capture_of_one_instant_is_not_repeated_without_a_gap(tmp_path: Path, count: int) -> None:
    path = write(tmp_path / "one.pcap", [(0, make.ipv4(make.udp(), 17))] * count)
    assert len(everything(scenario(CaptureTraffic(file=str(path))))) == count
    with pytest.raises(CaptureError, match="no gap after which it could begin again") as caught:
        everything(scenario(CaptureTraffic(file=str(path), loop=True)))
    assert f"{count} packet" in str(caught.value)


def test_sequence_numbers_and_flags_of_a_capture(tmp_path: Path) -> None:
    def segment(seq: int, size: int, flags: int = 0x10) -> bytes:
        return make.ipv4(make.tcp(b"x" * size, seq=seq, flags=flags), 6)

    packets = [
        segment(2**32 - 11, 0, 0x02),  # SYN takes one number
        segment(2**32 - 10, 10),  # continues over the wrap
        segment(0, 10, 0x18),
        segment(0, 10),  # sent again
        segment(30, 10),  # one was lost before it
        segment(40, 0, 0x11),  # FIN
        make.ipv4(make.udp(b"q"), 17),
        make.ipv4(bytes(20), 17, frag=1),
    ]
    path = write(tmp_path / "sequence.pcap", [(i, packet) for i, packet in enumerate(packets)])
    got = everything(scenario(CaptureTraffic(file=str(path)), application=(Application(name="a"),)))
    assert got.seq_ok.tolist() == [0, 1, 1, 0, 0, 1, 0, 0]
    assert got.payload_bytes.tolist() == [0, 10, 10, 10, 10, 0, 1, 20]
    assert got.flags.tolist() == [FLAG_NO_MERGE, 0, FLAG_PUSH, 0, 0, FLAG_NO_MERGE, 0, FLAG_FRAGMENT]
    assert got.flow.tolist() == [0, 0, 0, 0, 0, 0, 1, 2]
    assert got.proto.tolist() == [6] * 6 + [17] * 2
    assert got.sock.tolist() == [1] * 6 + [0, 0]


def test_only_packets_to_this_host_arrive(tmp_path: Path) -> None:
    there = make.ipv4(make.tcp(), 6, src="10.0.0.2", dst="10.0.0.1")
    back = make.ipv4(make.tcp(), 6, src="10.0.0.1", dst="10.0.0.2")
    path = str(write(tmp_path / "both.pcap", [(0, back), (10, there), (20, back)]))
    assert len(everything(scenario(CaptureTraffic(file=path)))) == 3
    described = scenario(CaptureTraffic(file=path, local_addresses=("10.0.0.1",)))
    assert everything(described).time_ns.tolist() == [0]
    assert any("2 packets are not for this host" in note for note in capture_notes(described))
    with pytest.raises(CaptureError, match="no packet of the capture arrives"):
        everything(scenario(CaptureTraffic(file=path, local_addresses=("10.9.9.9",))))


@pytest.mark.slow
def test_a_capture_longer_than_what_is_kept_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packets = [(i * 100, make.ipv4(make.tcp(b"x" * (i % 7), sport=1 + i % 50, seq=i), 6)) for i in range(20_000)]
    path = str(write(tmp_path / "long.pcap", packets))
    kept = digest(scenario(CaptureTraffic(file=path, loop=True)))
    monkeypatch.setattr("softnet.scenario.replay.PACKETS_KEPT_MAX", 5000)
    os.utime(path, ns=(1, 1))  # another stamp, another plan
    assert digest(scenario(CaptureTraffic(file=path, loop=True))) == kept


def test_a_capture_that_changes_is_read_anew(tmp_path: Path) -> None:
    path = three_packets(tmp_path)
    described = scenario(CaptureTraffic(file=str(path)))
    assert len(everything(described)) == 3
    write(path, [(0, make.ipv4(make.udp(), 17))])
    assert len(everything(described)) == 1
    path.unlink()
    with pytest.raises(CaptureError, match="cannot be read"):
        arrivals(described)


# Sockets


def table_of(described: Scenario) -> list[tuple[int, int, int, str, int]]:
    return [(row.sock, row.application, row.cpu, row.kind, row.port) for row in socket_table(described)]


def test_tcp_has_a_socket_for_each_flow_dealt_to_the_tasks() -> None:
    described = scenario(
        ConstantTraffic(rate_pps=100_000, flows=5, proto="tcp", dst_ports=(80,)),
        application=(Application(name="web", cpus=(1, 2)),),
    )
    assert table_of(described) == [
        (1, 0, 1, "tcp", 80),
        (2, 0, 2, "tcp", 80),
        (3, 0, 1, "tcp", 80),
        (4, 0, 2, "tcp", 80),
        (5, 0, 1, "tcp", 80),
    ]
    got = everything(described)
    assert (got.sock == got.flow + 1).all()


def test_udp_has_a_socket_for_each_port_and_task() -> None:
    described = scenario(
        ConstantTraffic(rate_pps=1_000_000, flows=400, dst_ports=(53, 54, 55)),
        application=(Application(name="dns", kind="udp", cpus=(0, 3), dst_ports=(53, 54)),),
    )
    assert table_of(described) == [
        (1, 0, 0, "udp", 53),
        (2, 0, 3, "udp", 53),
        (3, 0, 0, "udp", 54),
        (4, 0, 3, "udp", 54),
    ]
    got = everything(described)
    assert set(got.sock[got.flow % 3 == 0].tolist()) == {1, 2}
    assert set(got.sock[got.flow % 3 == 1].tolist()) == {3, 4}
    assert set(got.sock[got.flow % 3 == 2].tolist()) == {0}
    for flow in range(400):
        assert len(set(got.sock[got.flow == flow].tolist())) <= 1


def test_a_port_comes_before_an_application_that_takes_every_flow() -> None:
    described = scenario(
        ConstantTraffic(rate_pps=1000, flows=2, proto="tcp", dst_ports=(80, 81)),
        application=(
            Application(name="rest"),
            Application(name="web", dst_ports=(80,)),
            Application(name="udp", kind="udp"),
        ),
    )
    assert [row.application for row in socket_table(described)] == [1, 0]


def test_senders_have_flows_after_the_traffic_and_sockets_of_their_own() -> None:
    described = scenario(
        ConstantTraffic(rate_pps=1000, flows=3, proto="tcp", dst_ports=(80,)),
        application=(Application(name="web", dst_ports=(80,)), Application(name="log", kind="udp", cpu=1)),
        sender=(
            Sender(cpu=0, to="web", rate_pps=10),
            Sender(cpu=0, to="log", rate_pps=10),
            Sender(cpu=1, to="log", rate_pps=10),
        ),
    )
    flows = sender_flows(described, 1)
    assert [(row.sender, row.flow, row.sock, row.proto) for row in flows] == [
        (0, 3, 4, 6),
        (1, 4, 5, 17),
        (2, 5, 5, 17),
    ]
    assert len({row.hash for row in flows}) == 3
    assert sender_flows(described, 1) == flows != sender_flows(described, 2)


def test_queues_are_numbered_over_all_nics() -> None:
    described = scenario(
        ConstantTraffic(nic="a", rate_pps=100_000, flows=50),
        ConstantTraffic(nic="b", rate_pps=100_000, flows=50),
        nic=(Nic(name="a", queues=2), Nic(name="b", queues=3)),
    )
    got = everything(described)
    assert set(got.nic_queue[got.source == 0].tolist()) == {0, 1}
    assert set(got.nic_queue[got.source == 1].tolist()) == {2, 3, 4}


def test_chunks_are_even(tmp_path: Path) -> None:
    def lengths(stream: Iterator[ArrivalChunk]) -> list[int]:
        return [len(chunk) for chunk in stream]

    assert lengths(arrivals(scenario(duration_ms=1))) == []
    for rate_pps in (CHUNK * 100 - 100, CHUNK * 100, CHUNK * 100 + 100):
        got = lengths(arrivals(scenario(ConstantTraffic(rate_pps=rate_pps), duration_ms=10)))
        assert sum(got) == rate_pps // 100
        assert all(length == CHUNK for length in got[:-1])


def test_a_capture_is_read_once_for_all_kernels_and_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And anew when the file has changed."""
    from softnet.scenario import replay

    read: list[str] = []
    real = replay.PacketColumns
    monkeypatch.setattr(replay, "PacketColumns", lambda path: (read.append(str(path)), real(path))[1])
    path = three_packets(tmp_path)
    described = scenario(CaptureTraffic(file=str(path)), application=(Application(name="web"),))
    counts = [len(everything(described, seed)) for seed in (1, 2)]
    for kernel, seed in (("6.1", 3), ("6.12-rt", 4)):
        raw = apply_kernel(described.to_dict(), kernel)
        raw["measure"]["seed"] = seed
        counts.append(len(everything(scenario_from_dict(raw))))
    assert counts == [3] * 4
    assert read == [str(path)]
    write(path, [(10**18, make.ipv4(make.udp(), 17))])
    assert len(everything(described)) == 1
    assert len(read) == 2
