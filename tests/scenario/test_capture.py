# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures are read to the nanosecond and the byte, whatever format, byte order or link type they have."""

from __future__ import annotations

import hashlib
import ipaddress
import struct
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scenario import captures as make

from softnet.scenario.capture import read_frames
from softnet.scenario.columns import NOT_IP, TCP, UDP
from softnet.scenario.packet import Packet, read_capture

ROOT = Path(__file__).parent.parent.parent
WEB = ROOT / "examples" / "captures" / "web.pcap"
TIME_NS = 1_700_000_000_123_456_789

SEGMENT = make.tcp(b"x" * 100, sport=1234, dport=80, seq=7, flags=0x18)
DATAGRAM = make.udp(b"y" * 30, sport=5353, dport=53)


def read(content: bytes, directory: Path) -> list[Packet]:
    path = directory / "some.pcap"
    path.write_bytes(content)
    return list(read_capture(path))


def read_one(content: bytes, directory: Path) -> Packet:
    (packet,) = read(content, directory)
    return packet


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [True, False])
def test_pcap_in_both_byte_orders_and_precisions(order: str, nano: bool, tmp_path: Path) -> None:
    frame = make.ethernet(make.ipv4(SEGMENT, TCP))
    packet = read_one(make.pcap([(TIME_NS, frame)], order=order, nano=nano), tmp_path)
    assert packet.time_ns == (TIME_NS if nano else TIME_NS // 1000 * 1000)
    assert (packet.len_bytes, packet.payload_bytes) == (len(frame), 100)
    assert (packet.proto, packet.sport, packet.dport, packet.seq, packet.tcp_flags) == (6, 1234, 80, 7, 0x18)
    assert packet.src == ipaddress.ip_address("10.0.0.2").packed
    assert packet.dst == ipaddress.ip_address("10.0.0.1").packed
    assert not packet.fragment


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("tsresol", "units_per_second"),
    [(None, 10**6), (6, 10**6), (9, 10**9), (3, 10**3), (0x80 | 20, 2**20), (0x80 | 30, 2**30), (0, 1)],
)
def test_pcapng_time_stamps_are_exact(order: str, tsresol: int | None, units_per_second: int, tmp_path: Path) -> None:
    stamp = 1_700_000_000 * units_per_second + units_per_second // 3
    content = make.section(order=order) + make.interface(tsresol=tsresol, tsoffset=3600, order=order)
    content += make.enhanced(make.ethernet(make.ipv4(SEGMENT, TCP)), stamp, order=order)
    expected_ns = stamp * 10**9 // units_per_second + 3600 * 10**9
    assert read_one(content, tmp_path).time_ns == expected_ns


def test_pcapng_interfaces_sections_and_unknown_blocks(tmp_path: Path) -> None:
    ip = make.ipv4(SEGMENT, TCP)
    content = make.section() + make.block(0x0BAD, b"what is this")
    content += make.interface(tsresol=9) + make.interface(link=101, tsresol=6)
    content += make.enhanced(make.ethernet(ip), 1000) + make.block(5, bytes(16)) + make.enhanced(ip, 2, index=1)
    content += make.section(order=">") + make.interface(link=12, order=">") + make.enhanced(ip, 3, order=">")
    # The obsolete packet block: a 16-bit interface number and a count of drops.
    content += make.block(2, struct.pack(">HHIIII", 0, 0, 0, 4, len(ip), len(ip)) + ip, order=">")
    packets = read(content, tmp_path)
    assert [packet.time_ns for packet in packets] == [1000, 2000, 3000, 4000]
    assert len({(packet.sport, packet.len_bytes, packet.payload_bytes) for packet in packets}) == 1


def test_simple_packets_have_no_time_and_are_counted(tmp_path: Path) -> None:
    frame = make.ethernet(make.ipv4(SEGMENT, TCP))
    path = tmp_path / "simple.pcapng"
    content = make.section() + make.interface(tsresol=9, snaplen=80)
    content += make.enhanced(frame[:80], 500, original_len=len(frame)) + make.simple(frame[:80], original_len=len(frame))
    path.write_bytes(content)
    reader = read_capture(path)
    assert [(packet.time_ns, packet.len_bytes) for packet in reader] == [(500, len(frame)), (500, len(frame))]
    assert reader.summary.without_time == 1


LINKS = {
    "Ethernet": (1, lambda ip, kind: make.ethernet(ip, kind)),
    "one VLAN tag": (1, lambda ip, kind: make.ethernet(ip, kind, tags=(0x8100,))),
    "QinQ": (1, lambda ip, kind: make.ethernet(ip, kind, tags=(0x88A8, 0x8100))),
    "Linux cooked": (113, lambda ip, kind: struct.pack("!HHH8sH", 0, 1, 6, bytes(8), kind) + ip),
    "Linux cooked, VLAN": (
        113,
        lambda ip, kind: struct.pack("!HHH8sHHH", 0, 1, 6, bytes(8), 0x8100, 5, kind) + ip,
    ),
    "Linux cooked v2": (276, lambda ip, kind: struct.pack("!HHIHBB8s", kind, 0, 2, 1, 0, 6, bytes(8)) + ip),
    "raw": (101, lambda ip, kind: ip),
    "raw, BSD number": (12, lambda ip, kind: ip),
    "null, little-endian": (0, lambda ip, kind: struct.pack("<I", 2 if kind == 0x0800 else 30) + ip),
    "null, big-endian": (0, lambda ip, kind: struct.pack(">I", 2 if kind == 0x0800 else 24) + ip),
    "loop": (108, lambda ip, kind: struct.pack(">I", 2 if kind == 0x0800 else 28) + ip),
}


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("version", [4, 6])
def test_every_link_type_leads_to_the_same_packet(name: str, version: int, tmp_path: Path) -> None:
    link, wrap = LINKS[name]
    ip = make.ipv4(DATAGRAM, UDP) if version == 4 else make.ipv6(DATAGRAM, UDP)
    packet = read_one(make.pcap([(TIME_NS, wrap(ip, 0x0800 if version == 4 else 0x86DD))], link=link), tmp_path)
    tags = {"one VLAN tag": 4, "QinQ": 8, "Linux cooked, VLAN": 4}.get(name, 0)
    expected = 14 + len(ip) + (tags if link in (1, 113) else 0)
    assert (packet.proto, packet.sport, packet.dport, packet.payload_bytes) == (17, 5353, 53, 30)
    assert packet.len_bytes == expected
    assert len(packet.src) == (4 if version == 4 else 16)


@pytest.mark.parametrize("link", [228, 229])
def test_raw_of_one_family(link: int, tmp_path: Path) -> None:
    ip = make.ipv4(DATAGRAM, UDP) if link == 228 else make.ipv6(DATAGRAM, UDP)
    assert read_one(make.pcap([(TIME_NS, ip)], link=link), tmp_path).dport == 53


def test_ipv4_options_and_fragments(tmp_path: Path) -> None:
    frames = [
        make.ipv4(SEGMENT, TCP, options=bytes(8)),
        make.ipv4(SEGMENT, TCP, frag=0x4000),  # DF alone is no fragment
        make.ipv4(DATAGRAM, UDP, frag=0x2000),  # the first of several
        make.ipv4(bytes(40), UDP, frag=0x0005),  # the last
    ]
    packets = read(make.pcap([(TIME_NS, frame) for frame in frames], link=101), tmp_path)
    assert [packet.fragment for packet in packets] == [False, False, True, True]
    # As the kernel's flow dissector, which takes no ports from a fragment, not even from the first.
    assert [(packet.sport, packet.dport) for packet in packets] == [(1234, 80), (1234, 80), (0, 0), (0, 0)]
    assert packets[0].payload_bytes == 100


def test_ipv6_extension_headers_and_fragments(tmp_path: Path) -> None:
    hop_by_hop = bytes([60, 0]) + bytes(6)
    destination = bytes([51, 1]) + bytes(14)
    authentication = bytes([6, 4]) + bytes(22)
    fragment_first = bytes([17, 0]) + struct.pack("!HI", 1, 99)  # offset 0, more follow
    fragment_atomic = bytes([17, 0]) + struct.pack("!HI", 0, 99)  # offset 0, nothing follows: no fragment
    frames = [
        make.ipv6(SEGMENT, 0, extensions=hop_by_hop + destination + authentication),
        make.ipv6(DATAGRAM, 44, extensions=fragment_first),
        make.ipv6(DATAGRAM, 44, extensions=fragment_atomic),
    ]
    packets = read(make.pcap([(TIME_NS, frame) for frame in frames], link=101), tmp_path)
    assert [packet.proto for packet in packets] == [6, 17, 17]
    assert [packet.fragment for packet in packets] == [False, True, False]
    assert [packet.dport for packet in packets] == [80, 0, 53]
    assert packets[0].payload_bytes == 100


def test_the_ipv6_flow_label_is_read(tmp_path: Path) -> None:
    frames = [make.ipv6(DATAGRAM, UDP, label=0xABCDE), make.ipv6(DATAGRAM, UDP), make.ipv4(DATAGRAM, UDP)]
    packets = read(make.pcap([(TIME_NS, frame) for frame in frames], link=101), tmp_path)
    assert [packet.flow_label for packet in packets] == [0xABCDE, 0, 0]


def test_an_endless_chain_of_extension_headers_ends(tmp_path: Path) -> None:
    chain = (bytes([0, 0]) + bytes(6)) * 200
    good = make.ipv6(DATAGRAM, UDP)
    path = tmp_path / "chain.pcap"
    path.write_bytes(make.pcap([(TIME_NS, make.ipv6(b"", 0, extensions=chain)), (TIME_NS, good)], link=101))
    reader = read_capture(path)
    assert len(list(reader)) == 1
    assert reader.summary.skipped == {"malformed IPv6 header": 1}


def test_ethernet_padding_is_no_payload_and_offloaded_lengths_count(tmp_path: Path) -> None:
    bare = make.ipv4(make.tcp(), TCP)
    padded = make.ethernet(bare).ljust(60, b"\0")
    merged = bytearray(make.ethernet(make.ipv4(SEGMENT, TCP)))
    merged[16:18] = b"\0\0"  # BIG TCP and some offloads leave the total length 0
    packets = read(make.pcap([(TIME_NS, padded), (TIME_NS, bytes(merged))]), tmp_path)
    assert [(packet.len_bytes, packet.payload_bytes) for packet in packets] == [(60, 0), (len(merged), 100)]


def test_other_frames_are_counted_by_reason(tmp_path: Path) -> None:
    frames = [
        make.ethernet(bytes(28), 0x0806),
        make.ethernet(bytes(28), 0x88CC),
        make.ethernet(bytes(40), 0x1234),
        make.ethernet(make.ipv4(SEGMENT, TCP))[:40],
        make.ethernet(make.ipv4(make.udp(), UDP)),
    ]
    path = tmp_path / "mixed.pcap"
    path.write_bytes(make.pcap([(TIME_NS, frame) for frame in frames]))
    reader = read_capture(path)
    packets = list(reader)
    assert [packet.proto for packet in packets] == [NOT_IP | 0x0806, NOT_IP | 0x88CC, NOT_IP | 0x1234, UDP]
    assert reader.summary.skipped == {"truncated transport header": 1}
    lines = reader.summary.lines()
    assert lines[0] == "1 IP packets in 5 frames"
    assert "1 frame holds no IP packet but ARP: the kernel takes it itself" in lines
    dropped = "steers it, and drops it: nobody listens (UNHANDLED_PROTO)"
    assert f"1 frame holds no IP packet but LLDP: the kernel {dropped}" in lines
    assert f"1 frame holds no IP packet but Ethernet type 0x1234: the kernel {dropped}" in lines
    assert "1 frames left out: truncated transport header" in lines


def test_a_clock_that_steps_back_a_little_is_held_and_told(tmp_path: Path) -> None:
    frame = make.ethernet(make.ipv4(SEGMENT, TCP))
    path = tmp_path / "back.pcap"
    path.write_bytes(make.pcap([(TIME_NS, frame), (TIME_NS - 250, frame), (TIME_NS + 10, frame)]))
    reader = read_capture(path)
    assert [packet.time_ns - TIME_NS for packet in reader] == [0, 0, 10]
    assert (reader.summary.backwards, reader.summary.backwards_max_ns) == (1, 250)


def test_linux_cooked_marks_what_this_host_sent(tmp_path: Path) -> None:
    ip = make.ipv4(SEGMENT, TCP)
    frames = [struct.pack("!HHH8sH", kind, 1, 6, bytes(8), 0x0800) + ip for kind in (0, 4)]
    packets = read(make.pcap([(TIME_NS, frame) for frame in frames], link=113), tmp_path)
    assert [packet.outgoing for packet in packets] == [False, True]


@given(
    frames=st.lists(
        st.tuples(st.integers(0, 10**9), st.integers(0, 65535), st.integers(0, 2**32 - 1), st.binary(max_size=40)),
        min_size=1,
        max_size=20,
    ),
    order=st.sampled_from(["<", ">"]),
    pcapng=st.booleans(),
)
def test_what_is_written_is_read(
    frames: list[tuple[int, int, int, bytes]],
    order: str,
    pcapng: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frames = sorted(frames)
    raw = [
        (time_ns, make.ethernet(make.ipv4(make.tcp(payload, sport=port, seq=seq), TCP))) for time_ns, port, seq, payload in frames
    ]
    if pcapng:
        content = make.section(order=order) + make.interface(tsresol=9, order=order)
        content += b"".join(make.enhanced(data, time_ns, order=order) for time_ns, data in raw)
    else:
        content = make.pcap(raw, order=order)
    path = tmp_path_factory.getbasetemp() / "written.pcap"
    path.write_bytes(content)
    assert [(frame.time_ns, frame.data) for frame in read_frames(path)] == raw
    got = [(packet.time_ns, packet.sport, packet.seq, packet.payload_bytes) for packet in read_capture(path)]
    assert got == [(time_ns, port, seq, len(payload)) for time_ns, port, seq, payload in frames]


def test_the_shipped_capture_is_what_its_note_says() -> None:
    note = (WEB.parent / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(WEB.read_bytes()).hexdigest() in note
    reader = read_capture(WEB)
    packets = list(reader)
    assert reader.summary.frames == reader.summary.packets == len(packets) == 7000
    assert reader.summary.backwards == 17
    assert 120_000_000 < packets[-1].time_ns - packets[0].time_ns < 121_000_000
    kinds = Counter((packet.proto, len(packet.src)) for packet in packets)
    assert kinds == {(6, 4): 6265, (6, 16): 273, (17, 4): 462}
    assert Counter(packet.dport for packet in packets) == {80: 5207, 8080: 1331, 53: 462}
    assert len({(packet.src, packet.sport) for packet in packets if packet.proto == TCP}) == 240
    assert len({(packet.src, packet.sport) for packet in packets if packet.proto == UDP}) == 230
    assert sum(packet.len_bytes < 200 for packet in packets) == 5932
    assert sum(packet.len_bytes >= 1400 for packet in packets) == 1020
    assert max(packet.len_bytes for packet in packets) == 1514


def test_the_shipped_redis_capture_is_what_its_note_says() -> None:
    path = WEB.parent / "redis.pcap"
    note = (path.parent / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in note
    packets = list(read_capture(path))
    assert len(packets) == 7000
    assert 56_000_000 < packets[-1].time_ns - packets[0].time_ns < 58_000_000
    assert {(packet.proto, len(packet.src), packet.dport) for packet in packets} == {(TCP, 4, 6379)}
    assert len({(packet.src, packet.sport) for packet in packets}) == 200
    assert {packet.payload_bytes for packet in packets} == {244}
