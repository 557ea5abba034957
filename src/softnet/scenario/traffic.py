# SPDX-License-Identifier: GPL-2.0-or-later
"""The traffic of a scenario as one stream of arrivals, and the sockets that receive it.

Arrivals depend on the scenario's NICs, traffic, applications, run length and on the seed, never on the kernel
or its settings: every arm of a comparison receives the same packets.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from softnet.errors import CaptureError, printable
from softnet.scenario.columns import CHUNK, ArrivalChunk, SourceChunk, concatenate
from softnet.scenario.fields import ms_to_ns
from softnet.scenario.flow_dissector import flow_hash_from_keys
from softnet.scenario.flows import (
    PROTO_NUMBER,
    FlowKey,
    FlowTable,
    SocketBook,
    SocketSpec,
    generated_flows,
    hash_and_queue,
    table_of_keys,
)
from softnet.scenario.generate import generate
from softnet.scenario.traffic_models import STANDARD_INPUT, CaptureTraffic
from softnet.units import mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softnet.scenario.models import Scenario
    from softnet.scenario.replay import CaptureSource

_SENDER_STREAM = 0x534E_0000

_Stamp = tuple[str, int, int]
"""Of a capture's file: its path, size and time of the last change."""


class SenderFlow(NamedTuple):
    """The flow of one loopback sender: what its packets carry."""

    sender: int
    flow: int
    hash: int
    sock: int
    proto: int


class _Plan:
    """What is worked out once for a scenario: captures read, flows counted, sockets made."""

    def __init__(self, scenario: Scenario, stamps: tuple[_Stamp, ...] = ()) -> None:
        self.scenario = scenario
        stamp = iter(stamps)
        self.captures: dict[int, CaptureSource] = {}
        self.flow_base: list[int] = []
        self.sock_of_flow: list[NDArray[np.int64]] = []
        book = SocketBook(scenario)
        base = 0
        for index, source in enumerate(scenario.traffic):
            if isinstance(source, CaptureTraffic):
                self.captures[index] = _capture(source, index, self.stop_ns(index), next(stamp))
            self.flow_base.append(base)
            flows = self.flows(index, 0)
            self.sock_of_flow.append(book.assign(flows))
            base += len(flows)
        self.sender_base = base
        self.sender_socks = [
            book.socket_for(_app_index(scenario, sender.to), _sender_port(scenario, sender.to), index)
            for index, sender in enumerate(scenario.sender)
        ]
        self.sockets = book.sockets

    def stop_ns(self, index: int) -> int:
        source, end_ns = self.scenario.traffic[index], self.scenario.measure.duration_ns
        return end_ns if source.stop_ms is None else min(end_ns, ms_to_ns(source.stop_ms))

    def nic_index(self, index: int) -> int:
        name = self.scenario.traffic[index].nic
        return 0 if name is None else self.scenario.nic_index(name)

    def flows(self, index: int, seed: int) -> FlowTable:
        source = self.scenario.traffic[index]
        if isinstance(source, CaptureTraffic):
            return self.captures[index].flows
        return generated_flows(source, index, self.nic_index(index), seed)

    def source_chunks(self, index: int, seed: int) -> Iterator[SourceChunk]:
        source = self.scenario.traffic[index]
        if isinstance(source, CaptureTraffic):
            return self.captures[index].chunks()
        return generate(source, index, seed, self.stop_ns(index))

    def arrivals_of(self, index: int, seed: int) -> Iterator[ArrivalChunk]:
        """One source's packets with everything that follows from their flows."""
        nic_index = self.nic_index(index)
        flows = self.flows(index, seed)
        hashes = hash_and_queue(flows, self.scenario.nic[nic_index], seed)
        queues = hashes.queue + self.scenario.queue_base[nic_index]
        socks = self.sock_of_flow[index]
        for chunk in self.source_chunks(index, seed):
            flow = chunk.flow
            yield ArrivalChunk(
                time_ns=chunk.time_ns,
                nic_queue=queues[flow],
                hash=hashes.card[flow],
                hash_type=hashes.card_type[flow],
                flow_hash=hashes.flow[flow],
                len_bytes=chunk.len_bytes,
                sock=socks[flow],
                proto=flows.proto[flow],
                flow=flow + self.flow_base[index],
                flags=chunk.flags,
                seq_ok=chunk.seq_ok,
                payload_bytes=chunk.payload_bytes,
                source=np.full(len(flow), index, dtype=np.int64),
            )


def arrivals(scenario: Scenario, seed: int | None = None) -> Iterator[ArrivalChunk]:
    """Every packet that arrives at the NICs before the end of the run, in time order, 8192 at a time.

    Packets of one instant come in the order of their ``[[traffic]]`` tables. ``seed`` defaults to
    ``measure.seed``. Same scenario and seed, same bytes. Raises ``CaptureError``.
    """
    chosen = scenario.measure.seed if seed is None else seed
    plan = _plan(scenario)
    streams = [plan.arrivals_of(index, chosen) for index in range(len(scenario.traffic))]
    return _even(_merge(streams))


def packets_bound(scenario: Scenario) -> int:
    """A number of packets that a run has at the most: of its captures exactly, of its generators and senders at the least that
    many.
    """
    plan = _plan(scenario)
    total = 0
    for index, source in enumerate(scenario.traffic):
        window_ns = max(plan.stop_ns(index) - ms_to_ns(source.start_ms), 0)
        if isinstance(source, CaptureTraffic):
            total += plan.captures[index].arriving * plan.captures[index].repetitions
        else:
            mean = source.rate_pps * window_ns // 10**9 + 1
            total += mean + 8 * math.isqrt(mean) + 64  # beyond eight standard deviations of a Poisson process nobody waits
    for sender in scenario.sender:
        total += scenario.measure.duration_ns // sender.gap_ns + 1
    return total


def socket_table(scenario: Scenario) -> list[SocketSpec]:
    """Every socket, in the order of their 1-based indices. The same for every seed."""
    return list(_plan(scenario).sockets)


def sender_flows(scenario: Scenario, seed: int | None = None) -> list[SenderFlow]:
    """For each ``[[sender]]``: its flow number (after those of the traffic), its hash and its socket.

    Loopback has no card that hashes: ``skb->hash`` is the kernel's own.
    """
    chosen = scenario.measure.seed if seed is None else seed
    plan = _plan(scenario)
    out = []
    for index, sender in enumerate(scenario.sender):
        proto = PROTO_NUMBER[scenario.application[_app_index(scenario, sender.to)].kind]
        here = bytes((127, 0, 0, 1))
        sport = 32768 + (mix(chosen, _SENDER_STREAM, index) * 28232 >> 32)
        flow = table_of_keys([FlowKey(proto, here, here, sport, _sender_port(scenario, sender.to))])
        hashed = flow_hash_from_keys(chosen, flow.keys, flow.addr_type)
        out.append(SenderFlow(index, plan.sender_base + index, int(hashed[0]), plan.sender_socks[index], proto))
    return out


def capture_notes(scenario: Scenario, *, deviations_only: bool = False) -> list[str]:
    """What a user should know of the captures: how much of each arrives, what was left out; or only what is not as in the file.

    The whole answer reads every capture to its end, however short the run is.
    """
    out = []
    for index, capture in sorted(_plan(scenario).captures.items()):
        name = printable(f"traffic[{index}] {scenario.traffic[index].file}")  # type: ignore[union-attr]
        lines = capture.summary.lines()[1:]
        if not deviations_only:
            lines = [capture.extent(), *lines]
        out += [f"{name}: {line}" for line in [*lines, *capture.addressed]]
    return out


def _app_index(scenario: Scenario, name: str) -> int:
    return next(index for index, app in enumerate(scenario.application) if app.name == name)


def _sender_port(scenario: Scenario, name: str) -> int:
    ports = scenario.application[_app_index(scenario, name)].dst_ports
    return ports[0] if ports else 9


def _plan(scenario: Scenario) -> _Plan:
    """The scenario's plan, made again when a capture has changed on disk."""
    stamps = []
    for source in scenario.traffic:
        if isinstance(source, CaptureTraffic):
            from softnet.scenario.capture import captured_input

            path = scenario.resolve(source.file)
            try:
                status = os.stat(captured_input() if source.file == STANDARD_INPUT else path)
            except OSError as error:
                raise CaptureError("the capture cannot be read", where=str(path), found=error.strerror or str(error)) from None
            stamps.append((str(path), status.st_size, status.st_mtime_ns))
    # The kernel and the seed are no part of a plan.
    measure = scenario.measure.model_copy(update={"seed": 0})
    return _cached_plan(scenario.model_copy(update={"kernel": None, "measure": measure}), tuple(stamps))


@functools.lru_cache(maxsize=4)
def _cached_plan(scenario: Scenario, stamps: tuple[_Stamp, ...]) -> _Plan:
    return _Plan(scenario, stamps)


@functools.lru_cache(maxsize=4)
def _capture(source: CaptureTraffic, index: int, stop_ns: int, stamp: _Stamp) -> CaptureSource:
    """The capture of one ``[[traffic]]`` table: read once for all kernels, settings and seeds that it arrives at."""
    from softnet.scenario.replay import CaptureSource

    return CaptureSource(source, Path(stamp[0]), stop_ns)


def _merge(streams: list[Iterator[ArrivalChunk]]) -> Iterator[ArrivalChunk]:
    """Several streams in time order as one; at equal times the lower stream comes first.

    Up to the earliest end of the chunks at hand, everything is known: that much is sorted and given out. The
    stream whose chunk ends first is used up; later streams give only what lies before that end, since it may
    have more packets of that very instant.
    """
    if len(streams) == 1:
        yield from streams[0]
        return
    heads: list[ArrivalChunk | None] = [next(stream, None) for stream in streams]
    while True:
        live = [index for index, head in enumerate(heads) if head is not None]
        if not live:
            return
        first_end = min(live, key=lambda index: (_end_ns(heads[index]), index))
        end_ns = _end_ns(heads[first_end])
        ready: list[ArrivalChunk] = []
        for index in live:
            head = heads[index]
            assert head is not None
            side = "right" if index <= first_end else "left"
            cut = int(np.searchsorted(head.time_ns, end_ns, side=side))  # type: ignore[call-overload]
            if cut:
                ready.append(head[:cut])
            heads[index] = head[cut:] if cut < len(head) else next(streams[index], None)
        joined = concatenate(ready)
        yield joined[np.argsort(joined.time_ns, kind="stable")]


def _end_ns(chunk: ArrivalChunk | None) -> int:
    assert chunk is not None
    return int(chunk.time_ns[-1])


def _even(chunks: Iterator[ArrivalChunk]) -> Iterator[ArrivalChunk]:
    """The same packets in chunks of ``CHUNK``, the last one shorter."""
    waiting: list[ArrivalChunk] = []
    count = 0
    for chunk in chunks:
        waiting.append(chunk)
        count += len(chunk)
        if count < CHUNK:
            continue
        joined = concatenate(waiting)
        whole = count - count % CHUNK
        for start in range(0, whole, CHUNK):
            yield joined[start : start + CHUNK]
        waiting, count = ([joined[whole:]], count - whole) if whole < count else ([], 0)
    if waiting:
        yield concatenate(waiting)
