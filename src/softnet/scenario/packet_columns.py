# SPDX-License-Identifier: GPL-2.0-or-later
"""The packets of a capture as columns: what ``softnet.scenario.packet`` says of one packet, of many at once.

Most frames are Ethernet, at most one VLAN tag, IPv4 without options or IPv6 without extension headers, TCP or UDP, and no fragment:
these are read in columns. Every other frame goes through ``packet.dissect()``, and so does the first packet of each flow, so that
what tells flows apart is worked out in one place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from softnet.scenario.columns import NOT_IP, TCP, UDP
from softnet.scenario.packet import BACKWARDS_NS_MAX, CaptureSummary, Packet, clock_error, dissect, no_packet_error
from softnet.scenario.record_blocks import FrameBatch
from softnet.scenario.record_chain import windows
from softnet.scenario.records import read_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ETHERNET: Final = 1
_ETH_HLEN: Final = 14
_TAG_BYTES: Final = 4
# Fields are read in the byte order that is quick; numbers in network order where they are computed with.
_HEADERS: Final = {
    "kind": ("<u2", 12), "tci": (">u2", 14),
    "version4": ("u1", 14), "total_len": (">u2", 16), "frag_off": ("<u2", 20), "proto4": ("u1", 23),
    "addresses4": ("<u8", 26), "dst4": ("<u4", 30), "ports4": ("<u4", 34), "seq4": (">u4", 38), "doff4": ("u1", 46),
    "flags4": ("u1", 47),
    "label": (">u4", 14), "payload_len": (">u2", 18), "proto6": ("u1", 20),
    "src6": ("<u8", 22), "src6_low": ("<u8", 30), "dst6": ("<u8", 38), "dst6_low": ("<u8", 46),
    "ports6": ("<u4", 54), "seq6": (">u4", 58), "doff6": ("u1", 66), "flags6": ("u1", 67),
}  # fmt: skip
_WIDTH: Final = 72
_LAYOUT: Final = np.dtype(
    {
        "names": list(_HEADERS),
        "formats": [kind for kind, _ in _HEADERS.values()],
        "offsets": [at for _, at in _HEADERS.values()],
        "itemsize": _WIDTH,
    }
)
# Ethernet types as "kind" has them.
_IP, _IPV6, _8021Q, _8021AD = 0x0008, 0xDD86, 0x0081, 0xA888
_FRAGMENT: Final = 0xFF3F
_SLOTS_BITS: Final = 18
_MULTIPLIER: Final = 0x9E37_79B9_7F4A_7C15
_64_BITS: Final = (1 << 64) - 1


class Family(NamedTuple):
    """The frames of one IP version that were read in columns."""

    rows: NDArray[np.int64]
    words: tuple[NDArray[np.uint64], ...]
    """All that tells the flows of one version apart: addresses, ports, protocol, flow label, VLAN tag."""
    dst: tuple[NDArray[np.uint64], ...]
    """The destination address, in one word or two, as the machine reads it."""


@dataclasses.dataclass(frozen=True, eq=False)
class PacketBatch:
    """Columns over the frames of one batch; of a frame that was left out they mean nothing."""

    frames: FrameBatch
    is_packet: NDArray[np.bool_]
    time_ns: NDArray[np.int64]
    """Never before the time of the packet before."""
    back_ns: NDArray[np.int64]
    """How far the frame's own time stamp lies before that; else not above 0."""
    len_bytes: NDArray[np.int64]
    proto: NDArray[np.int64]
    payload_bytes: NDArray[np.int64]
    tcp_flags: NDArray[np.int64]
    seq: NDArray[np.int64]
    fragment: NDArray[np.bool_]
    fragment_header: NDArray[np.bool_]
    outgoing: NDArray[np.bool_]
    families: tuple[Family, Family]
    """IPv4 and IPv6."""
    single: dict[int, Packet]
    """The packets that were not read in columns, by row."""
    left_out: dict[int, str]
    """Why a frame was left out, by row."""

    def __len__(self) -> int:
        return len(self.frames)

    def packet(self, row: int) -> Packet:
        """One packet by itself."""
        known = self.single.get(row)
        if known is not None:
            return known
        found = dissect(self.frames.frame(row), int(self.time_ns[row]))
        assert isinstance(found, Packet)
        return found

    def addressed_to(self, local: frozenset[bytes]) -> NDArray[np.bool_]:
        """Which packets go to one of these addresses."""
        out = np.zeros(len(self), dtype=np.bool_)
        for family, size in zip(self.families, (4, 16), strict=True):
            found = np.zeros(len(family.rows), dtype=np.bool_)
            for address in sorted(local):
                if len(address) == size:
                    word = size // len(family.dst)
                    parts = [int.from_bytes(address[at : at + word], "little") for at in range(0, size, word)]
                    found |= np.logical_and.reduce([column == part for column, part in zip(family.dst, parts, strict=True)])
            out[family.rows] = found
        for row, packet in self.single.items():
            out[row] = packet.dst in local
        return out


class PacketColumns:
    """An iterator over the packets of a capture in batches. Raises as ``packet.CaptureReader`` does.

    A batch counts in ``summary`` when ``count()`` is called with it, since a run may end within one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.summary = CaptureSummary()
        self._clock_ns = 0

    def __iter__(self) -> Iterator[PacketBatch]:
        for frames in read_batches(self.path, self.summary.notes):
            time_ns, back_ns = self._clock(frames.time_ns)
            bad = np.flatnonzero(back_ns > BACKWARDS_NS_MAX)
            rows = int(bad[0]) if len(bad) else len(frames)
            if rows:
                yield _dissected(frames.first(rows), time_ns[:rows], back_ns[:rows])
            if len(bad):
                raise clock_error(self.path, frames.frame(rows), int(back_ns[rows]))
        if not self.summary.packets:
            raise no_packet_error(self.path, self.summary)

    def _clock(self, stamps: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The frames' times, never before the one before, and how far the stamps lie before these."""
        times = np.maximum.accumulate(np.maximum(stamps, self._clock_ns))
        before = np.concatenate([np.array([self._clock_ns]), times[:-1]])
        self._clock_ns = int(times[-1])
        return times, np.where(stamps < 0, 0, before - stamps)

    def count(self, batch: PacketBatch, rows: int) -> None:
        """Take the first ``rows`` frames of a batch into the summary."""
        summary = self.summary
        summary.frames += rows
        packets = np.flatnonzero(batch.is_packet[:rows])
        summary.packets += len(packets)
        for row, packet in batch.single.items():
            if row < rows and packet.proto >= NOT_IP:
                kind = packet.proto - NOT_IP
                summary.not_ip[kind] = summary.not_ip.get(kind, 0) + 1
        for row, reason in batch.left_out.items():
            if row < rows:
                summary.skipped[reason] = summary.skipped.get(reason, 0) + 1
        back_ns = batch.back_ns[:rows]
        summary.backwards += int(np.count_nonzero(back_ns > 0))
        summary.backwards_max_ns = max(summary.backwards_max_ns, int(back_ns.max(initial=0)))
        summary.without_time += int(np.count_nonzero(batch.frames.time_ns[:rows] < 0))
        summary.notes.over_snaplen += int(np.count_nonzero(batch.frames.over_snaplen[:rows]))
        if len(packets):
            if summary.first_ns is None:
                summary.first_ns = int(batch.time_ns[packets[0]])
            summary.last_ns = int(batch.time_ns[packets[-1]])


def _dissected(frames: FrameBatch, time_ns: NDArray[np.int64], back_ns: NDArray[np.int64]) -> PacketBatch:
    rows = len(frames)
    headers = windows(frames.buffer, frames.start, _WIDTH)
    fields = headers.view(_LAYOUT)[:, 0]
    tag = np.zeros(rows, dtype=np.uint64)
    at = np.full(rows, _ETH_HLEN, dtype=np.int64)
    tagged = np.flatnonzero((fields["kind"] == _8021Q) | (fields["kind"] == _8021AD))
    if len(tagged):
        # All but the drop-eligible bit, as the flow dissector takes it; and which kind of tag.
        tag[tagged] = (fields["tci"][tagged] & 0xEFFF).astype(np.uint64) | fields["kind"][tagged].astype(np.uint64) << np.uint64(16)
        headers[tagged] = windows(frames.buffer, frames.start[tagged] + _TAG_BYTES, _WIDTH)
        at[tagged] += _TAG_BYTES
    proto, payload, flags, seq = (np.zeros(rows, dtype=np.int64) for _ in range(4))
    found = []
    for version, size in ((4, 20), (6, 40)):
        chosen = _plain_rows(frames, fields, at, version, size)
        # Whole headers are taken, not their fields one by one.
        inside = fields if len(chosen) == rows else headers.view(f"V{_WIDTH}")[chosen, 0].view(_LAYOUT)
        found.append(_family(inside, chosen, tag[chosen], version))
        if not len(chosen):
            continue
        ip_bytes = frames.original_len[chosen] - at[chosen]
        proto[chosen] = inside[f"proto{version}"]
        is_tcp = inside[f"proto{version}"] == TCP
        stated = inside["total_len"].astype(np.int64) if version == 4 else inside["payload_len"].astype(np.int64) + 40
        # No length is stated of a packet that segmentation offload made.
        ip_bytes = np.where((stated > (0 if version == 4 else 40)) & (stated < ip_bytes), stated, ip_bytes)
        header = np.where(is_tcp, (inside[f"doff{version}"] >> 4).astype(np.int64) * 4, 8)
        payload[chosen] = np.maximum(ip_bytes - size - header, 0)
        flags[chosen] = np.where(is_tcp, inside[f"flags{version}"], 0)
        seq[chosen] = np.where(is_tcp, inside[f"seq{version}"], 0)
    no = np.zeros(rows, dtype=np.bool_)
    batch = PacketBatch(
        frames=frames, is_packet=np.ones(rows, dtype=np.bool_), time_ns=time_ns, back_ns=back_ns,
        len_bytes=np.maximum(frames.original_len, _ETH_HLEN), proto=proto, payload_bytes=payload, tcp_flags=flags, seq=seq,
        fragment=no, fragment_header=no.copy(), outgoing=frames.outgoing.copy(), families=(found[0], found[1]),
        single={}, left_out={},
    )  # fmt: skip
    _dissect_others(batch)
    return batch


def _plain_rows(frames: FrameBatch, fields: NDArray[np.void], at: NDArray[np.int64], version: int, size: int) -> NDArray[np.int64]:
    """The frames of this IP version that hold what columns are enough for, and of which all of that was captured."""
    of_version = fields["kind"] == (_IP if version == 4 else _IPV6)
    if not of_version.any():
        return np.empty(0, dtype=np.int64)
    plain = of_version & (frames.link_type == _ETHERNET)
    if version == 4:
        plain &= (fields["version4"] == 0x45) & ((fields["frag_off"] & _FRAGMENT) == 0)
    else:
        plain &= fields["version4"] >> 4 == 6
    proto = fields[f"proto{version}"]
    is_tcp = proto == TCP
    plain &= (proto == UDP) | (is_tcp & (fields[f"doff{version}"] >= 0x50))
    # ``dissect()`` wants four bytes of a UDP header, and fourteen of TCP's.
    plain &= frames.caplen - at >= np.where(is_tcp, size + 14, size + 4)
    return np.flatnonzero(plain)


def _family(inside: NDArray[np.void], rows: NDArray[np.int64], tag: NDArray[np.uint64], version: int) -> Family:
    ports = inside[f"ports{version}"].astype(np.uint64) | inside[f"proto{version}"].astype(np.uint64) << np.uint64(32)
    if version == 4:
        return Family(rows, (inside["addresses4"].astype(np.uint64), ports, tag), (inside["dst4"].astype(np.uint64),))
    source, target = (tuple(inside[name].astype(np.uint64) for name in (end, f"{end}_low")) for end in ("src6", "dst6"))
    label = (inside["label"] & 0xF_FFFF).astype(np.uint64)
    return Family(rows, (*source, *target, ports, label | tag << np.uint64(20)), target)


def _dissect_others(batch: PacketBatch) -> None:
    """The frames that are in no family, one by one."""
    single = np.ones(len(batch), dtype=np.bool_)
    for family in batch.families:
        single[family.rows] = False
    for row in np.flatnonzero(single).tolist():
        packet = dissect(batch.frames.frame(row), int(batch.time_ns[row]))
        if isinstance(packet, str):
            batch.left_out[row] = packet
            batch.is_packet[row] = False
            continue
        batch.single[row] = packet
        batch.len_bytes[row] = packet.len_bytes
        batch.proto[row] = packet.proto
        batch.payload_bytes[row] = packet.payload_bytes
        batch.tcp_flags[row] = packet.tcp_flags
        batch.seq[row] = packet.seq
        batch.fragment[row] = packet.fragment
        batch.fragment_header[row] = packet.fragment_header
        batch.outgoing[row] = packet.outgoing


class FlowFinder:
    """Numbers of flows by the words of a family, for those that have been added.

    A table by a hash of the words says which of the added flows it may be; one that a later flow has pushed out of it is found in
    a dictionary.
    """

    def __init__(self, words: int) -> None:
        self._slots = np.full(1 << _SLOTS_BITS, -1, dtype=np.int32)
        self._words = np.zeros((words, 64), dtype=np.uint64)
        self._flows = np.zeros(64, dtype=np.int64)
        self._known: dict[tuple[int, ...], int] = {}

    def find(self, words: tuple[NDArray[np.uint64], ...]) -> NDArray[np.int64]:
        """The flow of each row; -1 where it is in the dictionary only, or nowhere."""
        at = self._slots[self._slot(words)]
        good = at >= 0
        for known, column in zip(self._words, words, strict=True):
            good &= known[at] == column
        return np.where(good, self._flows[at], -1)

    def known(self, words: tuple[int, ...]) -> int | None:
        """The flow of one row's words."""
        at = self._known.get(words)
        return None if at is None else int(self._flows[at])

    def add(self, words: tuple[int, ...], flow: int) -> None:
        """A flow that is not known yet."""
        at = len(self._known)
        if at == len(self._flows):
            self._flows = np.concatenate([self._flows, np.zeros_like(self._flows)])
            self._words = np.concatenate([self._words, np.zeros_like(self._words)], axis=1)
        self._known[words] = at
        self._words[:, at] = words
        self._flows[at] = flow
        mixed = 0
        for word in words:
            mixed = (mixed ^ word) * _MULTIPLIER & _64_BITS
            mixed ^= mixed >> 32
        self._slots[(mixed * _MULTIPLIER & _64_BITS) >> 64 - _SLOTS_BITS] = at

    def _slot(self, words: tuple[NDArray[np.uint64], ...]) -> NDArray[np.uint64]:
        """The same for each row."""
        mixed = np.zeros(len(words[0]), dtype=np.uint64)
        for column in words:
            mixed = (mixed ^ column) * np.uint64(_MULTIPLIER)
            mixed ^= mixed >> np.uint64(32)
        return (mixed * np.uint64(_MULTIPLIER)) >> np.uint64(64 - _SLOTS_BITS)
