# SPDX-License-Identifier: GPL-2.0-or-later
"""The flow dissector finds what a real kernel's finds, and what the maker of each frame put in.

``fixtures/kernel_flow_classes.json`` holds what Linux 6.18.44 said of the corpus: which frames have one hash (its key is random,
so the hashes themselves say nothing). Where the running kernel may be asked, it is asked again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import operator
import os
import subprocess
from collections.abc import Hashable, Iterable
from pathlib import Path

import numpy as np
import pytest
from tests.scenario import captures as make
from tests.scenario.corpus import Frame, corpus
from tests.scenario.kernel_hash import kernel_hashes

from softnet.scenario import Nic, scenario_from_dict
from softnet.scenario.capture import Frame as Captured
from softnet.scenario.columns import PKT_HASH_TYPE_L3, PKT_HASH_TYPE_L4, PKT_HASH_TYPE_NONE
from softnet.scenario.flow_dissector import KEYS_BYTES, flow_hash_from_keys, skb_flow_dissect_flow_keys
from softnet.scenario.flows import flow_key, hash_and_queue, table_of_keys
from softnet.scenario.link import Link, link_header
from softnet.scenario.packet import dissect
from softnet.scenario.rss import TOEPLITZ_KEY
from softnet.scenario.traffic import arrivals

FIXTURE = Path(__file__).parent / "fixtures" / "kernel_flow_classes.json"
FRAMES = 1500
SEED = 20261129


def classes(values: Iterable[Hashable]) -> list[int]:
    """Equal values as equal numbers, counted in the order in which they come."""
    known: dict[Hashable, int] = {}
    return [known.setdefault(value, len(known)) for value in values]


def ours(frames: list[Frame], seed: int = 1) -> list[int]:
    keys = []
    for frame in frames:
        link = link_header(1, frame.data)
        assert isinstance(link, Link)
        keys.append(skb_flow_dissect_flow_keys(frame.data, link.kind, link.at))
    raw = np.frombuffer(b"".join(bytes(key.raw) for key in keys), dtype=np.uint8).reshape(-1, KEYS_BYTES)
    hashes: list[int] = flow_hash_from_keys(seed, raw, np.array([key.addr_type for key in keys])).tolist()
    return hashes


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return corpus(FRAMES, SEED)


def digest(frames: list[Frame]) -> str:
    return hashlib.sha256(b"".join(len(frame.data).to_bytes(2, "big") + frame.data for frame in frames)).hexdigest()


def compare(frames: list[Frame], theirs: list[int | None]) -> None:
    """Equal hashes for the same frames; where not, the first frame that differs and its kind."""
    kept = [number for number, value in enumerate(theirs) if value is not None]
    found, expected = classes(np.array(ours(frames))[kept].tolist()), classes(theirs[number] for number in kept)
    first = next((index for index in range(len(kept)) if found[index] != expected[index]), None)
    assert first is None, f"frame {kept[first]}: {frames[kept[first]].kind}"


def test_a_real_kernel_said_the_same(frames: list[Frame]) -> None:
    recorded = json.loads(FIXTURE.read_text(encoding="utf-8"))
    if os.environ.get("SOFTNET_UPDATE_GOLDEN"):
        told = kernel_hashes([frame.data for frame in frames])
        kept = iter(classes(value for value in told if value is not None))
        recorded = {
            "kernel": os.uname().release.split("-")[0],
            "sha256": digest(frames),
            "classes": [next(kept) if value is not None else None for value in told],
        }
        FIXTURE.write_text(json.dumps(recorded) + "\n", encoding="utf-8")
    assert recorded["sha256"] == digest(frames), "the corpus has changed: record the kernel's answer anew"
    assert recorded["classes"].count(None) < 40  # frames cut off in a VLAN tag, which the kernel drops at once
    compare(frames, recorded["classes"])


def test_the_running_kernel_says_the_same() -> None:
    fresh = corpus(2000, SEED + 1)
    try:
        told = kernel_hashes([frame.data for frame in fresh])
    except (OSError, subprocess.SubprocessError):
        pytest.skip("this kernel may not be asked: it takes a network namespace and a TAP device")
    compare(fresh, told)


@pytest.mark.slow
def test_the_maker_of_each_frame_says_the_same() -> None:
    whole = [frame for frame in corpus(6000, SEED + 2) if frame.key is not None]
    expected, found = classes(frame.key for frame in whole), classes(ours(whole))
    first = next((index for index in range(len(whole)) if found[index] != expected[index]), None)
    assert first is None, f"frame {first}: {whole[first].kind}: {whole[first].key}"
    assert len(set(expected)) > 2000


def test_the_corpus_holds_every_kind(frames: list[Frame]) -> None:
    kinds = {kind for frame in frames for kind in frame.kind.split()}
    wanted = {"vlan", "pppoe", "pppoe-lcp", "pppoe-bad", "mpls", "arp", "lldp", "fragment4", "fragment6", "label", "tunnel"}
    wanted |= {f"gre-{shape}" for shape in ("ip", "ip6", "teb", "erspan", "routing", "version2", "pptp", "pptp-bare")}
    wanted |= {f"{family}-{proto}" for family in ("four", "six") for proto in (1, 4, 6, 17, 33, 41, 47, 50, 51, 89, 132, 136, 137)}
    assert wanted <= kinds


@pytest.mark.slow
def test_a_captured_frame_has_the_hash_of_its_dissection(frames: list[Frame]) -> None:
    """The short way for plain packets, whose keys come from addresses and ports, ends where the dissector ends."""
    hashes = ours(frames, seed=7)
    plain = 0
    for frame, expected in zip(frames, hashes, strict=True):
        packet = dissect(Captured(1, 0, 0, 1, frame.data, len(frame.data)), 0)
        if isinstance(packet, str):
            assert "truncated" in packet or "malformed" in packet
            continue
        plain += not packet.dissected
        table = table_of_keys([flow_key(packet)])
        assert int(flow_hash_from_keys(7, table.keys, table.addr_type)[0]) == expected, frame.kind
    assert plain > 100


def test_a_flow_and_its_answer_have_one_hash() -> None:
    """Both directions of a flow fall on one CPU; the ports of ESP are an SPI, whose halves are sorted too."""
    whole = [frame for frame in corpus(400, SEED + 3) if frame.kind.split() and frame.kind.split()[-1] in ("four-6", "four-17")]
    checked = 0
    for frame in whole:
        if frame.kind not in ("four-6", "four-17") or frame.key is None:
            continue
        length = (frame.data[14] & 15) * 4
        data = bytearray(frame.data)
        data[26:30], data[30:34] = frame.data[30:34], frame.data[26:30]
        at = 14 + length
        data[at : at + 2], data[at + 2 : at + 4] = frame.data[at + 2 : at + 4], frame.data[at : at + 2]
        there, back = ours([frame, frame._replace(data=bytes(data))])
        assert there == back
        checked += 1
    assert checked > 10


@pytest.mark.slow
def test_the_cards_toeplitz_is_that_of_its_definition(frames: list[Frame]) -> None:
    """For each set bit of the input the 32 bits of the key that begin at that bit, over what was put into the outermost IP
    header.
    """
    secret, bits = int.from_bytes(TOEPLITZ_KEY, "big"), len(TOEPLITZ_KEY) * 8

    def plain_toeplitz(data: bytes) -> int:
        places = (at for at in range(len(data) * 8) if data[at // 8] & (0x80 >> at % 8))
        return functools.reduce(operator.xor, ((secret >> (bits - 32 - at)) & 0xFFFF_FFFF for at in places), 0)

    kinds: dict[int, int] = {}
    for frame in frames:
        packet = dissect(Captured(1, 0, 0, 1, frame.data, len(frame.data)), 0)
        if isinstance(packet, str):
            continue
        found = hash_and_queue(table_of_keys([flow_key(packet)]), Nic(queues=8), 1)
        at = 12
        while frame.data[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
            at += 4
        six, header = frame.data[at : at + 2] == b"\x86\xdd", frame.data[at + 2 :]
        if frame.data[at : at + 2] not in (b"\x08\x00", b"\x86\xdd"):
            expected, kind = 0, PKT_HASH_TYPE_NONE
        else:
            data = header[8:40] if six else header[12:20]
            whole = b"\x2c" not in header[6:7] if six else int.from_bytes(header[6:8], "big") & 0x3FFF == 0
            ports = header[40:44] if six else header[(header[0] & 15) * 4 :][:4]
            proto = header[6] if six else header[9]
            if six and proto in (0, 43, 60):
                continue  # where the ports are behind these is the reader's own affair
            kind = PKT_HASH_TYPE_L4 if whole and proto in (6, 17) else PKT_HASH_TYPE_L3
            expected = plain_toeplitz(data + (ports if kind == PKT_HASH_TYPE_L4 else b""))
        assert (int(found.card[0]), int(found.card_type[0])) == (expected, kind), frame.kind
        assert int(found.queue[0]) == expected % 128 % 8
        kinds[kind] = kinds.get(kind, 0) + 1
    assert min(kinds.values()) > 50
    assert len(kinds) == 3


INNER = [make.ipv4(make.udp(b"x" * 8, sport=1000 + number % 6), 17, "192.0.2.9", "192.0.2.10") for number in range(24)]
GRE_OF_IP, GRE_OF_ETHERNET, GRE_OF_ERSPAN = (
    bytes.fromhex("00000800"),
    bytes.fromhex("00006558"),
    bytes.fromhex("1000 88be 00000001"),
)
SESSION = bytes.fromhex("1100 0007 0052 0021")
ATOMIC = bytes([17, 0]) + bytes(2) + (99).to_bytes(4, "big")
KINDS = {
    "GRE": (6, [make.ethernet(make.ipv4(GRE_OF_IP + packet, 47)) for packet in INNER]),
    "GRE in GRE": (6, [make.ethernet(make.ipv4(GRE_OF_IP + make.ipv4(GRE_OF_IP + packet, 47), 47)) for packet in INNER]),
    "Ethernet in GRE": (6, [make.ethernet(make.ipv4(GRE_OF_ETHERNET + make.ethernet(packet), 47)) for packet in INNER]),
    # __skb_flow_dissect_gre() knows no ERSPAN, and 6.18 said the same.
    "ERSPAN": (1, [make.ethernet(make.ipv4(GRE_OF_ERSPAN + bytes(8) + make.ethernet(packet), 47)) for packet in INNER]),
    "IPIP": (6, [make.ethernet(make.ipv4(packet, 4)) for packet in INNER]),
    "ESP": (4, [make.ethernet(make.ipv4((7 + number % 4).to_bytes(4, "big") + bytes(20), 50)) for number in range(24)]),
    "AH": (4, [make.ethernet(make.ipv4(bytes(4) + (7 + number % 4).to_bytes(4, "big") + bytes(20), 51)) for number in range(24)]),
    "VLANs": (3, [make.ethernet(INNER[0], tags=(0x8100,), tci=10 + number % 3) for number in range(24)]),
    "atomic fragments": (
        1, [make.ethernet(make.ipv6(make.udp(b"x", sport=number), 44, extensions=ATOMIC), 0x86DD) for number in range(24)]),
    "PPPoE in QinQ": (6, [make.ethernet(SESSION + packet, 0x8864, tags=(0x88A8, 0x8100)) for packet in INNER]),
    "MPLS": (1, [make.ethernet(bytes.fromhex("00010140") + packet, 0x8847) for packet in INNER]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_people_bring_has_as_many_flows_as_the_kernel_sees(kind: str, tmp_path: Path) -> None:
    """The file as it is read, on a card that gives no hash: RPS spreads by these."""
    flows, frames = KINDS[kind]
    (tmp_path / "brought.pcap").write_bytes(make.pcap([(10**18 + number, frame) for number, frame in enumerate(frames)]))
    nic, traffic = {"name": "eth0", "rss": False}, {"kind": "capture", "file": "brought.pcap"}
    scenario = scenario_from_dict({"nic": [nic], "traffic": [traffic]}, directory=tmp_path)
    arriving = list(arrivals(scenario))
    assert sum(map(len, arriving)) == 24
    hashes = np.unique(np.concatenate([chunk.flow_hash for chunk in arriving]))
    assert len(hashes) == flows
    assert hashes.all()
