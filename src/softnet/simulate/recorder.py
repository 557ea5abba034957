# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run records: which events a trace keeps, and where its records go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from softnet.errors import SoftnetError
from softnet.machine import state
from softnet.processes import held_back
from softnet.trace import EVENT_ID, EVENTS, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from softnet.image.image import Image
    from softnet.simulate.tracefile import TraceWriter

TRACE_RECORDS_MAX = 5_000_000
"""Bound of a recording in memory; what comes after is counted, not kept. One that goes to a file has none."""

WRITE_BLOCK = 10_000
"""Records that wait for the file of a recording."""


WARN_EVENT = EVENT_ID["warn_on_once"]


@dataclass
class Recorder:
    """Takes traced events in their total order."""

    records: list[Record] = field(default_factory=list)
    dropped: int = 0
    memory: list[int] = field(default_factory=list)
    now: int = 0
    cpu: int = 0
    preempt_base: int = 0
    preempt_stride: int = 0
    warned: dict[int, int] = field(default_factory=dict)
    """Place of a WARN_ON_ONCE (lang.program.warn_site) -> how often it fired; counted whether or not the run is traced."""
    keep_warnings: bool = False
    writer: TraceWriter | None = None
    """Where the records go instead of memory; ``records`` then holds those that wait for it."""

    def attach(self, image: Image) -> None:
        """Learn where the image keeps what a record needs."""
        self.memory = image.memory
        self.now, self.cpu = image.engine_word("now"), image.engine_word("cpu")
        table = image.layout.tables["cpu_hw"]
        self.preempt_base = table.base + image.layout.structs["cpu_hw"].fields["preempt_count"].offset
        self.preempt_stride = table.stride

    def __call__(self, event: int, a: int, b: int, c: int) -> None:
        if event == WARN_EVENT:
            self.warned[b] = self.warned.get(b, 0) + 1
            if not self.keep_warnings:
                return
        memory = self.memory
        cpu = memory[self.cpu]
        count = memory[self.preempt_base + cpu * self.preempt_stride]
        context = 2 if count & state.HARDIRQ_MASK else 1 if count & state.SOFTIRQ_OFFSET else 0
        self.add(Record(memory[self.now], cpu, context, event, a, b, c))

    def add(self, record: Record) -> None:
        """Keep one record, in memory or in the file."""
        if self.writer is not None:
            self.records.append(record)
            if len(self.records) >= WRITE_BLOCK:
                self.flush()
        elif len(self.records) < TRACE_RECORDS_MAX:
            self.records.append(record)
        else:
            self.dropped += 1

    def flush(self) -> None:
        """Hand what waits to the file."""
        if self.writer is not None:
            with held_back():
                self.writer.write(self.records)
                self.records.clear()

    def take(self, rows: NDArray[np.int64]) -> None:
        """Records of the native engine: time, CPU, preempt_count, event and three arguments."""
        fired = rows[:, 3] == WARN_EVENT
        if fired.any():
            for site in rows[fired, 5].tolist():
                self.warned[site] = self.warned.get(site, 0) + 1
            if not self.keep_warnings:
                rows = rows[~fired]
        if self.writer is None:
            room = TRACE_RECORDS_MAX - len(self.records)
            self.dropped += max(len(rows) - room, 0)
            rows = rows[:room]
        rows = rows[:, :7].copy()
        count = rows[:, 2]
        serving = (count & state.SOFTIRQ_OFFSET != 0).astype(count.dtype)
        serving[count & state.HARDIRQ_MASK != 0] = 2
        rows[:, 2] = serving
        if self.writer is not None:
            self.flush()
            self.writer.write(rows.tolist())
        else:
            self.records.extend(map(Record._make, rows.tolist()))


def trace_mask(trace: str) -> int:
    """The events that a kind of trace keeps, as bits by their numbers. Raises SoftnetError for an unknown kind."""
    if trace == "off":
        return 0
    if trace == "full":
        return (1 << len(EVENTS)) - 1
    if trace == "decisions":
        return sum(1 << EVENT_ID[event.name] for event in EVENTS if event.decision)
    raise SoftnetError("unknown kind of trace", found=trace, expected="off, decisions or full")
