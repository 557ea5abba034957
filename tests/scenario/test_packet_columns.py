# SPDX-License-Identifier: GPL-2.0-or-later
"""A capture read in columns is the capture read packet by packet: the same arrivals, flows, counts, notes and errors."""

from __future__ import annotations

import gzip
import ipaddress
import lzma
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scenario import captures as make
from tests.scenario.test_capture_errors import BROKEN, CUT

from softnet.errors import CaptureError
from softnet.scenario import CaptureTraffic, record_blocks
from softnet.scenario.capture import Notes, read_frames
from softnet.scenario.columns import TCP, UDP
from softnet.scenario.flows import FlowKey, flow_key
from softnet.scenario.packet import FIN, PSH, RST, SYN, URG, CaptureSummary, read_capture
from softnet.scenario.record_chain import PADDING, pcap_chain, pcapng_chain, record_heads
from softnet.scenario.records import read_batches
from softnet.scenario.replay import CaptureSource

ROOT = Path(__file__).parent.parent.parent
EVER_NS = 2**62
Row = tuple[int, int, int, int, int, int]


def one_by_one(
    path: Path, stop_ns: int, local: frozenset[bytes]
) -> tuple[list[Row], list[FlowKey], CaptureSummary, tuple[int, int, int], str]:
    """Rows, flows, summary, counts and the error of a pass packet by packet, as softnet read captures before it had columns."""
    reader = read_capture(path)
    rows: list[Row] = []
    flows: dict[FlowKey, int] = {}
    next_seq: dict[int, int] = {}
    first_ns, seen, sent, elsewhere, error = None, 0, 0, 0, ""
    try:
        for packet in reader:
            seen += 1
            if packet.outgoing or (local and packet.dst not in local):
                sent += packet.outgoing
                elsewhere += not packet.outgoing
                continue
            first_ns = packet.time_ns if first_ns is None else first_ns
            if packet.time_ns - first_ns >= stop_ns:
                break
            flow = flows.setdefault(flow_key(packet), len(flows))
            flags, seq_ok = 2 * packet.fragment, 0
            if packet.proto == TCP and packet.fragment_header:
                flags |= 4
            elif packet.proto == TCP and not packet.fragment:
                flags |= 1 if packet.tcp_flags & PSH else 0
                flags |= 4 if packet.tcp_flags & (SYN | FIN | RST | URG) else 0
                seq_ok = int(next_seq.get(flow) == packet.seq)
                used = packet.payload_bytes + bool(packet.tcp_flags & SYN) + bool(packet.tcp_flags & FIN)
                next_seq[flow] = (packet.seq + used) & 0xFFFF_FFFF
            rows.append((packet.time_ns - first_ns, flow, packet.len_bytes, flags, seq_ok, packet.payload_bytes))
    except CaptureError as found:
        error = str(found)
    return rows, list(flows), reader.summary, (seen, sent, elsewhere), error


def said(summary: CaptureSummary) -> Any:
    fields = {name: value for name, value in vars(summary).items() if name != "notes"}
    return fields, vars(summary.notes)


def check(path: Path, stop_ns: int = EVER_NS, local: tuple[str, ...] = ()) -> None:
    packed = frozenset(ipaddress.ip_address(text).packed for text in local)
    rows, flows, summary, counts, error = one_by_one(path, stop_ns, packed)
    traffic = CaptureTraffic(file=str(path), local_addresses=local)
    if error or not rows:
        with pytest.raises(CaptureError) as caught:
            CaptureSource(traffic, path, stop_ns)
        assert str(caught.value) == error or (not error and "no packet of the capture arrives" in str(caught.value))
        return
    source = CaptureSource(traffic, path, stop_ns)
    names = ("time_ns", "flow", "len_bytes", "flags", "seq_ok", "payload_bytes")
    chunks = list(source.chunks())
    assert all(getattr(chunk, name).dtype == np.int64 for chunk in chunks for name in names)
    assert [row for chunk in chunks for row in zip(*(getattr(chunk, name).tolist() for name in names), strict=True)] == rows
    assert list(source._flow_of) == flows
    assert (source._seen, source.sent, source.elsewhere) == counts
    assert said(source.summary) == said(summary)
    again = [row for chunk in source._read_once() for row in zip(*(getattr(chunk, n).tolist() for n in names), strict=True)]
    assert again == rows


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.pcap*")), ids=lambda path: path.name)
def test_the_shipped_captures(path: Path) -> None:
    check(path)
    check(path, 5_000_000)


@pytest.mark.parametrize("case", [*BROKEN, *CUT])
def test_captures_that_are_broken_or_cut_off(case: str, tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(BROKEN[case] if case in BROKEN else CUT[case][0])
    check(path)
    check(path, 1)


SEGMENT, DATAGRAM = make.tcp(b"d" * 30, seq=5, flags=0x18), make.udp(b"e" * 9)
OTHERS: list[Callable[[], bytes]] = [
    lambda: make.ethernet(bytes(28), 0x0806),
    lambda: make.ethernet(make.ipv4(SEGMENT, TCP, options=bytes(4))),
    lambda: make.ethernet(make.ipv4(SEGMENT, TCP, frag=0x2000)),
    lambda: make.ethernet(make.ipv4(DATAGRAM, UDP, frag=0x0010)),
    lambda: make.ethernet(make.ipv6(bytes([17, 0, 0, 0]) + bytes(4) + DATAGRAM, 44), 0x86DD),
    lambda: make.ethernet(make.ipv6(bytes([6, 0]) + bytes(6) + SEGMENT, 60), 0x86DD),
    lambda: make.ethernet(make.ipv4(bytes(8), 1)),
    lambda: make.ethernet(make.ipv4(make.ipv4(SEGMENT, TCP), 4)),
    lambda: make.ethernet(make.ipv4(SEGMENT, TCP), tags=(0x88A8, 0x8100)),
    lambda: make.ethernet(make.ipv4(SEGMENT[:12] + b"\x40" + SEGMENT[13:], TCP)),
    lambda: b"\0" * 12 + b"\0\x20" + bytes(40),
    lambda: make.ethernet(make.ipv4(SEGMENT, TCP)).ljust(120, b"\0"),
    lambda: make.ethernet(b"\x55" + make.ipv4(SEGMENT, TCP)[1:]),
    lambda: make.ethernet(make.ipv6(SEGMENT, TCP), 0x0800),
]


@st.composite
def frame(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 3)) == 0:
        data = draw(st.sampled_from(OTHERS))()
    else:
        sport = draw(st.integers(0, 2))
        payload = bytes(draw(st.integers(0, 3)))
        proto = draw(st.sampled_from([TCP, UDP]))
        flags = draw(st.sampled_from([0x10, 0x18, 0x02, 0x11, 0x04, 0x30]))
        # So small that segments often continue one another.
        segment = make.tcp(payload, sport=sport, seq=draw(st.sampled_from([0, 1, 2, 3, 2**32 - 1])), flags=flags)
        body = segment if proto == TCP else make.udp(payload, sport=sport)
        tags = draw(st.sampled_from([(), (), (0x8100,), (0x88A8,)]))
        # Numbers, priorities and the drop-eligible bit, of which all but the last tell flows apart.
        tci = draw(st.sampled_from([42, 42, 43, 0x602A, 0x102A, 0x802A]))
        last = draw(st.sampled_from([2, 3]))
        if draw(st.booleans()):
            data = make.ethernet(make.ipv4(body, proto, f"10.0.0.{last}"), tags=tags, tci=tci)
        else:
            label = draw(st.sampled_from([0, 0, 7]))
            data = make.ethernet(make.ipv6(body, proto, f"fd00::{last}", label=label), 0x86DD, tags=tags, tci=tci)
    if draw(st.integers(0, 9)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    if draw(st.integers(0, 9)) == 0 and data:
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
    return data


@settings(max_examples=60)
@given(
    frames=st.lists(st.tuples(st.integers(-50, 400), frame(), st.integers(0, 40)), min_size=1, max_size=40),
    kind=st.sampled_from(["<", ">", "pcapng", "micro"]),
    snaplen=st.sampled_from([0, 60, 262144]),
    stop_ns=st.sampled_from([EVER_NS, EVER_NS, 1000]),
    local=st.sampled_from([(), (), ("10.0.0.1",), ("fd00::1", "10.0.0.9")]),
    damage=st.one_of(st.none(), st.tuples(st.integers(0, 10**6), st.integers(0, 255))),
)
def test_mixed_frames(
    frames: list[tuple[int, bytes, int]],
    kind: str,
    snaplen: int,
    stop_ns: int,
    local: tuple[str, ...],
    damage: tuple[int, int] | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    now, timed = 10**18, []
    for step, data, more in frames:
        now += step
        timed.append((now, data, len(data) + more))
    if kind == "pcapng":
        content = make.section() + make.interface(tsresol=9, snaplen=snaplen)
        content += b"".join(make.enhanced(data, time, original_len=size) for time, data, size in timed)
    else:
        order = kind if kind in "<>" else "<"
        content = make.pcap([], order=order, nano=kind != "micro", snaplen=snaplen)
        for time, data, size in timed:
            fraction = time % 10**9 // (1000 if kind == "micro" else 1)
            content += struct.pack(order + "IIII", time // 10**9, fraction, len(data), size) + data
    if damage is not None:
        place = damage[0] % len(content)
        content = content[:place] + bytes([damage[1]]) + content[place + 1 :]
    path = tmp_path_factory.getbasetemp() / "mixed.pcap"
    path.write_bytes(content)
    check(path, stop_ns, local)


def test_every_field_that_tells_flows_apart_does(tmp_path: Path) -> None:
    """Frames that differ in one field each, twice: numbers, priorities and kinds of tags, addresses, ports, protocols, labels."""
    tags = [((), 0), *(((kind,), tci) for kind in (0x8100, 0x88A8) for tci in (42, 43, 0x602A, 0x102A, 0xF02A))]
    frames = [make.ethernet(make.ipv4(SEGMENT, TCP), tags=kinds, tci=tci) for kinds, tci in tags]
    frames += [make.ethernet(make.ipv6(SEGMENT, TCP), 0x86DD, tags=kinds, tci=tci) for kinds, tci in tags]
    for body, proto in ((make.tcp(b"d", sport=1), TCP), (make.tcp(b"d", sport=2), TCP), (make.udp(b"d", sport=1), UDP)):
        for last in (2, 3):
            frames.append(make.ethernet(make.ipv4(body, proto, f"10.0.0.{last}")))
            frames += [make.ethernet(make.ipv6(body, proto, f"fd00::{last}", label=label), 0x86DD) for label in (0, 1, 0x10000)]
    path = tmp_path / "fields.pcap"
    path.write_bytes(make.pcap([(10**18 + at, data) for at, data in enumerate(frames + frames)]))
    check(path)


@st.composite
def pcapng_block(draw: st.DrawFn, order: str, now_us: int) -> bytes:
    """A block of a packet, mostly; with options, or of an interface that has other time stamps; else something else."""
    kind = draw(st.integers(0, 14))
    if kind == 0:
        return make.interface(snaplen=draw(st.sampled_from([0, 60])), order=order)
    if kind == 1:
        return make.simple(draw(frame()), order=order)
    if kind == 2:
        return make.block(draw(st.sampled_from([4, 5, 0xBAD])), bytes(draw(st.integers(0, 9))), order=order)
    options = b""
    for code in draw(st.lists(st.sampled_from([0, 1, 2, 2, 4]), max_size=3)):
        value = struct.pack(order + "I", draw(st.integers(0, 3))) if code == 2 else bytes(draw(st.integers(0, 9)))
        options += make.option(code, b"" if code == 0 else value, order=order)
    index = draw(st.sampled_from([0, 0, 0, 0, 1, 2, 2, 3]))
    unit = {0: 1, 1: 1000, 2: 10_000, 3: 1}[index]
    return make.enhanced(draw(frame()), now_us * unit, index=index, order=order, options=options)


@settings(max_examples=20)
@given(
    data=st.data(),
    order=st.sampled_from("<>"),
    count=st.integers(1, 40),
    damage=st.one_of(st.none(), st.tuples(st.integers(0, 10**6), st.integers(0, 255))),
    packed=st.sampled_from(["", "", "gzip", "xz", "cut"]),
)
def test_mixed_blocks_of_pcapng(
    data: st.DataObject,
    order: str,
    count: int,
    damage: tuple[int, int] | None,
    packed: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Interfaces that count in units of their own, comments and flags, blocks without a packet, several sections; damage."""
    parts = [make.section(order=order)]
    parts += [make.interface(tsresol=tsresol, order=order) for tsresol in (6, 9, 10)]
    parts += [data.draw(pcapng_block(order, 1_700_000_000_000_000 + 10 * at)) for at in range(count)]
    if data.draw(st.booleans()):
        parts += parts[:2] + [data.draw(pcapng_block(order, 1_700_000_001_000_000)) for _ in range(5)]
    content = b"".join(parts)
    if packed in ("gzip", "xz"):
        content = gzip.compress(content) if packed == "gzip" else lzma.compress(content)
    if packed == "cut":
        content = content[: data.draw(st.integers(1, len(content)))]
    if damage is not None:
        place = damage[0] % len(content)
        content = content[:place] + bytes([damage[1]]) + content[place + 1 :]
    path = tmp_path_factory.getbasetemp() / "mixed.pcapng"
    path.write_bytes(content)
    check(path)


@pytest.mark.parametrize("damage", ["none", "cut", "byte"])
def test_a_compressed_file_of_many_pieces(damage: str, tmp_path: Path) -> None:
    """Also where it ends, or is wrong, in its middle: what stands before is read, as it is packet by packet."""
    chance = random.Random(3)
    frames = [
        (10**18 + 10 * n, make.ethernet(make.ipv4(make.udp(chance.randbytes(chance.randrange(0, 900)), sport=n % 50), UDP)))
        for n in range(600)
    ]
    content = gzip.compress(make.pcap(frames))
    half = len(content) // 2
    if damage == "cut":
        content = content[:half]
    elif damage == "byte":
        content = content[:half] + bytes([content[half] ^ 0xFF]) * 20 + content[half + 20 :]
    path = tmp_path / "many.pcap.gz"
    path.write_bytes(content)
    check(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_lanes_find_the_blocks_that_a_walk_finds(order: str) -> None:
    """Also where the packets are full of what looks like blocks."""
    chance = random.Random(6)
    fake = make.enhanced(bytes(20), 5, order=order)
    content, begins = bytearray(), []
    while len(content) < 600_000:
        begins.append(len(content))
        content += make.enhanced((fake * 9)[: chance.randrange(0, 400)], 5, order=order)
    array = np.frombuffer(bytes(content) + bytes(PADDING), dtype=np.uint8)
    for sizes in ((0, 0), (200, 400)):
        assert record_heads(array, len(content), pcapng_chain(order), *sizes).tolist() == begins


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("payloads", ["zeros", "headers", "large"])
def test_lanes_find_the_records_that_a_walk_finds(order: str, payloads: str) -> None:
    """Also where the frames are full of what looks like records."""
    chance = random.Random(5)
    fake = struct.pack(order + "IIII", 1_700_000_000, 5, 20, 20) + bytes(20)
    block, begins = bytearray(), []
    while len(block) < 600_000:
        size = chance.randrange(1400, 9000) if payloads == "large" else chance.randrange(0, 400)
        data = bytes(size) if payloads == "zeros" else (fake * (size // 36 + 1))[:size]
        begins.append(len(block))
        block += struct.pack(order + "IIII", 1_700_000_000, 5, size, size) + data
    count = len(block)
    array = np.frombuffer(bytes(block) + bytes(PADDING), dtype=np.uint8)
    chain = pcap_chain(order)
    assert record_heads(array, count, chain).tolist() == begins
    assert record_heads(array, count, chain, 100, 200).tolist() == begins
    assert record_heads(array, count - 11, chain).tolist() == [at for at in begins if at + 16 <= count - 11]


@pytest.mark.parametrize("size", [1 << 9, 1 << 18])
def test_a_file_of_many_blocks(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are cut where they fall, inside a header or a frame; some frames are longer than a block."""
    monkeypatch.setattr(record_blocks, "_FIRST_BLOCK_BYTES", size)
    monkeypatch.setattr(record_blocks, "_BLOCK_BYTES", size)
    monkeypatch.setattr(record_blocks, "BATCH_ROWS", 100)
    chance = random.Random(7)
    frames = [
        (10**18 + 10 * n, make.ethernet(make.ipv4(make.udp(bytes(chance.randrange(0, 900)), sport=n % 50), UDP)))
        for n in range(400)
    ]
    path = tmp_path / "many.pcap"
    path.write_bytes(make.pcap(frames))
    batches = list(read_batches(path, Notes()))
    assert [batch.frame(row) for batch in batches for row in range(len(batch))] == list(read_frames(path))
    assert [batch.number for batch in batches] == (1 + np.cumsum([0, *map(len, batches)])[:-1]).tolist()
    check(path)
