# SPDX-License-Identifier: GPL-2.0-or-later
"""What no kernel can have written into a trace, whatever its state: and that none of the real kernels did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.lab.falsify import ACCEPTED, REFUSED, WAYS, Falsification, chosen, outcome

from softnet.lab.tracing.records import HARDIRQ, SOFTIRQ, LabRecord, LabTrace, read
from softnet.lab.validate.checker import check
from softnet.lab.validate.grammar import ungrammatical

FIXTURES = Path(__file__).parent / "fixtures"
TRACES = sorted(FIXTURES.glob("*.jsonl.gz"))


def _load() -> LabTrace:
    return read(FIXTURES / "load-6.12.jsonl.gz")


def _nth(trace: LabTrace, event: str, number: int = 25) -> int:
    return [at for at, record in enumerate(trace.records) if record.event == event][number]


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name.removesuffix(".jsonl.gz"))
def test_no_kernel_has_written_what_none_can(path: Path) -> None:
    assert ungrammatical(read(path)) == {}


@pytest.mark.parametrize(
    ("event", "way", "reason"),
    [
        ("rps_trigger_softirq", "moved", "rps_trigger_softirq() runs on CPU 3, to which no IPI is on its way"),
        ("rps_trigger_softirq", "removed", "NET_RX is raised on CPU 2 by nothing that is in the trace"),
        ("softirq_raise", "doubled", "by nothing that is in the trace"),
        ("enqueue_to_backlog", "removed", "queues nothing"),
        ("enqueue_to_backlog", "moved", "queues nothing"),
        ("enqueue_to_backlog_ret", "removed", "within enqueue_to_backlog()"),
        ("enqueue_to_backlog_ret", "doubled", "where it has not begun"),
        ("netif_rx", "removed", "that netif_rx() did not get"),
        ("process_backlog_entry", "moved", "process_backlog() ends on CPU 2, where it has not begun"),
        ("process_backlog_entry", "doubled", "process_backlog() begins on CPU 2 within process_backlog()"),
        ("process_backlog", "removed", "the tracepoint napi_poll on CPU 2 follows no poll"),
        ("napi_poll", "removed", "the tracepoint napi_poll does not follow the poll on CPU 2"),
        ("napi_poll", "doubled", "the tracepoint napi_poll on CPU 2 follows no poll"),
        ("net_rx_action_entry", "removed", "net_rx_action() ends on CPU"),
        ("net_rx_action_entry", "doubled", "within net_rx_action()"),
        ("net_rx_action", "doubled", "net_rx_action() ends on CPU"),
        ("softirq_entry", "removed", "outside of its softirq"),
        ("softirq_exit", "removed", "NET_RX begins on CPU"),
        ("softirq_exit", "moved", "NET_RX begins on CPU"),
    ],
)
def test_an_event_that_cannot_be_there_is_refused_with_the_reason(event: str, way: str, reason: str) -> None:
    trace = _load()
    false = Falsification(_nth(trace, event), way).of(trace)
    wrong = ungrammatical(false)
    assert wrong
    assert any(reason in text for text in wrong.values()), wrong


def test_the_checker_refuses_what_is_ungrammatical_at_its_place() -> None:
    trace = _load()
    at = _nth(trace, "rps_trigger_softirq")
    verdict = check(Falsification(at, "moved").of(trace))
    assert not verdict.accepted
    assert verdict.line == at + 2
    assert verdict.reasons == ["rps_trigger_softirq() runs on CPU 3, to which no IPI is on its way"]


def test_an_ipi_that_came_into_a_kprobes_handler_is_missed_and_no_refusal() -> None:
    """A real one: the interrupt's raise stands between enqueue_to_backlog()'s entry and its return, and its function nowhere."""
    trace = read(FIXTURES / "flag-late-6.1.jsonl.gz")
    records = trace.records
    raised = [at for at, record in enumerate(records) if record.event == "softirq_raise" and record.context == HARDIRQ]
    at = next(at for at in raised if at > 100 and records[at - 1].event == "enqueue_to_backlog")
    assert not ungrammatical(trace)
    # The same interrupt where no kprobe was near: nothing of it could have been missed.
    moved = [*records[:at], *records[at + 1 :]]
    place = next(n for n in range(at, len(moved)) if moved[n].event == "softirq_exit" and moved[n].cpu == records[at].cpu)
    quiet = replace(records[at], pid=0)
    idle = LabRecord(0, quiet.cpu, 0, "sched_waking", 1, 1, pid=0, text="ksoftirqd/1")
    moved[place + 1 : place + 1] = [idle, quiet, idle]
    assert any("by nothing that is in the trace" in text for text in ungrammatical(LabTrace(trace.header, moved)).values())


def test_a_packet_that_came_into_a_kprobes_handler_is_missed_and_no_refusal() -> None:
    """A real one: a timer's softirq got a packet by netif_rx() and raised NET_RX, and its enqueue is nowhere."""
    trace = read(FIXTURES / "missed-enqueue-6.18-threads.jsonl.gz")
    events = [record.event for record in trace.records]
    at = next(at for at in range(len(events)) if events[at : at + 2] == ["netif_rx", "softirq_raise"])
    assert trace.records[at].context == SOFTIRQ
    assert events[at - 1] == "skb_attempt_defer_free"
    assert check(trace).accepted
    assert "by nothing" in ungrammatical(Falsification(at, "removed").of(trace))[at]
    # Without a kprobe below it nothing can have been missed.
    trace.records[at - 1] = replace(trace.records[at - 1], event="consume_skb")
    assert "by nothing" in ungrammatical(trace)[at + 1]


@pytest.mark.parametrize(("arm", "may"), [("6.12-rt", True), ("6.12-threads", False)])
def test_on_preempt_rt_a_task_may_lose_its_cpu_between_a_poll_and_its_tracepoint(arm: str, may: bool) -> None:
    trace = read(FIXTURES / f"load-{arm}.jsonl.gz")
    at = _nth(trace, "process_backlog")
    poll = trace.records[at]
    trace.records.insert(at + 1, replace(poll, event="sched_switch", a=poll.pid, b=0, c=256, text="backlog_napi/2"))
    assert any("napi_poll" in text for text in ungrammatical(trace).values()) != may


def test_a_thread_of_one_cpu_does_not_run_on_another() -> None:
    trace = read(FIXTURES / "load-6.12-threads.jsonl.gz")
    at = _nth(trace, "process_backlog_entry")
    wrong = ungrammatical(Falsification(at, "moved").of(trace))
    assert wrong[at] == f"a thread of CPU {trace.records[at].cpu} runs on CPU {trace.records[at].cpu + 1}"


def test_full_buffers_miss_records_and_prove_nothing() -> None:
    trace = _load()
    false = Falsification(_nth(trace, "napi_poll"), "removed").of(trace)
    assert ungrammatical(false)
    assert not ungrammatical(LabTrace({**false.header, "lost": {"cpu0 overrun": 7}}, false.records))


def test_an_skb_that_no_list_has_is_freed_by_no_flush() -> None:
    """One that the trace never showed before: the checker's own state says so, not the order of events."""
    trace = _load()
    at = _nth(trace, "consume_skb", 12)
    records = [*trace.records[: at + 1], replace(trace.records[at], a=4711), *trace.records[at + 1 :]]
    assert not ungrammatical(LabTrace(trace.header, records))
    verdict = check(LabTrace(trace.header, records))
    assert not verdict.accepted
    assert "flush freed skb 4711, which is on no list of the model's" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("trace", "line", "way", "reason"),
    [
        # A thread's kprobes are not missed: nothing runs in a handler but interrupts.
        ("load-6.12-threads", 274, "doubled", "the tracepoint napi_poll on CPU 2 follows no poll"),
        # Where everything rested when the trace began, nothing was open.
        ("first-kick-6.12", 67, "removed", "net_rx_action() begins on CPU 0 outside of its softirq"),
        # Nor where the CPU has done something since that nobody does with bottom halves off; on PREEMPT_RT, another task's softirq.
        ("gate-6.1", 385, "removed", "net_rx_action() begins on CPU 2 outside of its softirq"),
        ("load-6.1-rt", 227, "removed", "net_rx_action() begins on CPU 2 outside of its softirq"),
        # A kick is of a free, a work item of a kick too; an interrupt whose function was missed was sent.
        ("first-kick-6.1-rt", 41, "doubled", "the work item of a kick on CPU 1 of no free"),
        # Of a flush, whether or not the list is known; of a thread's, too.
        ("load-6.12", 213, "doubled", "a flush on CPU 0 frees skb 1, which was freed and has not been deferred since"),
        ("load-6.12-threads", 157, "doubled", "which was freed and has not been deferred since"),
        # One card is polled on CPU 0.
        ("card-6.12", 356, "doubled", "NET_RX is raised on CPU 0 once more than the CPU has cards to poll"),
        # A CPU goes down in these: its packets come by netif_rx(), its interrupts of RPS from a task.
        ("side-by-side-6.12", 420, "removed", "that netif_rx() did not get"),
        ("hotplug-6.12-rt", 299, "doubled", "by nothing that is in the trace"),
    ],
)
def test_what_only_some_traces_tell(trace: str, line: int, way: str, reason: str) -> None:
    wrong = ungrammatical(Falsification(line - 2, way).of(read(FIXTURES / f"{trace}.jsonl.gz")))
    assert any(reason in text for text in wrong.values()), wrong


def test_an_skb_may_come_to_a_flush_again_once_it_was_deferred_again() -> None:
    """The same address: with the second free between the two, or in a kernel that also defers in softirqs, it proves nothing."""
    trace = _load()
    at = _nth(trace, "consume_skb", 12)
    freed, deferred = trace.records[at], next(record for record in trace.records if record.event == "skb_attempt_defer_free")
    again = [*trace.records[: at + 1], replace(deferred, a=freed.a), *trace.records[at:]]
    assert not any("has not been deferred since" in text for text in ungrammatical(LabTrace(trace.header, again)).values())
    twice = [*trace.records[: at + 1], *trace.records[at:]]
    assert ungrammatical(LabTrace(trace.header, twice))
    assert not ungrammatical(LabTrace({**trace.header, "release": "7.3.4"}, twice))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trace", "line", "reason"),
    [
        ("card-6.12", 325, "CPU 0's flush freed skb 51; next on the list that it took is skb 50"),
        (
            "begins-in-a-kick-6.12",
            29,
            "CPU 0's flush freed skb 18; next on the list that it took is one that was there when the trace began",
        ),
    ],
)
def test_a_flush_frees_one_after_another_whatever_else_its_cpu_does(trace: str, line: int, reason: str) -> None:
    """A card's CPU frees other skbs, too, but not in the middle of a flush; and one that was freed was not there at first."""
    verdict = check(Falsification(line - 2, "doubled").of(read(FIXTURES / f"{trace}.jsonl.gz")))
    assert not verdict.accepted
    assert verdict.reasons == [reason]


def test_an_skb_on_a_list_is_not_deferred_once_more() -> None:
    at = _nth(_load(), "skb_attempt_defer_free", 12)
    verdict = check(Falsification(at, "doubled").of(_load()))
    assert verdict.line == at + 3
    assert verdict.reasons == [f"skb {_load().records[at].a} is deferred, which is on a list of the model's already"]


def test_an_skb_on_a_list_is_not_queued() -> None:
    records = _load().records
    deferred = next(at for at, record in enumerate(records) if record.event == "skb_attempt_defer_free" and at > 100)
    # Before a flush frees it another packet is queued.
    at = next(at for at in range(deferred, deferred + 40) if records[at].event == "enqueue_to_backlog")
    assert not any(record.event == "consume_skb" for record in records[deferred:at])
    records[at] = replace(records[at], a=records[deferred].a)
    verdict = check(LabTrace(_load().header, records))
    assert verdict.line == at + 2
    assert verdict.reasons == [f"skb {records[deferred].a} is queued, which is on a list of the model's"]


def test_a_mark_is_the_experiments_own_word() -> None:
    """No event that the kernel was held to: what it says of a setting is taken, and what follows is held against that."""
    trace = read(FIXTURES / "mark-late-6.12.jsonl.gz")
    verdict = check(trace)
    assert verdict.context["mark"] == 1
    assert any(name.endswith(" changed") for name in verdict.covered)


def test_what_the_checker_still_takes_of_a_trace_is_known() -> None:
    """Of a real load's single falsifications only these pass by the order of its events; most of them the model refuses."""
    trace = _load()
    passed = [one for one in chosen(trace, 1) if not ungrammatical(one.of(trace))]
    assert {way: [trace.records[one.at].event for one in passed if one.way == way] for way in WAYS} == {
        "removed": ["consume_skb", "sched_waking", "skb_attempt_defer_free", "softirq_raise"],
        "doubled": ["csd_queue_cpu", "sched_waking", "skb_attempt_defer_free"],
        "moved": ["softirq_raise"],
    }


def test_a_raise_of_a_missed_function_is_of_an_ipi_that_was_sent() -> None:
    """Unless a softirq whose kprobes were missed may have sent one."""
    header = {"release": "6.12.1", "kernel_version": "#1 SMP PREEMPT_DYNAMIC", "tasks": {}, "begins_at_rest": True}
    handler, raised = LabRecord(2, 0, 0, "skb_attempt_defer_free", 1, 1, pid=7), LabRecord(3, 0, HARDIRQ, "softirq_raise", 3, pid=7)
    softirq = [
        LabRecord(4, 0, 1, name, 3, pid=7) for name in ("softirq_entry", "net_rx_action_entry", "net_rx_action", "softirq_exit")
    ]
    sent = LabRecord(1, 1, 0, "csd_queue_cpu", 0, 1, pid=8)
    blind = [LabRecord(1, 1, 1, name, 3, pid=8) for name in ("softirq_entry", "softirq_exit")]

    def wrong(*records: LabRecord) -> dict[int, str]:
        return ungrammatical(LabTrace(header, list(records)))

    assert wrong(handler, raised, *softirq) == {1: "NET_RX is raised on CPU 0 by nothing that is in the trace"}
    assert not wrong(sent, handler, raised, *softirq)
    assert not wrong(*blind, handler, raised, *softirq)
    arrives = LabRecord(1, 0, HARDIRQ, "trigger_rx_softirq", pid=0)
    assert wrong(arrives)
    assert not wrong(*blind, arrives)


def test_an_ipi_that_does_not_raise_is_seen_even_if_its_interrupt_does_nothing_else() -> None:
    """What the CPU does next is not in the interrupt, so nothing more comes of that."""
    trace = read(FIXTURES / "first-kick-6.1.jsonl.gz")
    verdict = check(Falsification(_nth(trace, "softirq_raise", 0), "removed").of(trace))
    assert not verdict.accepted
    assert verdict.reasons == ["NET_RX not raised by the kernel; the model does the opposite"]


def test_what_was_open_when_the_trace_began_may_end_in_it() -> None:
    """Until its CPU shows that it was not: another task runs there only when it is over. On PREEMPT_RT it may be preempted."""
    header = {"release": "6.12.1", "kernel_version": "#1 SMP PREEMPT_DYNAMIC", "tasks": {}}
    ends = LabRecord(3, 0, 1, "net_rx_action", pid=7)
    elsewhere, other = LabRecord(1, 1, 0, "kfree_skb", 1, pid=8), LabRecord(1, 0, 0, "kfree_skb", 1, pid=8)
    hard = LabRecord(1, 0, HARDIRQ, "softirq_raise", 3, pid=7)

    def wrong(*records: LabRecord, rt: bool = False, release: str = "6.12.1") -> bool:
        version = "#1 SMP PREEMPT_RT" if rt else header["kernel_version"]
        return bool(ungrammatical(LabTrace({**header, "release": release, "kernel_version": version}, list(records))))

    assert not wrong(ends)
    assert not wrong(elsewhere, ends)
    assert not wrong(hard, ends)
    assert wrong(other, ends)
    assert not wrong(other, ends, rt=True)
    # Another task's softirq: not since 6.18, where local_bh_disable() takes no lock.
    served = replace(other, context=1)
    assert wrong(served, ends, rt=True)
    assert not wrong(served, ends, rt=True, release="6.18.15")


@pytest.mark.slow
def test_the_model_refuses_what_the_order_of_events_does_not() -> None:
    """All but a wakeup of ksoftirqd: the trace has no switches, so it may have slept in between, or not have slept yet."""
    trace = _load()
    true = check(trace)
    made = {(trace.records[one.at].event, one.way): outcome(trace, true, one) for one in chosen(trace, 1)}
    taken = {kind for kind, what in made.items() if what != REFUSED}
    assert taken == {("sched_waking", "removed"), ("sched_waking", "doubled")}
    assert all(made[kind] == ACCEPTED for kind in taken)
