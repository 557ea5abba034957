# SPDX-License-Identifier: GPL-2.0-or-later
"""A capture as a traffic source: its flows, its sequence numbers, its clock at any speed."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from softnet.errors import CaptureError
from softnet.scenario.capture import Notes
from softnet.scenario.columns import FLAG_FRAGMENT, FLAG_NO_MERGE, FLAG_PUSH, TCP, SourceChunk
from softnet.scenario.fields import ms_to_ns
from softnet.scenario.flows import FlowKey, FlowTable, flow_key, table_of_keys
from softnet.scenario.packet import FIN, PSH, RST, SYN, URG, CaptureSummary
from softnet.scenario.packet_columns import FlowFinder, PacketBatch, PacketColumns
from softnet.scenario.records import read_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softnet.scenario.traffic_models import CaptureTraffic

#: A capture up to this many packets is kept in memory (22 bytes each); a longer one is read again.
PACKETS_KEPT_MAX: Final = 6_000_000


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
        self._finders = (FlowFinder(3), FlowFinder(6))
        self._kept: list[SourceChunk] | None = []
        self._all_flows_known = False
        self._seen = 0
        """Packets of the file that were looked at, those for others included."""
        self._span_ns: int | None = None
        """From the first packet of the file to the last, at the scenario's speed; None where the run ends before the file."""
        self._first_pass()
        self._all_flows_known = True
        self._period_ns = self._period()

    @cached_property
    def flows(self) -> FlowTable:
        return table_of_keys(list(self._flow_of))

    def _first_pass(self) -> None:
        count = 0
        for chunk in self._read_once():
            count += len(chunk)
            if self._kept is not None:
                self._kept.append(_narrowed(chunk))
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
            for chunk in map(_widened, self._kept) if self._kept is not None else self._read_once():
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
        reader = PacketColumns(self.path)
        self.summary = reader.summary
        self.elsewhere = self.sent = self._seen = 0
        self._span_ns = None
        sequence = _Sequence()
        first_ns: int | None = None
        begin_ns = end_ns = 0
        for batch in reader:
            outgoing = batch.is_packet & batch.outgoing
            elsewhere = np.zeros_like(outgoing)
            if self.local:
                elsewhere = batch.is_packet & ~outgoing & ~batch.addressed_to(self.local)
            here = np.flatnonzero(batch.is_packet & ~outgoing & ~elsewhere)
            if first_ns is None and len(here):
                first_ns = int(batch.time_ns[here[0]])
            time_ns = self.start_ns + self._column_at_speed(batch.time_ns[here] - (first_ns or 0))
            inside = int(np.searchsorted(time_ns, self.stop_ns, side="left"))
            # The first packet that comes too late has been looked at.
            rows = int(here[inside]) + 1 if inside < len(here) else len(batch)
            packets = np.flatnonzero(batch.is_packet[:rows])
            if len(packets):
                begin_ns = begin_ns if self._seen else int(batch.time_ns[packets[0]])
                end_ns = int(batch.time_ns[packets[-1]])
            self._seen += len(packets)
            self.sent += int(np.count_nonzero(outgoing[:rows]))
            self.elsewhere += int(np.count_nonzero(elsewhere[:rows]))
            reader.count(batch, rows)
            ends = inside < len(here)
            here = here[:inside]
            if len(here):
                yield sequence.chunk(batch, here, time_ns[:inside], self._flows_of_rows(batch, here))
            if ends:
                return
        self._span_ns = self._at_speed(end_ns - begin_ns)

    def _flows_of_rows(self, batch: PacketBatch, here: NDArray[np.int64]) -> NDArray[np.int64]:
        """The flow of each of these packets; new ones are numbered in the order of their first packets."""
        flow = np.full(len(batch), -1, dtype=np.int64)
        for family, finder in zip(batch.families, self._finders, strict=True):
            if len(family.rows) == len(flow):
                flow = finder.find(family.words)
            elif len(family.rows):
                flow[family.rows] = finder.find(family.words)
        missing = np.zeros(len(batch), dtype=np.bool_)
        missing[here] = _taken(flow, here) < 0
        if not missing.any():
            return _taken(flow, here)
        words: dict[int, tuple[FlowFinder, tuple[int, ...]]] = {}
        for family, finder in zip(batch.families, self._finders, strict=True):
            rows = np.flatnonzero(missing[family.rows])
            listed = zip(*(column[rows].tolist() for column in family.words), strict=True)
            words.update(zip(family.rows[rows].tolist(), ((finder, row) for row in listed), strict=True))
        for row in np.flatnonzero(missing).tolist():
            if row not in words:
                flow[row] = self._flow(flow_key(batch.single[row]))
                continue
            finder, key = words[row]
            known = finder.known(key)
            if known is None:
                known = self._flow(flow_key(batch.packet(row)))
                finder.add(key, known)
            flow[row] = known
        return _taken(flow, here)

    def _flow(self, key: FlowKey) -> int:
        flow = self._flow_of.get(key)
        if flow is None:
            if self._all_flows_known:
                raise CaptureError("the capture changed while it was read", where=str(self.path), expected="a finished file")
            flow = self._flow_of[key] = len(self._flow_of)
        return flow

    def extent(self) -> str:
        """How many of the file's frames arrive in the run, and how long the file is. Reads the file to its end."""
        frames = first_ns = last_ns = 0
        for batch in read_batches(self.path, Notes()):
            frames += len(batch)
            times = batch.time_ns[batch.time_ns >= 0]
            if len(times):
                first_ns = min(first_ns or int(times.min()), int(times.min()))
                last_ns = max(last_ns, int(times.max()))
        length_ns = self._at_speed(last_ns - first_ns)
        window_ns = self.stop_ns - self.start_ns
        again = ", again and again" if self._period_ns is not None else ""
        at_speed = "" if self.speed == 1 else f" at speed {float(self.speed):g}"
        whole = f"it is {_duration(length_ns)} long{at_speed}"
        return f"{self.arriving:,} of its {frames:,} frames arrive{again}: {whole}, and the run has room for {_duration(window_ns)}"

    @cached_property
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

    def _column_at_speed(self, elapsed_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.speed == 1:
            return elapsed_ns
        if len(elapsed_ns) and int(elapsed_ns[-1]) * self.speed.denominator >= 2**63:
            # Of what lies beyond any run it is enough to know that it does.
            return np.array([min(self._at_speed(ns), 2**62) for ns in elapsed_ns.tolist()], dtype=np.int64)
        return elapsed_ns * self.speed.denominator // self.speed.numerator


def _duration(ns: int) -> str:
    """A time as a reader would say it, in three digits."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns} ns"


def _taken(column: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The column's values at these rising rows: the column itself where they are all of them."""
    return column if len(rows) == len(column) else column[rows]


_TCP_FLAGS: Final = np.arange(256, dtype=np.int64)
_FLAGS_OF_TCP: Final = FLAG_NO_MERGE * ((_TCP_FLAGS & (SYN | FIN | RST | URG)) != 0) + FLAG_PUSH * ((_TCP_FLAGS & PSH) != 0)
"""The column ``flags`` by the flags of a TCP header."""
_NUMBERS_OF_TCP: Final = ((_TCP_FLAGS & SYN) != 0).astype(np.int64) + ((_TCP_FLAGS & FIN) != 0)
"""Sequence numbers that they take."""


class _Sequence:
    """Which TCP segments continue the one before of their flow, from batch to batch."""

    def __init__(self) -> None:
        self._next = np.full(64, -1, dtype=np.int64)
        """By flow, -1 before its first segment."""

    def chunk(
        self, batch: PacketBatch, rows: NDArray[np.int64], time_ns: NDArray[np.int64], flow: NDArray[np.int64]
    ) -> SourceChunk:
        """The packets of these rows."""
        tcp = _taken(batch.proto, rows) == TCP
        tcp_flags = _taken(batch.tcp_flags, rows)
        flags = _FLAGS_OF_TCP[np.where(tcp, tcp_flags, 0)]
        if batch.single:  # all others are whole
            fragment = batch.fragment[rows]
            unmerged = tcp & batch.fragment_header[rows]  # GRO knows no fragment header
            tcp &= ~fragment & ~unmerged
            flags = np.where(tcp, flags, FLAG_FRAGMENT * fragment + FLAG_NO_MERGE * unmerged)
        payload_bytes = _taken(batch.payload_bytes, rows)
        seq_ok = np.zeros(len(rows), dtype=np.int64)
        at = np.flatnonzero(tcp)
        if len(at):
            seq = _taken(_taken(batch.seq, rows), at)
            used = _taken(payload_bytes, at) + _NUMBERS_OF_TCP[_taken(tcp_flags, at)]
            seq_ok[at] = self._continues(_taken(flow, at), seq, (seq + used) & 0xFFFF_FFFF)
        return SourceChunk(time_ns, flow, _taken(batch.len_bytes, rows), flags, seq_ok, payload_bytes)

    def _continues(self, flow: NDArray[np.int64], seq: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.bool_]:
        while int(flow.max()) >= len(self._next):
            self._next = np.concatenate([self._next, np.full_like(self._next, -1)])
        # numpy sorts sixteen bits by their digits, without comparing.
        narrow = flow.astype(np.uint16) if int(flow.max()) < 1 << 16 else flow
        order = np.argsort(narrow, kind="stable")
        flow, seq, after = flow[order], seq[order], after[order]
        begins = np.append(True, flow[1:] != flow[:-1])
        expected = np.append(-1, after[:-1])
        expected[begins] = self._next[flow[begins]]
        ends = np.append(begins[1:], True)
        self._next[flow[ends]] = after[ends]
        out = np.empty(len(flow), dtype=np.bool_)
        out[order] = expected == seq
        return out


def _narrowed(chunk: SourceChunk) -> SourceChunk:
    """The same in less memory: what a capture's header can say fits 32 bits."""
    return SourceChunk(
        chunk.time_ns, chunk.flow.astype(np.uint32), chunk.len_bytes.astype(np.uint32), chunk.flags.astype(np.uint8),
        chunk.seq_ok.astype(np.uint8), chunk.payload_bytes.astype(np.uint32),
    )  # fmt: skip


def _widened(chunk: SourceChunk) -> SourceChunk:
    """As an engine takes it."""
    return SourceChunk(*(getattr(chunk, field.name).astype(np.int64, copy=False) for field in dataclasses.fields(chunk)))


def _shifted(chunk: SourceChunk, shift_ns: int) -> SourceChunk:
    return SourceChunk(chunk.time_ns + shift_ns, chunk.flow, chunk.len_bytes, chunk.flags, chunk.seq_ok, chunk.payload_bytes)
