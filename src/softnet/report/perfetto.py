# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace for ui.perfetto.dev (and chrome://tracing), in the JSON trace event format.

The format is documented, every Perfetto reads it, and it needs no library: protobuf would be a third of the size before
compression, about the same after it, and cost a dependency with generated code. Times are microseconds with three decimals,
which is every nanosecond exactly. A trace of a real kernel that was recorded by order (clock "counter") has no times: there a
microsecond of the axis is one place in the order, and every CPU's label says so.

Each CPU is a process of its own with the threads hardirq, softirq and task. Slices are what ran there, instants are the
events with their arguments by name, arrows lead from an IPI or a waking to its effect, counters are queue lengths.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from softnet.files import atomic
from softnet.report.names import (
    COUNTER,
    TRACKS,
    arguments,
    clock_of,
    is_idle,
    slice_name,
    task_class,
    task_names,
)
from softnet.report.timeline import GOES_BACK, GOES_ON, HARDIRQ, SOFTIRQ, TASK, Slice, Timeline, build
from softnet.simulate.result import Trace
from softnet.trace import EVENTS, Record

SHOWN_AS_SLICES = frozenset({
    "irq_handler_entry", "irq_handler_exit", "softirq_entry", "softirq_exit", "sched_switch",
})  # fmt: skip
"""Events that a slice's ends stand for already."""

NO_TIMES = "1 µs = 1 record: the order of events, no times"
"""What stands beside every CPU of a trace without times."""

_PROCESSES_PER_ARM = 1000


def write_perfetto(path: str | Path, trace: Trace | Mapping[str, Trace]) -> None:
    """Write one trace, or several arms' above each other on one time axis; compressed when the name ends in ``.gz``.

    The same trace gives the same bytes. Raises SoftnetError when the file cannot be written.
    """
    arms = {"": trace} if isinstance(trace, Trace) else dict(trace)
    clock_of(arms.values())
    with atomic(path) as out:
        out.write(b'{"displayTimeUnit":"ns","traceEvents":[\n')
        separator = b""
        for index, (arm, one) in enumerate(arms.items()):
            for event in trace_events(one, arm, index):
                out.write(separator + event.encode())
                separator = b",\n"
        out.write(b"\n]}\n")


def trace_events(trace: Trace, arm: str = "", index: int = 0) -> Iterator[str]:
    """The JSON text of every event of one arm."""
    timeline = build(trace if trace.clock != COUNTER else _spread(trace))
    tasks = task_names(trace)
    first = 1 + index * _PROCESSES_PER_ARM
    yield from _metadata(timeline, arm, first, trace.clock)
    for s in timeline.slices:
        if not (s.track == TASK and is_idle(slice_name(TASK, s.number, 0, tasks))):
            yield _slice(s, tasks, first)
    for record, track in timeline.records:
        if EVENTS[record.event].name not in SHOWN_AS_SLICES:
            yield _instant(record, track, tasks, first)
    yield from _flows(timeline, tasks, first, index)
    for sample in timeline.samples:
        name = f"{sample.queue} of CPU {sample.cpu}"
        yield event_text("C", first + sample.cpu, 0, sample.time_ns, name, args={"packets": sample.value})


def _spread(trace: Trace) -> Trace:
    """The places in the order a microsecond apart, which is as near as Perfetto draws two things beside each other."""
    records = tuple(record._replace(time_ns=record.time_ns * 1000) for record in trace.records)
    return replace(trace, records=records)


def event_text(phase: str, pid: int, tid: int, time_ns: int, name: str, **more: Any) -> str:
    """One event; ``ts`` is written by hand, since a float would not hold every nanosecond of a long run."""
    rest = json.dumps({"ph": phase, "pid": pid, "tid": tid, "name": name, **more}, ensure_ascii=False, separators=(",", ":"))
    return f'{{"ts":{_us(time_ns)},{rest[1:]}'


def _us(time_ns: int) -> str:
    sign, magnitude = ("-", -time_ns) if time_ns < 0 else ("", time_ns)
    return f"{sign}{magnitude // 1000}.{magnitude % 1000:03d}"


def _metadata(timeline: Timeline, arm: str, first: int, clock: str) -> Iterator[str]:
    prefix = f"{arm} " if arm else ""
    for cpu in range(timeline.cpus):
        pid = first + cpu
        yield event_text("M", pid, 0, 0, "process_name", args={"name": f"{prefix}CPU {cpu}"})
        yield event_text("M", pid, 0, 0, "process_sort_index", args={"sort_index": pid})
        if clock == COUNTER:
            yield event_text("M", pid, 0, 0, "process_labels", args={"labels": NO_TIMES})
        for order, track in enumerate((HARDIRQ, SOFTIRQ, TASK)):
            yield event_text("M", pid, track + 1, 0, "thread_name", args={"name": TRACKS[track]})
            yield event_text("M", pid, track + 1, 0, "thread_sort_index", args={"sort_index": order})


def _slice(s: Slice, tasks: dict[int, str], first: int) -> str:
    name = slice_name(s.track, s.number, s.data, tasks)
    category = task_class(name) if s.track == TASK else TRACKS[s.track]
    args: dict[str, Any] = {("pid", "vec", "vector")[s.track]: s.number}
    if s.cut & GOES_BACK:
        args["began"] = "before: this is the rest of it"
    if s.cut & GOES_ON:
        args["goes on"] = "later: it was interrupted here"
    text = event_text("X", first + s.cpu, s.track + 1, s.start_ns, name, cat=category, args=args)
    return f'{{"dur":{_us(s.end_ns - s.start_ns)},{text[1:]}'


def _instant(record: Record, track: int, tasks: dict[int, str], first: int) -> str:
    event = EVENTS[record.event]
    args: dict[str, Any] = {}
    for name, value, text in arguments(record, tasks):
        args[name] = f"{value} ({text})" if text else value
    args["source"] = event.source
    return event_text("i", first + record.cpu, track + 1, record.time_ns, event.name, cat="event", s="t", args=args)


def _flows(timeline: Timeline, tasks: dict[int, str], first: int, index: int) -> Iterator[str]:
    for number, arrow in enumerate(timeline.arrows):
        what = {
            "ipi": slice_name(HARDIRQ, arrow.number, 0, tasks),
            "call": "function call",
            "wakeup": f"wake {tasks.get(arrow.number, '?')}",
        }[arrow.kind]
        identity = f"{index}.{number}"
        yield event_text(
            "s",
            first + arrow.from_cpu,
            arrow.from_track + 1,
            arrow.from_ns,
            what,
            cat=arrow.kind,
            id=identity,
        )
        yield event_text(
            "f",
            first + arrow.to_cpu,
            arrow.to_track + 1,
            arrow.to_ns,
            what,
            cat=arrow.kind,
            id=identity,
            bp="e",
        )
