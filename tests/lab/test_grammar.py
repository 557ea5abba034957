# SPDX-License-Identifier: GPL-2.0-or-later
"""What no kernel can have written into a trace, whatever its state: and that none of the real kernels did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.lab.falsify import ACCEPTED, REFUSED, WAYS, Falsification, chosen, outcome

from softnet.lab.tracing.records import HARDIRQ, LabRecord, LabTrace, read
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


def test_an_skb_that_is_freed_twice_is_refused() -> None:
    """No list has it the second time: the checker's own state says so, not the order of events."""
    trace = _load()
    at = _nth(trace, "consume_skb", 12)
    verdict = check(Falsification(at, "doubled").of(trace))
    assert not verdict.accepted
    assert f"flush freed skb {trace.records[at].a}, which is on no list of the model's" in verdict.reasons[0]


def test_what_the_checker_still_takes_of_a_trace_is_known() -> None:
    """Of a real load's single falsifications only these pass by the order of its events; most of them the model refuses."""
    trace = _load()
    passed = [one for one in chosen(trace, 1) if not ungrammatical(one.of(trace))]
    assert {way: [trace.records[one.at].event for one in passed if one.way == way] for way in WAYS} == {
        "removed": ["consume_skb", "sched_waking", "skb_attempt_defer_free", "softirq_raise"],
        "doubled": ["consume_skb", "csd_queue_cpu", "sched_waking", "skb_attempt_defer_free"],
        "moved": ["consume_skb", "sched_waking", "skb_attempt_defer_free", "softirq_raise"],
    }


@pytest.mark.slow
def test_the_model_refuses_what_the_order_of_events_does_not() -> None:
    """All but a free moved to a CPU where the same task might have run, and a wakeup that nothing in the trace asks for."""
    trace = _load()
    true = check(trace)
    made = {(trace.records[one.at].event, one.way): outcome(trace, true, one) for one in chosen(trace, 1)}
    taken = {kind for kind, what in made.items() if what != REFUSED}
    assert taken == {("skb_attempt_defer_free", "moved"), *(("sched_waking", way) for way in WAYS)}
    assert all(made[kind] == ACCEPTED for kind in taken)
