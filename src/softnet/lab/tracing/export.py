# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab trace in softnet's one trace format, "softnet-trace/1", which the reports read.

The lab records more than the model does: entries of functions whose return it records too, marks, the task of
each event. Here only the events of ``softnet.trace.EVENTS`` stand, with their arguments; the lab's own file
(``softnet.lab.tracing.records``) keeps the rest. The header says with ``clock`` whether the first integer of a record
is a time or, for "counter", its place in the total order.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from softnet.files import write_whole
from softnet.lab.tracing.probes import NET_RX_SOFTIRQ
from softnet.lab.tracing.records import LabRecord, LabTrace
from softnet.trace import EVENT_ID, EVENTS
from softnet.trace import Record as Row

SCHEMA = "softnet-trace/1"


def rows(records: Iterable[LabRecord]) -> Iterator[Row]:
    """The records as ``softnet.trace`` has them; times count from the first."""
    start: int | None = None
    quotas: dict[int, int] = {}
    for record in records:
        start = record.when if start is None else start
        for event, a, b, c in _as_events(record, quotas):
            yield Row(record.when - start, record.cpu, record.context, EVENT_ID[event], a, b, c)


def _as_events(record: LabRecord, quotas: dict[int, int]) -> Iterator[tuple[str, int, int, int]]:
    """The events of the shared table that one record stands for; ``quotas`` are of polls still open, by CPU."""
    if record.event == "process_backlog_entry":
        quotas[record.cpu] = record.a
    elif record.event == "process_backlog":
        yield "process_backlog", record.a, quotas.pop(record.cpu, 0), 0
    elif record.event in EVENT_ID:
        yield record.event, record.a, record.b, record.c
        if record.event == "softirq_raise" and record.a == NET_RX_SOFTIRQ and "net_rx_raise" in EVENT_ID:
            yield "net_rx_raise", record.cpu, 0, 0


def _whole(records: list[LabRecord]) -> list[LabRecord]:
    """The records without the switches of softnet's own threads, where those of the other tasks were not recorded.

    A report would take them for all there were.
    """
    ours = ("ksoftirqd/", "backlog_napi/")
    if all(record.text.startswith(ours) for record in records if record.event == "sched_switch"):
        return [record for record in records if record.event != "sched_switch"]
    return records


def write(trace: LabTrace, path: Path) -> None:
    """Write the file, gzip without a time stamp. The same trace gives the same bytes."""
    body = list(rows(_whole(trace.records)))
    tasks: list[list[Any]] = [[int(pid), name] for pid, name in trace.header.get("tasks", {}).items()]
    header = {
        "schema": SCHEMA,
        "cpus": trace.header["cpus"],
        "tasks": sorted(tasks),
        "events": [[event.name, list(event.args)] for event in EVENTS],
        "records": len(body),
        "dropped": 0,
        "clock": trace.clock,
        "lab": {key: trace.header[key] for key in ("arm", "release", "ran", "provenance") if key in trace.header},
    }
    lines = [json.dumps(header, ensure_ascii=False, separators=(",", ":"))]
    lines.extend(json.dumps(list(row), separators=(",", ":")) for row in body)
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as stream:
        stream.write(("\n".join(lines) + "\n").encode())
    write_whole(path, buffer.getvalue())
