# SPDX-License-Identifier: GPL-2.0-or-later
"""Broken captures: each gives one CaptureError, whose whole text stands in tests/golden/capture_errors.

And any bytes at all give packets or a CaptureError, nothing else.
"""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scenario import captures as make

from softnet.errors import CaptureError
from softnet.scenario.capture import read_frames
from softnet.scenario.packet import LINK_TYPES, Packet, read_capture

GOLDEN = Path(__file__).parent.parent / "golden" / "capture_errors"

PACKET = make.ethernet(make.ipv4(make.tcp(b"hello"), 6))
PCAP = make.pcap([(10**18, PACKET), (10**18 + 500, PACKET)])
SECTION = make.section() + make.interface()
PCAPNG = SECTION + make.enhanced(PACKET, 10**15)
GIGABYTES_10 = 10 * 1024**3


def pcap_record(caplen: int, original_len: int, fraction: int = 0) -> bytes:
    return struct.pack("<IIII", 1_000_000_000, fraction, caplen, original_len)


BROKEN = {
    "empty": b"",
    "one_byte": b"\xd4",
    "wrong_magic": b"#!/bin/sh\necho this is no capture\n",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(20),
    "gzip_of_no_capture": gzip.compress(b"#!/bin/sh\necho this is no capture\n", mtime=0),
    "gzip_cut": gzip.compress(PCAP, mtime=0)[:20],
    "xz": b"\xfd7zXZ\0" + bytes(20),
    "old_patched_pcap": b"\x34\xcd\xb2\xa1" + bytes(20),
    "pcap_header_cut": PCAP[:20],
    "pcap_version": PCAP[:4] + b"\x07\x00" + PCAP[6:],
    "pcap_record_header_cut": PCAP[: 24 + 7],
    "pcap_packet_cut": PCAP[: 24 + 16 + len(PACKET) - 3],
    "pcap_claims_4_gb": PCAP[:24] + pcap_record(0xFFFF_FFFF, 0xFFFF_FFFF) + PACKET,
    "pcap_fraction": PCAP[:24] + pcap_record(len(PACKET), len(PACKET), 10**9) + PACKET,
    "pcap_only_header": PCAP[:24],
    "pcap_no_ip": make.pcap([(10**18, b"\x55" + bytes(30)), (10**18 + 1, bytes(30))], link=101),
    "pcap_unsupported_link": make.pcap([(10**18, PACKET)], link=147),
    "pcap_all_truncated": make.pcap([(10**18, PACKET[:30])]),
    "pcap_clock_set_back": make.pcap([(10**18, PACKET), (10**18 - 2 * 10**9, PACKET)]),
    "pcapng_byte_order": b"\x0a\x0d\x0d\x0a" + bytes(24),
    "pcapng_version": make.block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1)),
    "pcapng_zero_length_block": SECTION + struct.pack("<II", 6, 0) + bytes(32),
    "pcapng_odd_length_block": SECTION + struct.pack("<II", 6, 33) + bytes(33),
    "pcapng_lengths_differ": PCAPNG[:-4] + struct.pack("<I", 64),
    "pcapng_block_cut": PCAPNG[:-20],
    "pcapng_block_header_cut": SECTION + b"\x06\x00\x00",
    "pcapng_claims_4_gb": SECTION + struct.pack("<II", 6, 0xFFFF_FFFC) + bytes(64),
    "pcapng_claims_a_large_packet": SECTION + make.block(6, struct.pack("<IIIII", 0, 1, 1, 0x7FFF_FFFF, 0x7FFF_FFFF)),
    "pcapng_packet_longer_than_block": SECTION + make.block(6, struct.pack("<IIIII", 0, 1, 1, 100, 100) + bytes(40)),
    "pcapng_packet_block_too_short": SECTION + make.block(6, bytes(8)),
    "pcapng_unknown_interface": SECTION + make.enhanced(PACKET, 10**15, index=3),
    "pcapng_packet_before_interface": make.section() + make.enhanced(PACKET, 10**15),
    "pcapng_option_too_long": make.section() + make.block(1, struct.pack("<HHIHH", 1, 0, 0, 2, 500) + b"eth0"),
    "pcapng_time_out_of_range": make.section() + make.interface(tsresol=0) + make.enhanced(PACKET, 2**63),
    "pcapng_no_packet": SECTION,
}


def message_of(content: bytes, directory: Path) -> str:
    path = directory / "broken.pcap"
    path.write_bytes(content)
    with pytest.raises(CaptureError) as caught:
        list(read_capture(path))
    return str(caught.value).replace(f"{directory}/", "")


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_capture_is_told_in_one_message(case: str, tmp_path: Path) -> None:
    text = message_of(BROKEN[case], tmp_path)
    golden = GOLDEN / f"{case}.txt"
    if os.environ.get("SOFTNET_UPDATE_GOLDEN"):
        golden.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == golden.read_text(encoding="utf-8")


def test_no_golden_text_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(BROKEN)


@pytest.mark.parametrize("name", ["absent.pcap", "."])
def test_a_file_that_cannot_be_read_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="the capture cannot be read"):
        list(read_capture(tmp_path / name))


def test_packets_before_the_damage_are_given(tmp_path: Path) -> None:
    path = tmp_path / "damaged.pcap"
    path.write_bytes(PCAP + pcap_record(0xFFFF_FFFF, 0xFFFF_FFFF))
    reader = read_capture(path)
    assert [next(reader).dport, next(reader).dport] == [80, 80]
    with pytest.raises(CaptureError, match="larger than any capture tool writes"):
        next(reader)


CUT = {
    "inside a packet": (PCAP[:-3], 1, "a packet, at byte 115"),
    "one trailing byte": (PCAP + b"\0", 2, "a record header, at byte 174"),
    "inside a record header": (PCAP + bytes(15), 2, "a record header, at byte 174"),
    "inside a block": (PCAPNG + make.enhanced(PACKET, 10**15)[:-20], 1, "a block"),
    "inside a block header": (PCAPNG + b"\x06\x00\x00", 1, "a block header"),
    "inside a packet of a gzip file": (gzip.compress(PCAP[:-3], mtime=0), 1, "a packet, at byte 115"),
    "inside a gzip file": (gzip.compress(PCAP + 200 * PCAP[24:], compresslevel=0, mtime=0)[:-900], None, ""),
}


@pytest.mark.parametrize("case", CUT)
def test_a_file_whose_writer_was_cut_off_is_read_with_a_note(case: str, tmp_path: Path) -> None:
    content, packets, place = CUT[case]
    path = tmp_path / "cut.pcap"
    path.write_bytes(content)
    reader = read_capture(path)
    found = len(list(reader))
    assert found == packets or (packets is None and found > 100)
    (note,) = reader.summary.notes.lines()
    assert note.startswith(f"the file ends inside {place}" if place else ("the file ends inside", "the gzip file ends"))
    assert note.endswith("the one whole packet before is read" if found == 1 else f"the {found} whole packets before are read")


def test_frames_longer_than_the_snapshot_length_are_read_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "snaplen.pcap"
    path.write_bytes(make.pcap([(10**18, PACKET), (10**18 + 1, PACKET)], snaplen=48))
    reader = read_capture(path)
    assert [packet.len_bytes for packet in reader] == [len(PACKET)] * 2
    assert reader.summary.notes.lines() == [
        "2 frames are longer than the snapshot length that the file states; they are read whole"
    ]


@pytest.mark.parametrize("case", [case for case in BROKEN if "claims" in case])
def test_memory_does_not_follow_what_a_header_claims(case: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.pcap"
    path.write_bytes(BROKEN[case])
    tracemalloc.start()
    try:
        with pytest.raises(CaptureError):
            list(read_frames(path))
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_sparse_file_of_10_gb_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "sparse.pcapng"
    with path.open("wb") as file:
        file.write(SECTION + struct.pack("<II", 0x0BAD, 0xF000_0000))
        file.truncate(GIGABYTES_10)
    tracemalloc.start()
    try:
        with pytest.raises(CaptureError, match="two lengths differ"):
            list(read_frames(path))
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def packets_or_error(content: bytes, path: Path) -> list[Packet] | CaptureError:
    path.write_bytes(content)
    try:
        packets = list(read_capture(path))
    except CaptureError as error:
        told = error
        packets = None
    if packets is None:
        assert str(path) in told.where
        assert told.found or told.expected
        return told
    last_ns = 0
    for packet in packets:
        assert last_ns <= packet.time_ns < 2**63
        last_ns = packet.time_ns
        assert packet.len_bytes >= 14
        assert packet.payload_bytes >= 0
        assert len(packet.src) == len(packet.dst)
        assert len(packet.src) in ((4, 16) if packet.proto <= 255 else (0,))
        assert 0 <= packet.proto <= 255 or packet.proto >> 16 == 1
    return packets


@pytest.mark.slow
@settings(max_examples=3 * settings.default.max_examples)
@given(content=st.binary(max_size=200), start=st.sampled_from([b"", PCAP[:4], PCAP[:24], PCAPNG[:28], SECTION]))
def test_any_bytes_give_packets_or_a_capture_error(content: bytes, start: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    packets_or_error(start + content, tmp_path_factory.getbasetemp() / "fuzz.pcap")


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good capture with some bytes changed, cut out or put in."""
    content = bytearray(draw(st.sampled_from([PCAP, PCAPNG, PCAPNG + PCAPNG[28:], SECTION + make.simple(PACKET)])))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        match draw(st.integers(0, 2)):
            case 0:
                content[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                del content[at : at + draw(st.integers(1, 8))]
            case _:
                content[at:at] = draw(st.binary(min_size=1, max_size=8))
    return bytes(content)


@pytest.mark.slow
@settings(max_examples=5 * settings.default.max_examples)
@given(content=damaged())
def test_a_damaged_capture_gives_packets_or_a_capture_error(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    packets_or_error(content, tmp_path_factory.getbasetemp() / "damaged.pcap")


@pytest.mark.slow
@settings(max_examples=4 * settings.default.max_examples)
@given(link=st.sampled_from(sorted(LINK_TYPES)), data=st.binary(max_size=120))
def test_any_frame_gives_a_packet_or_a_counted_skip(link: int, data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    # A good packet after it, so that the capture as a whole can be read.
    frames = make.section() + make.interface(link=link) + make.interface()
    frames += make.enhanced(data, 10**15) + make.enhanced(PACKET, 10**15, index=1)
    path = tmp_path_factory.getbasetemp() / "frame.pcapng"
    result = packets_or_error(frames, path)
    assert isinstance(result, list)
    reader = read_capture(path)
    assert len(list(reader)) + sum(reader.summary.skipped.values()) == reader.summary.frames == 2
