# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace for ui.perfetto.dev, in Perfetto's own format: packets of protocol buffers.

What the scheduler did is written as the kernel's own events, sched_switch and sched_waking, CPU by CPU: Perfetto makes of them its
CPU tracks, its threads with their states, and who woke whom. Beside them stands a group of tracks for every CPU: *hardirq*,
*softirq* (without the stretches in which its task was off the CPU), *NAPI polls*, *task* (what happened outside of both), and the
lengths of its backlog and its defer list. Instants are events with their arguments by name; flows lead from an IPI to its handler
and along the events of an skb.

Times are nanoseconds. A trace of a real kernel that was recorded by order (clock "counter") has no times: there a microsecond of
the axis is one place in the order, and every CPU's group says so. Several arms are several machines of one trace.

The numbers of fields and enumerations are those of protos/perfetto/trace/ (v59.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from softnet.files import atomic
from softnet.report.names import COUNTER, TRACKS, arguments, clock_of, is_idle, slice_name, task_class, task_names
from softnet.report.protobuf import fixed64, integer, message, text, varint
from softnet.report.timeline import GOES_BACK, GOES_ON, HARDIRQ, SOFTIRQ, TASK, Timeline, build
from softnet.simulate.result import Trace
from softnet.trace import EVENT_ID, EVENTS, Record

SHOWN_AS_SLICES = frozenset({
    "irq_handler_entry", "irq_handler_exit", "softirq_entry", "softirq_exit", "sched_switch", "sched_waking", "napi_poll",
})  # fmt: skip
"""Events that a slice's ends, or Perfetto's own tracks, stand for already."""

NO_TIMES = "1 µs = 1 record: the order of events, no times"
"""What stands beside every CPU of a trace without times."""

FIELDS: Final = {
    "Trace": {"packet": 1},
    "TracePacket": {
        "ftrace_events": 1, "process_tree": 2, "timestamp": 8, "trusted_packet_sequence_id": 10, "track_event": 11,
        "interned_data": 12, "sequence_flags": 13, "track_descriptor": 60, "machine_id": 98,
    },
    "FtraceEventBundle": {"cpu": 1, "event": 2},
    "FtraceEvent": {"timestamp": 1, "pid": 2, "sched_switch": 4, "common_flags": 5, "sched_waking": 20},
    "SchedSwitchFtraceEvent": {
        "prev_comm": 1, "prev_pid": 2, "prev_prio": 3, "prev_state": 4, "next_comm": 5, "next_pid": 6, "next_prio": 7,
    },
    "SchedWakingFtraceEvent": {"comm": 1, "pid": 2, "prio": 3, "success": 4, "target_cpu": 5},
    "ProcessTree": {"processes": 1, "threads": 2},
    "ProcessTree.Process": {"pid": 1, "ppid": 2, "cmdline": 3},
    "ProcessTree.Thread": {"tid": 1, "name": 2, "tgid": 3},
    "TrackDescriptor": {
        "uuid": 1, "name": 2, "parent_uuid": 5, "counter": 8, "child_ordering": 11, "sibling_order_rank": 12,
    },
    "CounterDescriptor": {"unit_name": 6},
    "TrackEvent": {
        "category_iids": 3, "debug_annotations": 4, "type": 9, "name_iid": 10, "track_uuid": 11, "counter_value": 30,
        "flow_ids": 47, "terminating_flow_ids": 48,
    },
    "DebugAnnotation": {"name_iid": 1, "int_value": 4, "string_value": 6},
    "InternedData": {"event_categories": 1, "event_names": 2, "debug_annotation_names": 3},
    "EventName": {"iid": 1, "name": 2},
}  # fmt: skip
"""Message -> field -> number. EventCategory and DebugAnnotationName are as EventName."""
TYPES: Final = {"TYPE_SLICE_BEGIN": 1, "TYPE_SLICE_END": 2, "TYPE_INSTANT": 3, "TYPE_COUNTER": 4}
_CLEARED, _NEEDED = 1, 2
"""TracePacket.SequenceFlags: the names that were told before hold no more; this packet uses names that were told before."""
_EXPLICIT = 3
"""TrackDescriptor.ChildTracksOrdering: by sibling_order_rank."""
_IN_HARDIRQ, _IN_SOFTIRQ = 0x08, 0x10
"""TRACE_FLAG_HARDIRQ, TRACE_FLAG_SOFTIRQ, include/linux/trace_events.h (6.12)."""
_WAITS_FOR_LOCK, _UNINTERRUPTIBLE = 0x1000, 2
"""TASK_RTLOCK_WAIT is told as TASK_UNINTERRUPTIBLE: task_state_index(), include/linux/sched.h (6.12)."""
_KTHREADD = 2
_PRIO = 120
"""Of every task: the trace holds no priorities, and Perfetto wants one."""

_POLLS, _GROUP = 3, 4
_TRACK_NAMES = (*TRACKS, "NAPI polls")
_ORDER = (HARDIRQ, SOFTIRQ, _POLLS, TASK)
_QUEUES = {"backlog": "backlog", "defer_list": "defer list"}
_BUNDLE = 2048
"""Events of a CPU in one packet."""

_IPI, _CALL, _CALLED = EVENT_ID["ipi_send_cpu"], EVENT_ID["csd_queue_cpu"], EVENT_ID["csd_function_entry"]
_SWITCH, _WAKING, _POLL = EVENT_ID["sched_switch"], EVENT_ID["sched_waking"], EVENT_ID["napi_poll"]
_SOFTIRQ_ENTRY = EVENT_ID["softirq_entry"]
_NO_INSTANT = frozenset(i for i, event in enumerate(EVENTS) if event.name in SHOWN_AS_SLICES)
_OF_SKB = frozenset(i for i, event in enumerate(EVENTS) if event.args[:1] == ("skb",))
_TIMESTAMP = varint(FIELDS["TracePacket"]["timestamp"] << 3)
_TRACK_EVENT, _SEQUENCE_FLAGS = FIELDS["TracePacket"]["track_event"], FIELDS["TracePacket"]["sequence_flags"]
_NAME, _CATEGORY = varint(FIELDS["TrackEvent"]["name_iid"] << 3), varint(FIELDS["TrackEvent"]["category_iids"] << 3)
_FLOW, _FLOW_ENDS = FIELDS["TrackEvent"]["flow_ids"], FIELDS["TrackEvent"]["terminating_flow_ids"]
_REMEMBERED = 1 << 16
"""Arguments whose bytes are kept: most come again and again."""
_BEGINS, _ENDS = EVENT_ID["alloc_skb"], frozenset({EVENT_ID["consume_skb"], EVENT_ID["kfree_skb"]})


def write_perfetto(path: str | Path, trace: Trace | Mapping[str, Trace]) -> None:
    """Write one trace, or several arms' on one time axis; compressed when the name ends in ``.gz``.

    The same trace gives the same bytes. Raises SoftnetError when the file cannot be written.
    """
    arms = {"": trace} if isinstance(trace, Trace) else dict(trace)
    clock_of(arms.values())
    with atomic(path) as out:
        for index, (arm, one) in enumerate(arms.items()):
            for packet in packets(one, arm, index):
                out.write(packet)


def packets(trace: Trace, arm: str = "", index: int = 0) -> Iterator[bytes]:
    """The packets of one arm, as fields of the whole; the arm of ``index`` 0 is the trace's own machine."""
    timeline = build(trace if trace.clock != COUNTER else _spread(trace))
    tasks = task_names(trace)
    own = (_descriptors(timeline, arm, index, trace.clock), _Tracks(timeline, tasks, index).packets())
    for parts in (_process_tree(trace, tasks), _scheduling(timeline, tasks), *own):
        for part in parts:
            yield whole(part, index)


def _spread(trace: Trace) -> Trace:
    """The places in the order a microsecond apart, which is as near as Perfetto draws two things beside each other."""
    records = tuple(record._replace(time_ns=record.time_ns * 1000) for record in trace.records)
    return replace(trace, records=records)


# -- the scheduler


def _pid(pid: int, tasks: Mapping[int, str]) -> int:
    """The kernel's number of a task: every CPU's idle task has 0."""
    return 0 if is_idle(tasks.get(pid, "")) else pid


def _process_tree(trace: Trace, tasks: Mapping[int, str]) -> Iterator[bytes]:
    """Every task a process of one thread; those of the kernel are children of kthreadd."""
    rows = b""
    if any(task_class(comm) not in ("idle", "task") for _, comm in trace.tasks) and _KTHREADD not in dict(trace.tasks):
        rows += _process_row(_KTHREADD, 0, "kthreadd")
    for pid, comm in trace.tasks:
        if not is_idle(comm):
            rows += _process_row(pid, _KTHREADD if task_class(comm) != "task" else 1, comm)
    yield message(FIELDS["TracePacket"]["process_tree"], rows)


def _process_row(pid: int, parent: int, comm: str) -> bytes:
    process, thread, tree = FIELDS["ProcessTree.Process"], FIELDS["ProcessTree.Thread"], FIELDS["ProcessTree"]
    told = integer(process["pid"], pid) + integer(process["ppid"], parent) + text(process["cmdline"], comm)
    main = integer(thread["tid"], pid) + text(thread["name"], comm) + integer(thread["tgid"], pid)
    return message(tree["processes"], told) + message(tree["threads"], main)


def _scheduling(timeline: Timeline, tasks: Mapping[int, str]) -> Iterator[bytes]:
    """sched_switch and sched_waking of every CPU, in bundles. Who was on a CPU before its first switch came at the beginning."""
    bundle, field = FIELDS["FtraceEventBundle"], FIELDS["TracePacket"]["ftrace_events"]
    waiting: list[list[bytes]] = [[] for _ in range(timeline.cpus)]
    running = _first_tasks(timeline)
    for cpu, pid in enumerate(running):
        if pid is not None and _pid(pid, tasks):
            waiting[cpu].append(_switch_event(timeline.start_ns, 0, pid, 0, tasks))
    for record, track in timeline.records:
        cpu = record.cpu
        if record.event == _SWITCH:
            waiting[cpu].append(_switch_event(record.time_ns, record.a, record.b, record.c, tasks))
            running[cpu] = record.b
        elif record.event == _WAKING:
            waiting[cpu].append(_waking_event(record, track, running[cpu] or 0, tasks))
        if len(waiting[cpu]) >= _BUNDLE:
            yield message(field, integer(bundle["cpu"], cpu) + b"".join(waiting[cpu]))
            waiting[cpu].clear()
    for cpu, events in enumerate(waiting):
        if events:
            yield message(field, integer(bundle["cpu"], cpu) + b"".join(events))


def _first_tasks(timeline: Timeline) -> list[int | None]:
    """Who leaves each CPU first, and so was there at the beginning; None where nobody does."""
    first: list[int | None] = [None] * timeline.cpus
    for record, _ in timeline.records:
        if record.event == _SWITCH and first[record.cpu] is None:
            first[record.cpu] = record.a
    return first


def _ftrace_event(time_ns: int, pid: int, flags: int, field: int, body: bytes) -> bytes:
    event = FIELDS["FtraceEvent"]
    told = integer(event["timestamp"], time_ns) + integer(event["pid"], pid)
    told += (integer(event["common_flags"], flags) if flags else b"") + message(field, body)
    return message(FIELDS["FtraceEventBundle"]["event"], told)


def _switch_event(time_ns: int, prev: int, after: int, state: int, tasks: Mapping[int, str]) -> bytes:
    field = FIELDS["SchedSwitchFtraceEvent"]
    body = text(field["prev_comm"], tasks.get(prev, "")) + integer(field["prev_pid"], _pid(prev, tasks))
    body += integer(field["prev_prio"], _PRIO)
    body += integer(field["prev_state"], _UNINTERRUPTIBLE if state == _WAITS_FOR_LOCK else state)
    body += text(field["next_comm"], tasks.get(after, "")) + integer(field["next_pid"], _pid(after, tasks))
    body += integer(field["next_prio"], _PRIO)
    return _ftrace_event(time_ns, _pid(prev, tasks), 0, FIELDS["FtraceEvent"]["sched_switch"], body)


def _waking_event(record: Record, track: int, by: int, tasks: Mapping[int, str]) -> bytes:
    field = FIELDS["SchedWakingFtraceEvent"]
    body = text(field["comm"], tasks.get(record.a, "")) + integer(field["pid"], _pid(record.a, tasks))
    body += integer(field["prio"], _PRIO) + integer(field["success"], 1) + integer(field["target_cpu"], record.b)
    flags = {HARDIRQ: _IN_HARDIRQ, SOFTIRQ: _IN_SOFTIRQ}.get(track, 0)
    return _ftrace_event(record.time_ns, _pid(by, tasks), flags, FIELDS["FtraceEvent"]["sched_waking"], body)


# -- softnet's own tracks


def track_uuid(index: int, cpu: int, track: int) -> int:
    """The number of a CPU's track: TASK, SOFTIRQ, HARDIRQ, and what stands beside them; never 0, which is everything's parent."""
    return (1 + index) << 32 | (1 + cpu) << 8 | track


def _descriptors(timeline: Timeline, arm: str, index: int, clock: str) -> Iterator[bytes]:
    prefix, suffix = (f"{arm} " if arm else "softnet "), (f" ({NO_TIMES})" if clock == COUNTER else "")
    unit = text(FIELDS["CounterDescriptor"]["unit_name"], "packets")
    counter = message(FIELDS["TrackDescriptor"]["counter"], unit)
    rows = [(track, _TRACK_NAMES[track], b"") for track in _ORDER]
    rows += [(_GROUP + 1 + n, name, counter) for n, name in enumerate(_QUEUES.values())]
    for cpu in range(timeline.cpus):
        group = track_uuid(index, cpu, _GROUP)
        yield descriptor(group, f"{prefix}CPU {cpu}{suffix}", rank=cpu)
        for rank, (track, name, more) in enumerate(rows):
            yield descriptor(track_uuid(index, cpu, track), name, rank=rank, parent=group, more=more)


def descriptor(uuid: int, name: str, *, rank: int, parent: int = 0, more: bytes = b"") -> bytes:
    """A packet that says what a track is called and where it stands: a group, whose tracks stand by rank, if it has no parent."""
    field = FIELDS["TrackDescriptor"]
    told = integer(field["uuid"], uuid) + text(field["name"], name) + integer(field["sibling_order_rank"], rank)
    told += integer(field["parent_uuid"], parent) if parent else integer(field["child_ordering"], _EXPLICIT)
    return message(FIELDS["TracePacket"]["track_descriptor"], told + more)


def whole(packet: bytes, index: int = 0) -> bytes:
    """A packet as a trace holds it; that of another ``index`` than 0 is another machine's."""
    # Perfetto tells sequences of different machines apart by themselves, people do not.
    told = packet + integer(FIELDS["TracePacket"]["trusted_packet_sequence_id"], 1 + index)
    return message(FIELDS["Trace"]["packet"], told + integer(FIELDS["TracePacket"]["machine_id"], index) if index else told)


class _Names:
    """Names of one kind that are told once, and are numbers from then on."""

    def __init__(self, field: int) -> None:
        self.field = field
        self.known: dict[str, int] = {}
        self.untold = b""

    def of(self, name: str) -> int:
        """The number of a name; what must be told of it before is added to ``untold``."""
        number = self.known.get(name)
        if number is None:
            number = self.known[name] = len(self.known) + 1
            told = integer(FIELDS["EventName"]["iid"], number) + text(FIELDS["EventName"]["name"], name)
            self.untold += message(self.field, told)
        return number


class Events:
    """The packets of track events. Perfetto sorts them by time; at one time, a track's come in the order of the file."""

    def __init__(self) -> None:
        interned = FIELDS["InternedData"]
        self.names = _Names(interned["event_names"])
        self.categories = _Names(interned["event_categories"])
        self.arguments = _Names(interned["debug_annotation_names"])
        self.sequence = _CLEARED | _NEEDED
        self.kinds: dict[tuple[str, int], bytes] = {}
        self.annotations: dict[tuple[str, int | str], bytes] = {}

    def event(self, time_ns: int, track: int, kind: str, more: bytes) -> bytes:
        """A packet with an event on the track of that number, and with the names that it is the first to use."""
        head = self.kinds.get((kind, track))
        if head is None:
            field = FIELDS["TrackEvent"]
            head = self.kinds[kind, track] = integer(field["type"], TYPES[kind]) + integer(field["track_uuid"], track)
        told = _TIMESTAMP + varint(time_ns) + message(_TRACK_EVENT, head + more) + integer(_SEQUENCE_FLAGS, self.sequence)
        self.sequence = _NEEDED
        untold = b""
        for names in (self.categories, self.names, self.arguments):
            if names.untold:
                untold += names.untold
                names.untold = b""
        return told + message(FIELDS["TracePacket"]["interned_data"], untold) if untold else told

    def slice(self, start_ns: int, end_ns: int, track: int, told: bytes) -> Iterator[bytes]:
        """The packets of its two ends."""
        yield self.event(start_ns, track, "TYPE_SLICE_BEGIN", told)
        yield self.event(end_ns, track, "TYPE_SLICE_END", b"")

    def named(self, name: str, category: str, arguments: Sequence[tuple[str, int | str]]) -> bytes:
        """The fields of an event that say what it is."""
        told = _NAME + varint(self.names.of(name)) + _CATEGORY + varint(self.categories.of(category))
        for argument in arguments:
            row = self.annotations.get(argument)
            if row is None:
                row = self._annotation(*argument)
                if len(self.annotations) < _REMEMBERED:
                    self.annotations[argument] = row
            told += row
        return told

    def _annotation(self, name: str, value: int | str) -> bytes:
        field = FIELDS["DebugAnnotation"]
        said = integer(field["int_value"], value) if isinstance(value, int) else text(field["string_value"], value)
        return message(FIELDS["TrackEvent"]["debug_annotations"], integer(field["name_iid"], self.arguments.of(name)) + said)


def flow(number: int, *, ends: bool = False) -> bytes:
    """The field of an event by which a flow comes through it, or ends there."""
    return fixed64(_FLOW_ENDS if ends else _FLOW, number)


class _Tracks(Events):
    """The packets of softnet's own tracks."""

    def __init__(self, timeline: Timeline, tasks: dict[int, str], index: int) -> None:
        super().__init__()
        self.timeline, self.tasks, self.index = timeline, tasks, index

    def _event(self, time_ns: int, cpu: int, track: int, kind: str, more: bytes) -> bytes:
        return self.event(time_ns, track_uuid(self.index, cpu, track), kind, more)

    def packets(self) -> Iterator[bytes]:
        """Each event's packet."""
        flows, ends = _flows(self.timeline, self.index)
        yield from self._slices(ends)
        yield from self._polls()
        for place, (record, track) in enumerate(self.timeline.records):
            if record.event not in _NO_INSTANT:
                yield self._instant(record, track, flows.get(place, b""))
        counters = {queue: _GROUP + 1 + n for n, queue in enumerate(_QUEUES)}
        for sample in self.timeline.samples:
            value = integer(FIELDS["TrackEvent"]["counter_value"], sample.value)
            if 0 <= sample.cpu < self.timeline.cpus:  # an event's argument, which a file may say anything in
                yield self._event(sample.time_ns, sample.cpu, counters[sample.queue], "TYPE_COUNTER", value)

    def _slices(self, ends: dict[tuple[int, int, int], list[int]]) -> Iterator[bytes]:
        """Hard and soft interrupts; tasks are on Perfetto's own tracks."""
        for s in self.timeline.slices:
            if s.track == TASK:
                continue
            told: list[tuple[str, int | str]] = [("vec" if s.track == SOFTIRQ else "vector", s.number)]
            if s.cut & GOES_BACK:
                told.append(("began", "before: this is the rest of it"))
            if s.cut & GOES_ON:
                told.append(("goes on", "later: it was interrupted here"))
            name = slice_name(s.track, s.number, s.data, self.tasks)
            arrived = b"".join(flow(number, ends=True) for number in ends.pop((s.cpu, s.track, s.start_ns), ()))
            yield from self.slice(
                s.start_ns, s.end_ns, track_uuid(self.index, s.cpu, s.track), self.named(name, TRACKS[s.track], told) + arrived
            )

    def _polls(self) -> Iterator[bytes]:
        """NAPI polls. The tracepoint says when one ends; it began when the softirq did, the poll before ended or its task came."""
        since = [self.timeline.start_ns] * self.timeline.cpus
        for record, _ in self.timeline.records:
            if record.event == _POLL and record.time_ns > since[record.cpu]:
                told = (("napi", record.a), ("work", record.b), ("budget", record.c))
                named = self.named(f"napi_poll: {record.b} of {record.c}", "napi", told)
                yield from self.slice(since[record.cpu], record.time_ns, track_uuid(self.index, record.cpu, _POLLS), named)
            if record.event in (_POLL, _SWITCH, _SOFTIRQ_ENTRY):
                since[record.cpu] = record.time_ns

    def _instant(self, record: Record, track: int, flow: bytes) -> bytes:
        told: list[tuple[str, int | str]] = [
            (name, f"{value} ({words})" if words else value) for name, value, words in arguments(record, self.tasks)
        ]
        event = EVENTS[record.event]
        told.append(("source", event.source))
        return self._event(record.time_ns, record.cpu, track, "TYPE_INSTANT", self.named(event.name, "event", told) + flow)


def _flows(timeline: Timeline, index: int) -> tuple[dict[int, bytes], dict[tuple[int, int, int], list[int]]]:
    """The flows of events, by their place among the records, and those that end at a slice, by (cpu, track, start).

    Of IPIs and function calls, and one for every skb from its allocation, or its first event, to where it is freed.
    """
    base = (1 + index) << 48
    out: dict[int, bytes] = {}
    ends: dict[tuple[int, int, int], list[int]] = {}
    starts: dict[tuple[int, int, int], list[int]] = {}
    called: dict[tuple[int, int], list[int]] = {}
    for place, arrow in enumerate(timeline.arrows):
        if arrow.kind != "wakeup":
            number = base | 1 << 40 | place
            starts.setdefault((_IPI if arrow.kind == "ipi" else _CALL, arrow.from_cpu, arrow.from_ns), []).append(number)
            if arrow.kind == "ipi":
                ends.setdefault((arrow.to_cpu, HARDIRQ, arrow.to_ns), []).append(number)
            else:
                called.setdefault((arrow.to_cpu, arrow.to_ns), []).append(number)
    skbs: dict[int, int] = {}
    for place, (record, _) in enumerate(timeline.records):
        event = record.event
        told = b"".join(flow(number) for number in starts.pop((event, record.cpu, record.time_ns), ()))
        if event == _CALLED:
            told += b"".join(flow(number, ends=True) for number in called.pop((record.cpu, record.time_ns), ()))
        if event in _OF_SKB:
            if event == _BEGINS or record.a not in skbs:
                skbs[record.a] = base | place
            last = event in _ENDS
            told += flow(skbs.pop(record.a) if last else skbs[record.a], ends=last)
        if told:
            out[place] = told
    return out, ends
