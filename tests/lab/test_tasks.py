# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a task can be and when a thread has been woken: for each rule what it refuses, and the nearest that it must not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.lab.falsify import Falsification

from softnet.lab.errors import LabError
from softnet.lab.tracing.records import HARDIRQ, SOFTIRQ, TASK, LabRecord, LabTrace, read
from softnet.lab.validate.checker import check
from softnet.lab.validate.grammar import ungrammatical
from softnet.lab.validate.tasks import Tasks, bound

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = {14: "ksoftirqd/1", 15: "backlog_napi/1", 20: "cpuhp/1", 21: "kworker/1:0H", 30: "reader"}
FREE = "skb_attempt_defer_free"
SLEEPS, PREEMPTED = 1, 256


def _wrong(records: Sequence[LabRecord], *, rt: bool = False, gone: Sequence[int] = ()) -> dict[int, str]:
    return Tasks(records, tasks=NAMES, pinned={30: 0}, gone=gone, rt=rt).wrong


def _at(cpu: int, event: str, pid: int, context: int = TASK, **words: int) -> LabRecord:
    return LabRecord(0, cpu, context, event, words.get("a", 0), words.get("b", 0), words.get("c", 0), pid)


def _waking(cpu: int, of: int, by: int, context: int = TASK) -> LabRecord:
    return _at(cpu, "sched_waking", by, context, a=of, b=1)


def _leaves(thread: int, state: int = SLEEPS) -> LabRecord:
    return _at(1, "sched_switch", thread, a=thread, b=0, c=state)


def _softirq(cpu: int, pid: int) -> tuple[LabRecord, LabRecord]:
    return _at(cpu, "softirq_entry", pid, SOFTIRQ, a=3), _at(cpu, "softirq_exit", pid, SOFTIRQ, a=3)


def test_the_threads_of_one_cpu() -> None:
    assert bound(NAMES) == {14: 1, 15: 1, 20: 1}
    assert bound(NAMES, gone=[1]) == {}


@pytest.mark.parametrize("context", [TASK, SOFTIRQ, HARDIRQ])
def test_a_task_that_has_one_cpu_is_on_it_whatever_interrupts_it(context: int) -> None:
    assert _wrong([_at(2, FREE, 20, context)]) == {0: "a thread of CPU 1 runs on CPU 2"}
    assert _wrong([_at(1, FREE, 30, context)]) == {0: "reader runs on CPU 1, and is pinned to CPU 0"}
    assert not _wrong([_at(1, FREE, 20, context), _at(0, FREE, 30, context), _at(2, FREE, 21, context)])


def test_a_task_whose_cpu_goes_down_is_elsewhere() -> None:
    assert not _wrong([_at(2, FREE, 20), _at(3, FREE, 30)], gone=[0, 1])


def test_nothing_but_interrupts_runs_where_a_softirq_or_an_enqueue_is_under_way() -> None:
    entry, over = _softirq(2, 7)
    assert _wrong([entry, _at(2, FREE, 8), over]) == {1: "task 8 runs on CPU 2, where task 7 is in NET_RX"}
    assert _wrong([entry, _at(2, FREE, 7), over]) == {1: "task 7 runs on CPU 2, where task 7 is in NET_RX"}
    assert not _wrong([entry, _at(2, "trigger_rx_softirq", 7, HARDIRQ), over, _at(2, FREE, 8)])
    # On PREEMPT_RT both can be preempted.
    assert not _wrong([entry, _at(2, FREE, 8), over], rt=True)
    queues, queued = _at(2, "enqueue_to_backlog", 7), _at(2, "enqueue_to_backlog_ret", 7)
    assert _wrong([queues, _softirq(2, 7)[0], queued])[1] == "task 7 runs on CPU 2, where task 7 is in enqueue_to_backlog()"
    assert not _wrong([queues, _at(2, "rps_trigger_softirq", 7, HARDIRQ), queued, _softirq(2, 7)[0]])


@pytest.mark.parametrize("rt", [False, True])
def test_a_task_in_a_softirq_is_nowhere_else(rt: bool) -> None:
    entry, over = _softirq(2, 7)
    assert _wrong([entry, _at(3, FREE, 7), over], rt=rt) == {1: "task 7 is on CPU 3, and on CPU 2 in NET_RX"}
    assert not _wrong([entry, over, _at(3, FREE, 7)], rt=rt)
    # The idle task is everywhere.
    entry, over = _softirq(2, 0)
    assert not _wrong([entry, _at(3, FREE, 0), over], rt=rt)


def test_each_cpu_wakes_its_own_ksoftirqd() -> None:
    assert _wrong([_waking(0, 14, 7)]) == {0: "ksoftirqd/1 is woken on CPU 0; each CPU wakes its own"}
    assert not _wrong([_waking(1, 14, 7), _waking(0, 15, 7)])
    # There a lock may be given up anywhere.
    assert not _wrong([_waking(0, 14, 7)], rt=True)


@pytest.mark.parametrize("rt", [False, True])
def test_a_thread_that_went_to_sleep_was_woken_before_it_runs(rt: bool) -> None:
    runs = _softirq(1, 14)[0]
    wrong = _wrong([_leaves(14), runs], rt=rt)
    assert wrong == {1: "ksoftirqd/1 runs, which went to sleep and was not woken"}
    assert not _wrong([_leaves(14), _waking(1, 14, 7), runs], rt=rt)
    assert not _wrong([_leaves(14, PREEMPTED), runs], rt=rt)
    twice = "ksoftirqd/1 is switched out, which went to sleep and was not woken"
    assert _wrong([_leaves(14), _leaves(14)], rt=rt) == {1: twice}
    # Who wakes from another CPU may be seen to before the switch: the thread is off its CPU by then.
    assert not _wrong([_waking(0, 15, 7), _leaves(15), _at(1, "process_backlog_entry", 15)], rt=rt)


def test_a_waker_of_another_cpu_may_stand_still_before_it_wakes() -> None:
    """sched_waking comes first, and then the state: an interrupt of the thread that falls asleep may be in between."""
    asleep = [_waking(0, 15, 7), _at(1, "softirq_raise", 15, HARDIRQ, a=3), _leaves(15)]
    runs = _at(1, "process_backlog_entry", 15)
    assert not _wrong([*asleep, runs])
    # Not where that CPU has gone on: then its wakeup was over before the thread slept.
    assert _wrong([asleep[0], _at(0, FREE, 7), *asleep[1:], runs]) == {
        4: "backlog_napi/1 runs, which went to sleep and was not woken"
    }


def test_a_thread_is_not_woken_twice_without_having_run() -> None:
    twice = "ksoftirqd/1 is woken, which has not slept since it was woken before"
    assert _wrong([_leaves(14), _waking(1, 14, 7), _waking(1, 14, 7)]) == {2: twice}
    assert not _wrong([_leaves(14), _waking(1, 14, 7), _leaves(14), _waking(1, 14, 7)])
    # Without switches in the trace it may have run, and found nothing to do.
    assert not _wrong([_waking(1, 14, 7), _waking(1, 14, 7)])
    # An interrupt may wake the very thread that is about to sleep.
    assert not _wrong([_leaves(14), _waking(1, 14, 7), _waking(1, 14, 14)])
    poll = _at(1, "napi_poll", 15, a=5)
    twice = "backlog_napi/1 is woken, which has not slept since it was woken before"
    assert _wrong([poll, _waking(0, 15, 7), _waking(2, 15, 8)]) == {2: twice}
    assert not _wrong([poll, _waking(0, 15, 7), poll, _waking(2, 15, 8)])


def test_on_preempt_rt_only_the_threads_own_cpu_tells_that_it_was_woken_twice() -> None:
    twice = "backlog_napi/1 is woken, which has not slept since it was woken before"
    assert _wrong([_leaves(15), _waking(1, 15, 7), _waking(1, 15, 7)], rt=True) == {2: twice}
    assert not _wrong([_leaves(15), _waking(0, 15, 7), _waking(2, 15, 8)], rt=True)
    assert not _wrong([_leaves(15), _waking(1, 15, 7), _leaves(15, PREEMPTED), _waking(1, 15, 7)], rt=True)


@pytest.mark.parametrize(
    ("trace", "line", "way", "reason"),
    [
        ("first-kick-6.12", 29, "moved", "python3 runs on CPU 2, and is pinned to CPU 1"),
        ("side-by-side-6.12", 1045, "moved", "ksoftirqd/3 is woken on CPU 0; each CPU wakes its own"),
        ("kick-late-6.12-threads", 1105, "removed", "backlog_napi/0 runs, which went to sleep and was not woken"),
        ("load-6.12-threads", 720, "doubled", "is woken, which has not slept since it was woken before"),
    ],
)
def test_real_traces_with_one_event_that_is_false(trace: str, line: int, way: str, reason: str) -> None:
    false = Falsification(line - 2, way).of(read(FIXTURES / f"{trace}.jsonl.gz"))
    assert any(reason in text for text in ungrammatical(false).values())


def test_pins_are_cpus_by_tasks() -> None:
    trace = read(FIXTURES / "first-kick-6.12.jsonl.gz")
    for pinned in ({"155": 4}, {"155": True}, {"x": 1}, [155]):
        with pytest.raises(LabError, match="pinned is not what it should be"):
            check(LabTrace({**trace.header, "pinned": pinned}, trace.records))
