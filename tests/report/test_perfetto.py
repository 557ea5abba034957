# SPDX-License-Identifier: GPL-2.0-or-later
"""The Perfetto file, read by Perfetto's own published schema, and opened in its trace processor: it says what the timeline says."""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.samples import TASKS, kick_trace, record
from tests.report.test_timeline import any_trace
from tests.report.trace_processor import query

from softnet.report import perfetto, protobuf
from softnet.report.names import is_idle, task_names
from softnet.report.perfetto import FIELDS, SHOWN_AS_SLICES, TYPES, packets, track_uuid, write_perfetto
from softnet.report.timeline import HARDIRQ, SOFTIRQ, TASK, build
from softnet.simulate.api import Compared
from softnet.simulate.result import Trace
from softnet.trace import EVENTS

pb = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
UnknownFieldSet = pytest.importorskip("google.protobuf.unknown_fields").UnknownFieldSet


def decoded(trace: Trace) -> Any:
    """The trace as the published schema reads it."""
    whole = pb.Trace()
    whole.ParseFromString(b"".join(packets(trace)))
    return whole


class Read:
    """What a trace's packets say: slices and instants by track, scheduling events by CPU, counters, flows."""

    def __init__(self, trace: Trace) -> None:
        self.names: dict[int, str] = {}
        self.keys: dict[int, str] = {}
        self.tracks: dict[int, str] = {}
        self.slices: list[tuple[int, int, int]] = []
        self.instants: list[tuple[int, int, str, dict[str, Any]]] = []
        self.counters: list[tuple[int, int, int]] = []
        self.sched: dict[int, list[Any]] = defaultdict(list)
        self.flows: list[tuple[int, bool]] = []
        begun: dict[int, int] = {}
        for packet in decoded(trace).packet:
            assert not len(UnknownFieldSet(packet))
            self.names |= {row.iid: row.name for row in packet.interned_data.event_names}
            self.keys |= {row.iid: row.name for row in packet.interned_data.debug_annotation_names}
            for event in packet.ftrace_events.event:
                self.sched[packet.ftrace_events.cpu].append(event)
            if packet.HasField("track_descriptor"):
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor.name
            if packet.HasField("track_event"):
                self._event(packet.timestamp, packet.track_event, begun)
        assert not begun, "slices that never end"

    def _event(self, at: int, event: Any, begun: dict[int, int]) -> None:
        uuid = event.track_uuid
        assert uuid in self.tracks
        self.flows += [(flow, False) for flow in event.flow_ids] + [(flow, True) for flow in event.terminating_flow_ids]
        if event.type == TYPES["TYPE_SLICE_BEGIN"]:
            assert uuid not in begun
            assert self.names[event.name_iid]
            begun[uuid] = at
        elif event.type == TYPES["TYPE_SLICE_END"]:
            self.slices.append((uuid, begun.pop(uuid), at))
        elif event.type == TYPES["TYPE_COUNTER"]:
            self.counters.append((uuid, at, event.counter_value))
        else:
            told = {self.keys[a.name_iid]: a.string_value or a.int_value for a in event.debug_annotations}
            self.instants.append((uuid, at, self.names[event.name_iid], told))


def test_field_numbers_are_the_published_ones() -> None:
    for name, fields in {**FIELDS, "EventCategory": FIELDS["EventName"], "DebugAnnotationName": FIELDS["EventName"]}.items():
        published: Any = pb
        for part in name.split("."):
            published = getattr(published, part)
        numbers = {field: published.DESCRIPTOR.fields_by_name[field].number for field in fields}
        assert numbers == fields, name
    assert {name: pb.TrackEvent.Type.Value(name) for name in TYPES} == TYPES
    assert pb.TracePacket.SequenceFlags.Value("SEQ_INCREMENTAL_STATE_CLEARED") == perfetto._CLEARED
    assert pb.TracePacket.SequenceFlags.Value("SEQ_NEEDS_INCREMENTAL_STATE") == perfetto._NEEDED
    assert pb.TrackDescriptor.ChildTracksOrdering.Value("EXPLICIT") == perfetto._EXPLICIT


@pytest.mark.slow
@given(st.integers(-(1 << 63), (1 << 63) - 1), st.text(), st.integers(0, (1 << 64) - 1))
def test_the_wire_format_is_the_librarys(number: int, words: str, word: int) -> None:
    event = pb.TrackEvent(counter_value=number, flow_ids=[word], name=words.encode("utf-8", "replace").decode())
    mine = protobuf.text(23, words) + protobuf.integer(30, number) + protobuf.fixed64(47, word)
    again = pb.TrackEvent()
    again.ParseFromString(mine)
    assert again == event


def switches_of(read: Read, cpu: int) -> list[Any]:
    return [event for event in read.sched[cpu] if event.HasField("sched_switch")]


def test_a_kick() -> None:
    read = Read(kick_trace())
    cpu = {track: track_uuid(0, 0, track) for track in (TASK, SOFTIRQ, HARDIRQ)}
    assert read.tracks[track_uuid(0, 0, perfetto._GROUP)] == "softnet CPU 0"
    assert [read.tracks[cpu[track]] for track in (TASK, SOFTIRQ, HARDIRQ)] == ["task", "softirq", "hardirq"]
    assert (cpu[HARDIRQ], 900, 1100) in read.slices
    assert (cpu[SOFTIRQ], 1300, 1500) in read.slices
    [kick] = [told for _, _, name, told in read.instants if name == "kick_defer_list_purge"]
    assert kick == {"cpu": 0, "source": "function kick_defer_list_purge"}
    assert read.counters == [(track_uuid(0, 0, perfetto._GROUP + 2), 1400, 0)]
    switches = [(e.timestamp, e.sched_switch.prev_comm, e.sched_switch.next_pid) for e in switches_of(read, 0)]
    assert switches == [(1200, "swapper/0", 3), (1500, "ksoftirqd/0", 5), (1800, "cyclictest", 3), (2000, "ksoftirqd/0", 0)]
    [waking] = [e for e in read.sched[0] if e.HasField("sched_waking")]
    assert (waking.timestamp, waking.common_flags) == (1000, 8)
    assert (waking.sched_waking.comm, waking.sched_waking.target_cpu) == ("ksoftirqd/0", 0)


def test_who_was_there_before_the_first_switch_is_switched_to_at_the_beginning() -> None:
    trace = Trace((record(50, 0, "nic_rx"), record(90, 0, "sched_switch", 4, 1, 0x1000)), TASKS, 1)
    first, second = Read(trace).sched[0]
    assert (first.timestamp, first.sched_switch.prev_pid, first.sched_switch.next_comm) == (50, 0, "web")
    # A task that waits for a sleeping lock is told as uninterruptible, as the kernel tells it.
    assert (second.sched_switch.prev_pid, second.sched_switch.prev_state, second.sched_switch.next_pid) == (4, 2, 0)


@pytest.mark.slow
@given(any_trace)
def test_slices_instants_and_counters_are_those_of_the_timeline(trace: Trace) -> None:
    read, timeline = Read(trace), build(trace)
    polls = {track_uuid(0, cpu, perfetto._POLLS) for cpu in range(trace.cpus)}
    wanted = [(track_uuid(0, s.cpu, s.track), s.start_ns, s.end_ns) for s in timeline.slices if s.track != TASK]
    assert sorted(s for s in read.slices if s[0] not in polls) == sorted(wanted)
    instants = [
        (track_uuid(0, r.cpu, track), r.time_ns, EVENTS[r.event].name)
        for r, track in timeline.records if EVENTS[r.event].name not in SHOWN_AS_SLICES
    ]  # fmt: skip
    assert sorted(instant[:3] for instant in read.instants) == sorted(instants)
    assert [value for *_, value in read.counters] == [sample.value for sample in timeline.samples if sample.cpu < trace.cpus]


@pytest.mark.slow
@given(any_trace)
def test_scheduling_is_that_of_the_records(trace: Trace) -> None:
    read, tasks = Read(trace), task_names(trace)
    for cpu in range(trace.cpus):
        told = [(e.timestamp, e.sched_switch.prev_comm, e.sched_switch.next_comm) for e in switches_of(read, cpu)]
        own = sorted((r for r in trace.records if r.cpu == cpu and EVENTS[r.event].name == "sched_switch"), key=lambda r: r.time_ns)
        mine = [(r.time_ns, tasks.get(r.a, ""), tasks.get(r.b, "")) for r in own]
        assert told[len(told) - len(mine) :] == mine
        assert len(told) - len(mine) == bool(mine and not is_idle(mine[0][1]))
        assert all((e.sched_switch.next_pid == 0) == is_idle(e.sched_switch.next_comm) for e in switches_of(read, cpu))


@pytest.mark.slow
@given(any_trace)
def test_an_arrow_has_two_ends_and_an_skb_one_flow_from_its_allocation(trace: Trace) -> None:
    flows: dict[int, list[bool]] = defaultdict(list)
    for flow, ends in Read(trace).flows:
        flows[flow].append(ends)
    arrows = [told for flow, told in flows.items() if flow >> 40 & 1]
    assert all(told.count(False) == 1 for told in arrows)
    assert all(told.count(True) <= 1 for told in flows.values())
    allocated = sum(EVENTS[r.event].name == "alloc_skb" for r in trace.records)
    assert len([flow for flow in flows if not flow >> 40 & 1]) >= allocated


def test_a_file_holds_all_arms_and_the_same_bytes(tmp_path: Path) -> None:
    arms = {"6.9-rt": kick_trace(), "6.10-rt": kick_trace()}
    write_perfetto(tmp_path / "a.pftrace.gz", arms)
    write_perfetto(tmp_path / "b.pftrace.gz", arms)
    assert (tmp_path / "a.pftrace.gz").read_bytes() == (tmp_path / "b.pftrace.gz").read_bytes()
    whole = pb.Trace()
    whole.ParseFromString(gzip.decompress((tmp_path / "a.pftrace.gz").read_bytes()))
    groups = [p.track_descriptor.name for p in whole.packet if p.track_descriptor.name.rpartition(" ")[0].endswith("CPU")]
    assert groups == ["6.9-rt CPU 0", "6.9-rt CPU 1", "6.10-rt CPU 0", "6.10-rt CPU 1"]
    assert {(p.machine_id, p.trusted_packet_sequence_id) for p in whole.packet} == {(0, 1), (1, 2)}


def test_a_nanosecond_late_in_a_long_run_is_kept() -> None:
    trace = Trace((record(10**15 + 1, 0, "nic_rx"),), TASKS, 1)
    [(_, at, _, _)] = Read(trace).instants
    assert at == 10**15 + 1


@pytest.mark.slow
def test_the_trace_processor_sees_cpus_threads_and_packets(kicked: Compared, tmp_path: Path) -> None:
    """Both arms and the kick by hand in one file; Perfetto's tables against the timelines."""
    arms = {**kicked.traces, "by hand": kick_trace()}
    write_perfetto(tmp_path / "both.pftrace.gz", arms)
    sched, slices, states, errors, flows, wakers, counters = query(
        (tmp_path / "both.pftrace.gz").read_bytes(),
        "select ifnull(c.machine_id, 0) as machine, c.cpu as cpu, thread.name as name, count(*) as n, sum(dur) as ns"
        " from sched join cpu c using(ucpu) join thread using(utid) where tid != 0 group by 1, 2, 3",
        "select p.name as cpu, t.name as track, count(*) as n, sum(s.dur) as ns from slice s join track t on s.track_id = t.id"
        " join track p on t.parent_id = p.id where s.dur > 0 group by 1, 2",
        "select distinct end_state from sched",
        "select name, value from stats where value > 0 and severity in ('error', 'data_loss')",
        "select o.name as a, i.name as b, count(*) as n from flow join slice o on o.id = slice_out"
        " join slice i on i.id = slice_in group by 1, 2",
        "select count(*) as n from thread_state where waker_utid is not null",
        "select max(value) as most from counter join counter_track t on t.id = track_id where t.name = 'defer list'",
    )
    assert errors == []
    wanted: dict[tuple[int, int, str], list[int]] = defaultdict(lambda: [0, 0])
    tracks: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    longest, kinds = 0, Counter[str]()
    for machine, (arm, trace) in enumerate(arms.items()):
        timeline, tasks = build(trace), task_names(trace)
        for s in timeline.slices:
            if s.track == TASK and is_idle(tasks[s.number]):
                continue
            track = ("", "softirq", "hardirq")[s.track]
            row = tracks[f"{arm} CPU {s.cpu}", track] if track else wanted[machine, s.cpu, tasks[s.number]]
            row[0] += 1
            row[1] += s.end_ns - s.start_ns
        longest = max([longest, *(sample.value for sample in timeline.samples if sample.queue == "defer_list")])
        kinds.update(arrow.kind for arrow in timeline.arrows)
    assert {(row["machine"], row["cpu"], row["name"]): [row["n"], row["ns"]] for row in sched} == wanted
    softnet = {(row["cpu"], row["track"]): [row["n"], row["ns"]] for row in slices if row["track"] != "NAPI polls"}
    assert softnet == tracks
    assert any(row["track"] == "NAPI polls" for row in slices)
    assert {row["end_state"] for row in states} <= {None, "R", "S", "D"}
    found = {(row["a"], row["b"]): row["n"] for row in flows}
    assert found["ipi_send_cpu", "CALL_FUNCTION_SINGLE"] == kinds["ipi"] == 1
    assert found["csd_queue_cpu", "csd_function_entry"] == kinds["call"] > 1
    assert found["alloc_skb", "gro_receive"] == sum(EVENTS[r.event].name == "alloc_skb" for t in arms.values() for r in t.records)
    assert counters == [{"most": float(longest)}]
    assert 0 < wakers[0]["n"] <= kinds["wakeup"] + 1
