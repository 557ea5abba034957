# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace becomes slices that never overlap and that say what the trace says; arrows join causes and effects."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.samples import CALL_FUNCTION, DEVICE, NET_RX, TASKS, kick_trace, record

from softnet.report.timeline import GOES_BACK, GOES_ON, HARDIRQ, SOFTIRQ, TASK, Arrow, Sample, Slice, build
from softnet.simulate.result import Trace
from softnet.trace import EVENT_ID, EVENTS, Record


def test_a_kick_by_ipi_as_slices() -> None:
    timeline = build(kick_trace())
    assert timeline.track(0, HARDIRQ) == [Slice(0, HARDIRQ, 900, 1100, CALL_FUNCTION, 0, 0)]
    assert timeline.track(0, SOFTIRQ) == [
        Slice(0, SOFTIRQ, 1300, 1500, NET_RX, 0, GOES_ON),
        Slice(0, SOFTIRQ, 1800, 1900, NET_RX, 0, GOES_BACK),
    ]
    assert [(s.start_ns, s.end_ns, s.number) for s in timeline.track(0, TASK)] == [
        (100, 1200, 1), (1200, 1500, 3), (1500, 1800, 5), (1800, 2000, 3), (2000, 2500, 1),
    ]  # fmt: skip
    assert timeline.track(1, TASK) == [Slice(1, TASK, 100, 2500, 4, 0, 0)]


def test_a_kick_by_ipi_as_arrows() -> None:
    assert build(kick_trace()).arrows == (
        Arrow("ipi", CALL_FUNCTION, 350, 1, TASK, 900, 0, HARDIRQ),
        Arrow("wakeup", 3, 1000, 0, HARDIRQ, 1200, 0, TASK),
    )


def test_two_ipis_that_wait_together_share_one_handler() -> None:
    records = (
        record(10, 1, "ipi_send_cpu", 0, CALL_FUNCTION),
        record(20, 2, "ipi_send_cpu", 0, CALL_FUNCTION),
        record(50, 0, "irq_handler_entry", CALL_FUNCTION),
        record(60, 0, "irq_handler_exit", CALL_FUNCTION),
        record(90, 0, "irq_handler_entry", CALL_FUNCTION),
        record(95, 0, "irq_handler_exit", CALL_FUNCTION),
    )
    arrows = build(Trace(records, TASKS, 3)).arrows
    assert [(a.from_cpu, a.to_ns) for a in arrows] == [(1, 50), (2, 50)]


def test_a_call_to_a_polling_cpu_needs_no_ipi_and_still_has_its_arrow() -> None:
    records = (
        record(10, 1, "csd_queue_cpu", 0),
        record(30, 0, "csd_function_entry"),
        record(40, 0, "csd_function_exit"),
    )
    [arrow] = build(Trace(records, TASKS, 2)).arrows
    assert (arrow.kind, arrow.from_ns, arrow.to_ns, arrow.to_cpu) == ("call", 10, 30, 0)


def test_what_began_before_the_trace_or_ends_after_it_is_there() -> None:
    records = (
        record(0, 0, "napi_poll"),
        record(40, 0, "softirq_exit", NET_RX),
        record(70, 0, "irq_handler_exit", DEVICE, 1),
        record(80, 0, "irq_handler_entry", DEVICE, 2),
        record(100, 0, "nic_rx"),
    )
    assert set(build(Trace(records, TASKS, 1)).slices) == {
        Slice(0, SOFTIRQ, 0, 40, NET_RX, 0, GOES_BACK),
        Slice(0, HARDIRQ, 0, 70, DEVICE, 1, GOES_BACK),
        Slice(0, HARDIRQ, 80, 100, DEVICE, 2, GOES_ON),
    }


def test_queue_lengths_where_events_say_them() -> None:
    records = (
        record(1, 0, "enqueue_to_backlog", 7, 1, 1),
        record(2, 0, "enqueue_to_backlog", 8, 1, 2),
        record(3, 1, "process_backlog", 64, 64),
        record(4, 1, "process_backlog", 2, 64),
        record(5, 1, "skb_attempt_defer_free", 7, 0, 1),
        record(6, 0, "skb_defer_free_flush", 1),
    )
    assert build(Trace(records, TASKS, 2)).samples == (
        Sample(1, 1, "backlog", 1),
        Sample(2, 1, "backlog", 2),
        Sample(4, 1, "backlog", 0),
        Sample(5, 0, "defer_list", 1),
        Sample(6, 0, "defer_list", 0),
    )


def test_an_empty_trace_is_an_empty_timeline() -> None:
    timeline = build(Trace((), (), 2))
    assert (timeline.slices, timeline.arrows, timeline.records) == ((), (), ())


INTERESTING = [EVENT_ID[n] for n in (
    "irq_handler_entry", "irq_handler_exit", "softirq_entry", "softirq_exit", "sched_switch", "sched_waking", "ipi_send_cpu",
    "csd_queue_cpu", "csd_function_entry",
)]  # fmt: skip

any_record = st.builds(
    Record,
    st.integers(0, 60), st.integers(0, 2), st.integers(0, 2),
    st.one_of(st.sampled_from(INTERESTING), st.integers(0, len(EVENTS) - 1)),
    st.integers(0, 4), st.integers(0, 4), st.integers(0, 4),
)  # fmt: skip
any_trace = st.lists(any_record, max_size=60).map(lambda rs: Trace(tuple(rs), TASKS, 3))


@given(any_trace)
def test_slices_of_one_track_never_overlap_whatever_the_trace(trace: Trace) -> None:
    timeline = build(trace)
    by_track: dict[tuple[int, int], list[Slice]] = defaultdict(list)
    for s in timeline.slices:
        by_track[s.cpu, s.track].append(s)
    for slices in by_track.values():
        for before, after in itertools.pairwise(slices):
            assert before.end_ns <= after.start_ns
    for s in timeline.slices:
        assert timeline.start_ns <= s.start_ns < s.end_ns <= timeline.end_ns


@pytest.mark.slow
@given(any_trace)
def test_arrows_go_forward_and_records_all_stay(trace: Trace) -> None:
    timeline = build(trace)
    assert all(a.from_ns <= a.to_ns for a in timeline.arrows)
    assert sorted(r for r, _ in timeline.records) == sorted(trace.records)
    times = [r.time_ns for r, _ in timeline.records]
    assert times == sorted(times)


class Cpu:
    """A CPU that behaves: what it does is known at every nanosecond, so the slices can be checked against it."""

    def __init__(self) -> None:
        self.pid = 1
        self.open: dict[int, int] = {}
        self.irq = 0


@st.composite
def behaved(draw: st.DrawFn) -> tuple[Trace, list[tuple[int, int, int]]]:
    """A well-formed trace of one CPU, and for each nanosecond (task, softirq or -1, vector or -1)."""
    cpu, records, truth, now = Cpu(), [record(0, 0, "sched_switch", 2, 1)], [], 0
    for action in draw(st.lists(st.sampled_from(["wait", "switch", "softirq", "irq"]), max_size=40)):
        if action == "wait" or (action == "switch" and cpu.irq):
            length = draw(st.integers(1, 5))
            truth += [(cpu.pid, cpu.open.get(cpu.pid, -1), cpu.irq or -1)] * length
            now += length
        elif action == "switch":
            nxt = draw(st.sampled_from([p for p in (1, 2, 3) if p != cpu.pid]))
            records.append(record(now, 0, "sched_switch", cpu.pid, nxt))
            cpu.pid = nxt
        elif action == "softirq" and not cpu.irq:
            vec = cpu.open.pop(cpu.pid, None)
            if vec is None:
                cpu.open[cpu.pid] = vec = draw(st.integers(0, 9))
                records.append(record(now, 0, "softirq_entry", vec))
            else:
                records.append(record(now, 0, "softirq_exit", vec))
        elif action == "irq":
            vector = cpu.irq or draw(st.integers(1, 4))
            records.append(record(now, 0, "irq_handler_exit" if cpu.irq else "irq_handler_entry", vector))
            cpu.irq = 0 if cpu.irq else vector
    records.append(record(now, 0, "nic_rx"))
    return Trace(tuple(records), TASKS, 1), truth


@given(behaved())
def test_slices_cover_exactly_what_ran(case: tuple[Trace, list[tuple[int, int, int]]]) -> None:
    trace, truth = case
    found = [[-1, -1, -1] for _ in truth]
    for s in build(trace).slices:
        for at in range(s.start_ns, s.end_ns):
            assert found[at][s.track] == -1
            found[at][s.track] = s.number
    assert found == [list(row) for row in truth]


@pytest.mark.parametrize("track", [TASK, SOFTIRQ, HARDIRQ])
def test_a_record_without_slices_stands_where_it_says(track: int) -> None:
    timeline = build(Trace((record(5, 0, "kick_defer_list_purge", 1, context=track),), TASKS, 1))
    assert [t for _, t in timeline.records] == [track]
