# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures as people have them: compressed, on standard input, of both directions, longer than the run, of any link layer."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import json
import lzma
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.scenario import captures as make

from softnet.errors import CaptureError
from softnet.scenario import load_scenario, scenario_from_dict
from softnet.scenario.capture import read_frames
from softnet.scenario.packet import read_capture
from softnet.scenario.traffic import arrivals, capture_notes

DATAGRAM = make.udp(b"y" * 30, sport=5353, dport=53)
FRAMES = [(10**18 + number * 1000, make.ethernet(make.ipv4(make.udp(b"z" * 20, sport=number), 17))) for number in range(1, 200)]
PCAP = make.pcap(FRAMES)
PCAPNG = make.section() + make.interface(tsresol=9) + b"".join(make.enhanced(data, time) for time, data in FRAMES)


def zstd(content: bytes) -> bytes:
    done = subprocess.run(["zstd", "-q", "-c"], input=content, capture_output=True, check=True)
    return done.stdout


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


def reads_zstd() -> bool:
    for name in ("compression.zstd", "zstandard"):
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        return True
    return False


@pytest.mark.parametrize("kind", COMPRESSIONS)
@pytest.mark.parametrize("content", [PCAP, PCAPNG], ids=["pcap", "pcapng"])
def test_a_compressed_capture_holds_the_same_packets(kind: str, content: bytes, tmp_path: Path) -> None:
    if kind == "zst" and (shutil.which("zstd") is None or not reads_zstd()):
        pytest.skip("takes the program zstd, and Python 3.14 or the package zstandard")
    plain, packed = tmp_path / "plain", tmp_path / f"some.pcap.{kind}"
    plain.write_bytes(content)
    packed.write_bytes(COMPRESSIONS[kind](content))
    assert list(read_frames(packed)) == list(read_frames(plain))
    assert len(list(read_capture(packed))) == len(FRAMES)


def test_zstd_without_a_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / "some.pcap.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    with pytest.raises(CaptureError, match="a capture in zstd, which this Python cannot read") as caught:
        list(read_frames(path))
    assert "softnet[zstd]" in caught.value.expected


def scenario_text(file: str, duration_ms: float = 5, more: str = "") -> str:
    return f"""
[[nic]]
name = "eth0"
[[traffic]]
kind = "capture"
file = "{file}"
{more}
[[application]]
name = "sink"
kind = "udp"
[measure]
duration_ms = {duration_ms}
"""


def softnet(*args: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {key: value for key, value in os.environ.items() if key != "SOFTNET_CAPTURED_INPUT"}
    return subprocess.run([sys.executable, "-m", "softnet", *args], input=stdin, capture_output=True, check=False, env=environment)


@pytest.mark.slow
def test_standard_input_is_a_capture(tmp_path: Path) -> None:
    """It is read twice, once for its flows and once for its packets, and by processes of a comparison."""
    path = tmp_path / "piped.toml"
    path.write_text(scenario_text("-"), encoding="utf-8")
    done = softnet("check", str(path), "--json", stdin=gzip.compress(PCAP))
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["captures"] == [
        "traffic[0] -: 199 of its 199 frames arrive: it is 198 us long, and the run has room for 5 ms"
    ]
    empty = softnet("check", str(path), stdin=b"")
    assert empty.returncode == 2
    assert b"the capture is empty" in empty.stderr


def test_standard_input_is_taken_in_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOFTNET_CAPTURED_INPUT", raising=False)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PCAP)))
    path = tmp_path / "piped.toml"
    path.write_text(scenario_text("-"), encoding="utf-8")
    scenario = load_scenario(path)
    assert sum(len(chunk) for chunk in arrivals(scenario)) == len(FRAMES)
    assert sum(len(chunk) for chunk in arrivals(load_scenario(path))) == len(FRAMES)
    assert len(list(read_frames("-"))) == len(FRAMES)
    assert not list(tmp_path.glob("tmp*"))
    monkeypatch.delenv("SOFTNET_CAPTURED_INPUT")


def notes(directory: Path, content: bytes, duration_ms: float = 5, **traffic: object) -> tuple[int, list[str]]:
    """(packets that arrive, what ``softnet check`` says of the capture)"""
    (directory / "some.pcap").write_bytes(content)
    raw = {
        "nic": [{"name": "eth0"}],
        "traffic": [{"kind": "capture", "file": "some.pcap", **traffic}],
        "application": [{"name": "sink", "kind": "udp"}, {"name": "web", "kind": "tcp"}],
        "measure": {"duration_ms": duration_ms},
    }
    scenario = scenario_from_dict(raw, directory=directory)
    said = [note.removeprefix("traffic[0] some.pcap: ") for note in capture_notes(scenario)]
    return sum(len(chunk) for chunk in arrivals(scenario)), said


def test_how_much_of_a_capture_arrives_is_told(tmp_path: Path) -> None:
    frames = [(10**18 + number * 1_000_000, FRAMES[0][1]) for number in range(100)]
    count, said = notes(tmp_path, make.pcap(frames), 5)
    assert (count, said) == (5, ["5 of its 100 frames arrive: it is 99 ms long, and the run has room for 5 ms"])
    count, said = notes(tmp_path, make.pcap(frames), 5, speed=10.0)
    assert (count, said) == (50, ["50 of its 100 frames arrive: it is 9.9 ms long at speed 10, and the run has room for 5 ms"])
    count, said = notes(tmp_path, make.pcap(frames[:3]), 20, loop=True)
    assert said == ["3 of its 3 frames arrive, again and again: it is 2 ms long, and the run has room for 20 ms"]
    assert count == 20


def test_both_directions_are_told_with_what_to_do(tmp_path: Path) -> None:
    def frame(number: int) -> bytes:
        ends = ("192.0.2.1", "198.51.100.1")
        if number % 2:
            return make.ethernet(make.ipv4(make.tcp(b"d", sport=80, dport=50_000, seq=number), 6, *reversed(ends)))
        return make.ethernet(make.ipv4(make.tcp(b"d", sport=50_000, dport=80, seq=number), 6, *ends))

    content = make.pcap([(10**18 + number, frame(number)) for number in range(100)])
    count, said = notes(tmp_path, content)
    assert count == 100
    (told,) = [text for text in said if "both directions" in text]
    assert told.endswith('Say which host it is, for instance local_addresses = ["198.51.100.1"]')
    count, said = notes(tmp_path, content, local_addresses=["198.51.100.1"])
    assert count == 50
    assert "50 packets are not for this host" in said
    assert not [text for text in said if "both directions" in text]
    one_way = make.pcap([(10**18 + number, frame(2 * number)) for number in range(100)])
    assert not [text for text in notes(tmp_path, one_way)[1] if "both directions" in text]


@pytest.mark.parametrize("order", ["<", ">"])
def test_direction_flags_of_pcapng(order: str, tmp_path: Path) -> None:
    """epb_flags, bits 0 and 1: 1 is inbound, 2 is outbound, 0 says nothing. A comment before it is passed."""
    content = make.section(order=order) + make.interface(tsresol=9, order=order)
    for number, (time, data) in enumerate(FRAMES[:90]):
        comment = struct.pack(order + "HH", 1, 5) + b"hello" + bytes(3)
        flags = comment + struct.pack(order + "HHIHH", 2, 4, number % 3 | 0x100, 0, 0)
        head = struct.pack(order + "IIIII", 0, time >> 32, time & 0xFFFF_FFFF, len(data), len(data))
        content += make.block(6, head + data + bytes(-len(data) % 4) + flags, order=order)
    count, said = notes(tmp_path, content)
    assert count == 60
    assert "30 packets are marked as sent by the capturing host, and do not arrive" in said


def wifi(ip: bytes, kind: int, *, qos: bool = False, flags: int = 1) -> bytes:
    addresses = bytes(30 if flags & 3 == 3 else 24)[4:]
    head = bytes([0x88 if qos else 0x08, flags, 0, 0]) + addresses + (b"\0\0" if qos else b"")
    return head + b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", kind) + ip


LINKS: dict[str, tuple[int, Callable[[bytes, int], bytes]]] = {
    "PPP": (9, lambda ip, kind: struct.pack("!H", {0x0800: 0x21, 0x86DD: 0x57}[kind]) + ip),
    "PPP, compressed protocol": (9, lambda ip, kind: bytes([{0x0800: 0x21, 0x86DD: 0x57}[kind]]) + ip),
    "PPP in HDLC framing": (50, lambda ip, kind: b"\xff\x03\x00" + bytes([{0x0800: 0x21, 0x86DD: 0x57}[kind]]) + ip),
    "PPP in Cisco framing": (50, lambda ip, kind: b"\x0f\0" + struct.pack("!H", kind) + ip),
    "Cisco HDLC": (104, lambda ip, kind: b"\x0f\0" + struct.pack("!H", kind) + ip),
    "pppd": (166, lambda ip, kind: b"\0\x03\x00" + bytes([{0x0800: 0x21, 0x86DD: 0x57}[kind]]) + ip),
    "PPP with direction": (204, lambda ip, kind: b"\0\xff\x03\0" + bytes([{0x0800: 0x21, 0x86DD: 0x57}[kind]]) + ip),
    "Cisco HDLC with direction": (205, lambda ip, kind: b"\0\x0f\0" + struct.pack("!H", kind) + ip),
    "frame relay": (107, lambda ip, kind: b"\x18\x41\x03" + bytes([{0x0800: 0xCC, 0x86DD: 0x8E}[kind]]) + ip),
    "frame relay, SNAP": (107, lambda ip, kind: b"\x18\x41\x03\0\x80\0\0\0" + struct.pack("!H", kind) + ip),
    "802.11": (105, wifi),
    "802.11 with QoS": (105, lambda ip, kind: wifi(ip, kind, qos=True)),
    "802.11, four addresses": (105, lambda ip, kind: wifi(ip, kind, flags=3)),
    "radiotap": (127, lambda ip, kind: struct.pack("<BBHI", 0, 0, 12, 0) + bytes(4) + wifi(ip, kind)),
    "Prism": (119, lambda ip, kind: bytes(144) + wifi(ip, kind)),
    "AVS": (163, lambda ip, kind: struct.pack(">II", 0x80211001, 64) + bytes(56) + wifi(ip, kind)),
    "PPI": (192, lambda ip, kind: struct.pack("<BBHI", 0, 0, 8, 105) + wifi(ip, kind)),
    "PPI of Ethernet": (192, lambda ip, kind: struct.pack("<BBHI", 0, 0, 12, 1) + bytes(4) + make.ethernet(ip, kind)),
    "pflog": (117, lambda ip, kind: bytes([61, 2 if kind == 0x0800 else 24]) + bytes(62) + ip),
    "enc": (109, lambda ip, kind: struct.pack("<I", 2 if kind == 0x0800 else 24) + bytes(8) + ip),
    "NFLOG": (
        239,
        lambda ip, kind: bytes([2 if kind == 0x0800 else 10, 0, 0, 0]) + struct.pack("<HH", 5, 1) + bytes(4)
        + struct.pack("<HH", 4 + len(ip), 9) + ip,
    ),
    "IP over IEEE 1394": (138, lambda ip, kind: bytes(16) + struct.pack("!H", kind) + ip),
    "IP over Fibre Channel": (122, lambda ip, kind: bytes(16) + b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", kind) + ip),
    "FDDI": (10, lambda ip, kind: bytes(13) + b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", kind) + ip),
    "token ring": (6, lambda ip, kind: bytes(14) + b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", kind) + ip),
    "token ring with a route": (
        6,
        lambda ip, kind: bytes(8) + b"\x80" + bytes(5) + b"\x06" + bytes(5) + b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", kind) + ip,
    ),
    "Ethernet with preamble": (274, lambda ip, kind: bytes(8) + make.ethernet(ip, kind)),
}  # fmt: skip


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("version", [4, 6])
def test_every_link_type_leads_to_the_same_packet(name: str, version: int, tmp_path: Path) -> None:
    link, wrap = LINKS[name]
    ip = make.ipv4(DATAGRAM, 17) if version == 4 else make.ipv6(DATAGRAM, 17)
    path = tmp_path / "link.pcap"
    path.write_bytes(make.pcap([(10**18, wrap(ip, 0x0800 if version == 4 else 0x86DD))], link=link))
    (packet,) = read_capture(path)
    assert (packet.proto, packet.sport, packet.dport, packet.payload_bytes) == (17, 5353, 53, 30)
    assert packet.len_bytes == 14 + len(ip)
    assert len(packet.src) == (4 if version == 4 else 16)
    assert not packet.outgoing


@pytest.mark.parametrize(("link", "head"), [(204, b"\x01\xff\x03\0\x21"), (205, b"\x01\x0f\0\x08\0"), (166, b"\x01\x03\0\x21")])
def test_links_that_know_their_direction(link: int, head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "sent.pcap"
    path.write_bytes(make.pcap([(10**18, head + make.ipv4(DATAGRAM, 17))], link=link))
    (packet,) = read_capture(path)
    assert (packet.outgoing, packet.dport) == (True, 53)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (wifi(b"", 0, flags=0x41), "encrypted 802.11"),
        (bytes([0x80]) + bytes(40), "802.11 without data"),
        (bytes([0x48]) + bytes(40), "802.11 without data"),
        (bytes(10), "truncated 802.11 header"),
    ],
)
def test_radio_frames_that_hold_no_packet_are_counted(frame: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "radio.pcapng"
    content = make.section() + make.interface(link=105) + make.interface()
    path.write_bytes(content + make.enhanced(frame, 10**15) + make.enhanced(FRAMES[0][1], 10**15, index=1))
    reader = read_capture(path)
    assert len(list(reader)) == 1
    assert reader.summary.skipped == {why: 1}
