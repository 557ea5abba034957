# SPDX-License-Identifier: GPL-2.0-or-later
"""A capture as a traffic source: its flows, its sequence numbers, its clock at any speed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from softnet.errors import CaptureError
from softnet.scenario.capture import read_frames
from softnet.scenario.columns import CHUNK, FLAG_FRAGMENT, FLAG_NO_MERGE, FLAG_PUSH, TCP, SourceChunk
from softnet.scenario.fields import ms_to_ns
from softnet.scenario.flows import FlowKey, FlowTable, flow_key, table_of_keys
from softnet.scenario.packet import FIN, PSH, RST, SYN, URG, CaptureSummary, Packet, read_capture

if TYPE_CHECKING:
    from softnet.scenario.traffic_models import CaptureTraffic

#: A capture up to this many packets is kept in memory (about 48 bytes each); a longer one is read again.
PACKETS_KEPT_MAX: Final = 1_000_000

_Row = tuple[int, int, int, int, int, int]


class CaptureSource:
    """The packets of a capture that arrive within a run.

    The first pass, in the constructor, finds the flows. Memory follows the number of flows, and the packets up
    to ``PACKETS_KEPT_MAX``. Raises ``CaptureError``.
    """

    def __init__(self, source: CaptureTraffic, path: Path, stop_ns: int) -> None:
        self.source = source
        self.path = path
        self.start_ns = ms_to_ns(source.start_ms)
        self.stop_ns = stop_ns
        self.speed = Fraction(source.speed).limit_denominator(1_000_000)
        self.local = frozenset(ipaddress.ip_address(text).packed for text in source.local_addresses)
        self.summary = CaptureSummary()
        self.elsewhere = 0
        """Packets to other addresses."""
        self.sent = 0
        """Packets that the file marks as this host's own."""
        self.arriving = 0
        """Packets of one repetition that arrive before the end of the run."""
        self._flow_of: dict[FlowKey, int] = {}
        self._kept: list[SourceChunk] | None = []
        self._all_flows_known = False
        self._seen = 0
        """Packets of the file that were looked at, those for others included."""
        self._span_ns: int | None = None
        """From the first packet of the file to the last, at the scenario's speed; None where the run ends before the file."""
        self._first_pass()
        self._all_flows_known = True
        self._period_ns = self._period()

    @property
    def flows(self) -> FlowTable:
        return table_of_keys(list(self._flow_of))

    def _first_pass(self) -> None:
        count = 0
        for chunk in self._read_once():
            count += len(chunk)
            if self._kept is not None:
                self._kept.append(chunk)
                if count > PACKETS_KEPT_MAX:
                    self._kept = None
        self.arriving = count
        if not count:
            raise CaptureError(
                "no packet of the capture arrives",
                where=str(self.path),
                found=f"{self.elsewhere + self.sent} packets, all to other addresses or outgoing",
                expected="packets to " + (", ".join(self.source.local_addresses) or "this host"),
                hint="set local_addresses to the receiving host's addresses",
            )

    def _period(self) -> int | None:
        """From one repetition's beginning to the next one's: the whole file's time, and a gap as long as its average one.

        None where there is no repetition. Raises ``CaptureError`` where the file has no time that could be repeated.
        """
        if not self.source.loop or self._span_ns is None:
            return None
        if not self._span_ns:
            raise CaptureError(
                "a capture of one instant has no gap after which it could begin again",
                where=str(self.path),
                found=f"loop = true with {self._seen} packet{'s' if self._seen > 1 else ''} of the same time",
                expected="packets of two times at least, or loop = false",
                hint='a steady stream is [[traffic]] with kind = "constant" and rate_pps',
            )
        return self._span_ns + max(self._span_ns // (self._seen - 1), 1)

    @property
    def repetitions(self) -> int:
        """How often the capture begins within the run."""
        if self._period_ns is None:
            return 1
        return max(-(-(self.stop_ns - self.start_ns) // self._period_ns), 1)

    def chunks(self) -> Iterator[SourceChunk]:
        """The packets in time order, as often as the scenario asks, before the end of the run."""
        shift_ns = 0
        while self.start_ns + shift_ns < self.stop_ns:
            for chunk in self._kept if self._kept is not None else self._read_once():
                moved = chunk if not shift_ns else _shifted(chunk, shift_ns)
                inside = moved.until(self.stop_ns)
                if len(inside):
                    yield inside
                if len(inside) < len(moved):
                    return
            if self._period_ns is None:
                return
            shift_ns += self._period_ns

    def _read_once(self) -> Iterator[SourceChunk]:
        """One pass over the file, up to the end of the run."""
        reader = read_capture(self.path)
        self.summary = reader.summary
        self.elsewhere = self.sent = self._seen = 0
        self._span_ns = None
        next_seq: dict[int, int] = {}
        rows: list[_Row] = []
        first_ns: int | None = None
        begin_ns = end_ns = 0
        for packet in reader:
            begin_ns, end_ns = begin_ns if self._seen else packet.time_ns, packet.time_ns
            self._seen += 1
            if packet.outgoing or (self.local and packet.dst not in self.local):
                self.sent += packet.outgoing
                self.elsewhere += not packet.outgoing
                continue
            if first_ns is None:
                first_ns = packet.time_ns
            elapsed_ns = packet.time_ns - first_ns
            time_ns = self.start_ns + self._at_speed(elapsed_ns)
            if time_ns >= self.stop_ns:
                break
            key = flow_key(packet)
            flow = self._flow_of.get(key)
            if flow is None:
                if self._all_flows_known:
                    raise CaptureError("the capture changed while it was read", where=str(self.path), expected="a finished file")
                flow = self._flow_of[key] = len(self._flow_of)
            rows.append(_row(packet, time_ns, flow, next_seq))
            if len(rows) == CHUNK:
                yield _to_chunk(rows)
                rows = []
        else:
            self._span_ns = self._at_speed(end_ns - begin_ns)
        if rows:
            yield _to_chunk(rows)

    def extent(self) -> str:
        """How many of the file's frames arrive in the run, and how long the file is. Reads the file to its end."""
        frames = 0
        first_ns = last_ns = 0
        for frame in read_frames(self.path):
            frames += 1
            if frame.time_ns is not None:
                first_ns = min(first_ns or frame.time_ns, frame.time_ns)
                last_ns = max(last_ns, frame.time_ns)
        length_ns = self._at_speed(last_ns - first_ns)
        window_ns = self.stop_ns - self.start_ns
        times = ", again and again" if self._period_ns is not None else ""
        at_speed = "" if self.speed == 1 else f" at speed {float(self.speed):g}"
        whole = f"it is {_duration(length_ns)} long{at_speed}"
        return f"{self.arriving:,} of its {frames:,} frames arrive{times}: {whole}, and the run has room for {_duration(window_ns)}"

    def addressed(self) -> list[str]:
        """Which packets are not for this host; and where both sides of connections arrive, how to say which one this host is."""
        out = []
        if self.sent:
            out.append(f"{self.sent} packets are marked as sent by the capturing host, and do not arrive")
        if self.elsewhere:
            out.append(f"{self.elsewhere} packets are not for this host")
        answered: dict[bytes, int] = {}
        ends = {key[:5] for key in self._flow_of if key.src}
        both = 0
        for proto, src, dst, sport, dport in sorted(ends):
            if (proto, dst, src, dport, sport) in ends and sport and dport and (src, sport) != (dst, dport):
                both += 1
                # Of the two ends the one with the lower port is more often the one that serves.
                answered[dst] = answered.get(dst, 0) + (2 if dport < sport else 1)
        if both and not self.local:
            likely = ipaddress.ip_address(max(sorted(answered), key=lambda address: answered[address]))
            pairs = f"{both // 2} connection" + ("s" if both > 2 else "")
            out.append(
                f"both directions of {pairs} arrive: the capture holds what this host sent as well. Say which host it is, for"
                f' instance local_addresses = ["{likely}"]'
            )
        return out

    def _at_speed(self, elapsed_ns: int) -> int:
        return elapsed_ns * self.speed.denominator // self.speed.numerator


def _duration(ns: int) -> str:
    """A time as a reader would say it, in three digits."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns} ns"


def _row(packet: Packet, time_ns: int, flow: int, next_seq: dict[int, int]) -> _Row:
    flags = FLAG_FRAGMENT if packet.fragment else 0
    seq_ok = 0
    if packet.proto == TCP and packet.fragment_header:
        flags |= FLAG_NO_MERGE  # GRO knows no fragment header
    elif packet.proto == TCP and not packet.fragment:
        flags |= FLAG_PUSH if packet.tcp_flags & PSH else 0
        flags |= FLAG_NO_MERGE if packet.tcp_flags & (SYN | FIN | RST | URG) else 0
        seq_ok = int(next_seq.get(flow) == packet.seq)
        used = packet.payload_bytes + bool(packet.tcp_flags & SYN) + bool(packet.tcp_flags & FIN)
        next_seq[flow] = (packet.seq + used) & 0xFFFF_FFFF
    return time_ns, flow, packet.len_bytes, flags, seq_ok, packet.payload_bytes


def _to_chunk(rows: list[_Row]) -> SourceChunk:
    columns = np.array(rows, dtype=np.int64).T
    return SourceChunk(*(np.ascontiguousarray(column) for column in columns))


def _shifted(chunk: SourceChunk, shift_ns: int) -> SourceChunk:
    return SourceChunk(chunk.time_ns + shift_ns, chunk.flow, chunk.len_bytes, chunk.flags, chunk.seq_ok, chunk.payload_bytes)
