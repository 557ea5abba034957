# SPDX-License-Identifier: GPL-2.0-or-later
"""Which part of the traces a page shows, and that part in columns for its script."""

from __future__ import annotations

import base64
import bisect
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from softnet.report.names import (
    CLASSES,
    TRACKS,
    VECTOR_DEVICE,
    VECTORS,
    clock_of,
    enumerations,
    task_class,
    task_names,
)
from softnet.report.timeline import Timeline, build
from softnet.simulate.result import Trace
from softnet.trace import EVENT_ID, EVENTS

FOCUS_EVENTS = (
    "kick_defer_list_purge", "trigger_rx_softirq", "net_rps_send_ipi", "backlog_napi_wake", "wakeup_softirqd",
    "time_squeeze", "backlog_drop", "kfree_skb", "skb_defer_nodefer", "ipi_send_cpu", "nic_drop", "napi_poll",
)  # fmt: skip
"""What a reader probably came to see, rarest first: the page opens at the first of these that the trace has."""

ARROW_KINDS = ("wakeup", "ipi", "call")

RECORDS_MAX = 100_000
"""Of all arms together. A record takes about 7 bytes of the page, its slices included."""


class Window(NamedTuple):
    """A stretch of virtual time that every arm shows, and the event at which the page opens.

    Of traces without times (clock "counter") these are places in the order of the records.
    """

    start_ns: int
    end_ns: int
    focus_ns: int
    focus_event: str
    whole: bool
    """Whether the window is all that was recorded."""


def choose(traces: Sequence[Trace], after_ns: int, records_max: int = RECORDS_MAX) -> Window:
    """The longest stretch around the first event of interest after ``after_ns`` that keeps every arm within its part."""
    records_max = max(records_max // max(len(traces), 1), 1)
    times = [sorted(r.time_ns for r in trace.records) for trace in traces]
    start_ns = min((t[0] for t in times if t), default=0)
    end_ns = max((t[-1] for t in times if t), default=0)
    focus_ns, focus_event = _focus(traces, after_ns, start_ns)
    if all(len(t) <= records_max for t in times):
        return Window(start_ns, end_ns, focus_ns, focus_event, True)

    def fits(length_ns: int) -> bool:
        first = focus_ns - length_ns // 5
        return all(bisect.bisect_right(t, first + length_ns) - bisect.bisect_left(t, first) <= records_max for t in times)

    low, high = 1, max(end_ns - start_ns, 1) * 5
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    first = focus_ns - low // 5
    return Window(max(first, start_ns), min(first + low, end_ns), focus_ns, focus_event, False)


def _focus(traces: Sequence[Trace], after_ns: int, start_ns: int) -> tuple[int, str]:
    """The time of the first event of interest, of the kind that stands first in FOCUS_EVENTS."""
    for name in FOCUS_EVENTS:
        event = EVENT_ID[name]
        times = [r.time_ns for trace in traces for r in trace.records if r.event == event]
        if times:
            return min((t for t in times if t >= after_ns), default=min(times)), name
    return start_ns, ""


def payload(traces: Mapping[str, Trace], window: Window) -> dict[str, Any]:
    """The columns of every arm within the window, and the names of the numbers in them."""
    return {
        "clock": clock_of(traces.values()),
        "start": window.start_ns, "end": window.end_ns, "focus": window.focus_ns, "focusEvent": window.focus_event,
        "events": [[e.name, list(e.args), e.source] for e in EVENTS], "classes": list(CLASSES), "tracks": list(TRACKS),
        "vectors": VECTORS, "deviceVector": VECTOR_DEVICE, "names": enumerations(),
        "arms": [_arm(name, trace, window) for name, trace in traces.items()],
    }  # fmt: skip


def _arm(name: str, trace: Trace, window: Window) -> dict[str, Any]:
    timeline = build(trace)
    tasks = task_names(trace)
    slices = [s for s in timeline.slices if s.end_ns > window.start_ns and s.start_ns < window.end_ns]
    arrows = [a for a in timeline.arrows if a.to_ns >= window.start_ns and a.from_ns <= window.end_ns]
    return {
        "name": name, "cpus": trace.cpus, "dropped": trace.dropped,
        "tasks": {pid: [comm, CLASSES.index(task_class(comm))] for pid, comm in tasks.items()},
        "slices": [list(column) for column in zip(
            *((s.cpu * 3 + s.track, s.start_ns - window.start_ns, s.end_ns - s.start_ns, s.number, s.data, s.cut)
              for s in slices), strict=True)],
        "arrows": [list(column) for column in zip(
            *((ARROW_KINDS.index(a.kind), a.number, a.from_ns - window.start_ns, a.from_cpu * 3 + a.from_track,
               a.to_ns - window.start_ns, a.to_cpu * 3 + a.to_track) for a in arrows), strict=True)],
        "records": _records(timeline, window),
    }  # fmt: skip


def _records(timeline: Timeline, window: Window) -> list[list[int]]:
    """Columns: time since the record before, lane (CPU * 3 + track), event, arguments."""
    inside = [(r, track) for r, track in timeline.records if window.start_ns <= r.time_ns <= window.end_ns]
    rows = []
    before = window.start_ns
    for r, track in inside:
        rows.append((r.time_ns - before, r.cpu * 3 + track, r.event, r.a, r.b, r.c))
        before = r.time_ns
    return [list(column) for column in zip(*rows, strict=True)]


def packed(data: dict[str, Any]) -> str:
    """JSON, gzip and base64: the form in which the page carries its columns."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()
