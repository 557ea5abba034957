# SPDX-License-Identifier: GPL-2.0-or-later
"""The checker tells a wrong model: one decision of a kernel function changed, and a real trace is refused.

A checker that accepts everything would accept these too. For each kind of decision that it claims to follow there is
a trace of a real kernel and a model that decides otherwise.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.mutation import mutate

from softnet.lab.tracing.records import LabTrace, read
from softnet.lab.validate.checker import check
from softnet.lab.validate.verdict import TraceVerdict

pytestmark = pytest.mark.slow

FIXTURES = Path(__file__).parent / "fixtures"

MUTATIONS = [
    # fixture, kernel, function, piece, what it becomes
    ("first-kick-6.12", "6.12", "skb_attempt_defer_free", "defer_max >> 1", "defer_max >> 2"),
    ("first-kick-6.1", "6.1", "skb_attempt_defer_free", "defer_max >> 1", "defer_max - 1"),
    ("first-kick-6.12", "6.12", "skb_attempt_defer_free", ">= defer_max", ">= defer_max >> 2"),
    ("first-kick-6.12-rt", "6.12-rt", "kick_defer_list_purge", "if use_backlog_threads()", "if not use_backlog_threads()"),
    ("first-kick-6.12", "6.12", "kick_defer_list_purge",
     "elif not cmpxchg(sd.defer_ipi_scheduled, 0, 1)", "elif sd.defer_ipi_scheduled"),
    ("first-kick-6.1-rt", "6.1-rt", "skb_attempt_defer_free",
     "schedule_work_on(cpu, sd.defer_work)", "smp_call_function_single_async(cpu, sd.csd)"),
    ("first-kick-6.12", "6.12", "trigger_rx_softirq", "__raise_softirq_irqoff(NET_RX_SOFTIRQ)", "barrier()"),
    ("first-kick-6.12", "6.12", "net_rx_action", "skb_defer_free_flush(sd)", "barrier()"),
    ("first-kick-6.12", "6.12", "skb_defer_free_flush", "skb = sd.defer_list", "skb = sd.defer_list.next"),
    ("load-6.12", "6.12", "enqueue_to_backlog", "if not qlen:", "if qlen == 1:"),
    ("load-6.12", "6.12", "napi_schedule_rps", "__raise_softirq_irqoff(NET_RX_SOFTIRQ)", "barrier()"),
    ("load-6.12", "6.12", "napi_schedule_rps", "if sd != mysd:", "if sd == mysd:"),
    ("load-6.12", "6.12", "net_rps_send_ipi", "cpu_online(remsd.cpu)", "remsd.cpu != 2"),
    ("load-6.12", "6.12", "rps_trigger_softirq", "____napi_schedule(sd, sd.backlog)", "barrier()"),
    ("load-6.12", "6.12", "process_backlog_retire_sched", "napi.state &= NAPIF_STATE_THREADED", "napi.state = napi.state"),
    ("load-6.12", "6.12", "raise_softirq_irqoff", "__raise_softirq_irqoff(nr)", "barrier()"),
    ("load-6.12", "6.12", "invoke_softirq", "if not force_irqthreads() or", "if force_irqthreads() and"),
    ("load-6.1-rt", "6.1-rt", "invoke_softirq", "if should_wake_ksoftirqd():", "if not should_wake_ksoftirqd():"),
    ("load-6.12-threads", "6.12", "napi_schedule_rps", "if use_backlog_threads():", "if not use_backlog_threads():"),
    ("load-6.12-rt", "6.12-rt", "____napi_schedule", "set_bit(NAPI_STATE_SCHED_THREADED, napi.state)", "pass"),
    ("flow-limit-6.12", "6.12", "skb_flow_limit", "FLOW_LIMIT_HISTORY >> 1", "FLOW_LIMIT_HISTORY >> 2"),
    ("flow-limit-6.12", "6.12", "skb_flow_limit", "FLOW_LIMIT_HISTORY >> 1", "FLOW_LIMIT_HISTORY"),
    ("flow-limit-6.12", "6.12", "____napi_schedule", "if not sd.in_net_rx_action:", "if sd.in_net_rx_action:"),
    ("steering-6.1", "6.1", "enqueue_to_backlog", "qlen <= READ_ONCE(nh.max_backlog)", "qlen < READ_ONCE(nh.max_backlog)"),
    ("steering-6.1", "6.1", "get_rps_cpu",
     "map.cpus[reciprocal_scale(hash, map.len)]", "map.cpus[map.len - 1 - reciprocal_scale(hash, map.len)]"),
    ("budget-6.1", "6.1", "net_rx_action", "__raise_softirq_irqoff(NET_RX_SOFTIRQ)", "pass"),
    ("budget-6.1", "6.1", "process_backlog", "if work_done >= quota:", "if work_done > quota:"),
    ("budget-6.1", "6.1", "__napi_poll", "sd.do_repoll = True", "sd.do_repoll = False"),
    ("gate-6.1", "6.1", "softirq_left_to_ksoftirqd", "return ksoftirqd_running(pending)", "return False"),
    ("gate-6.1", "6.1", "ksoftirqd_running", "task_state(tsk) == TASK_RUNNING", "task_state(tsk) != TASK_RUNNING"),
]  # fmt: skip


def _golden() -> list[str]:
    text = (Path(__file__).parents[1] / "golden" / "wrong-models.txt").read_text()
    return [block for block in text.split("\n\n") if not block.startswith("#")]


def _told(function: str, old: str, new: str, verdict: TraceVerdict) -> str:
    """A refusal in the golden file: the change, the event with its line in the trace, why, and whose decision it is."""
    lines = [f"{function}(): {old} -> {new}", f"line {verdict.line}: {verdict.record}"]
    return "\n  ".join([*lines, *verdict.reasons, f"the model: {verdict.source}"])


def test_the_golden_file_has_a_refusal_for_each_wrong_model() -> None:
    changes = [f"{function}(): {old} -> {new}" for _, _, function, old, new in MUTATIONS]
    assert [block.splitlines()[0].partition(": ")[2] for block in _golden()] == changes


@pytest.mark.parametrize("number", range(len(MUTATIONS)), ids=[f"{m[0]}:{m[2]}:{n}" for n, m in enumerate(MUTATIONS)])
def test_a_wrong_model_is_refused(tmp_path: Path, number: int) -> None:
    """At the event, and for the reasons, that the golden file has: somebody read each of them and found it right."""
    fixture, kernel, function, old, new = MUTATIONS[number]
    trace = read(FIXTURES / f"{fixture}.jsonl.gz")
    verdict = check(trace, patches=[mutate(tmp_path, kernel, function, old, new)])
    assert not verdict.accepted
    assert not verdict.bounded
    assert f"{fixture}: {_told(function, old, new, verdict)}" == _golden()[number].rstrip("\n")


FIXED = ("flow-limit-6.12", "budget-6.1", "steering-6.1", "gate-6.1")


@pytest.mark.parametrize("fixture", FIXED)
def test_the_models_own_functions_explain_the_same_traces(fixture: str) -> None:
    verdict = check(read(FIXTURES / f"{fixture}.jsonl.gz"))
    assert verdict.accepted, verdict.reasons
    counted = verdict.events_checked + sum(verdict.context.values()) + sum(verdict.not_checked.values())
    assert counted == verdict.events
    assert set(verdict.why_not) == set(verdict.not_checked)


def test_the_share_of_events_that_are_followed() -> None:
    """Of the load fixtures: what was followed before RPS, net_rx_action and the exits were is in the second column."""
    shares = {"6.12": 0.52, "6.12-threads": 0.65, "6.12-rt": 0.62, "6.1-rt": 0.0}
    for arm, before in shares.items():
        verdict = check(read(FIXTURES / f"load-{arm}.jsonl.gz"))
        assert verdict.accepted
        assert verdict.events_checked / verdict.events > max(before, 0.79), arm


def test_the_branches_are_those_that_the_trace_shows() -> None:
    """110 skbs freed across CPUs, 46 of them at the limit, one kick: counted at the tests of skb_attempt_defer_free()."""
    verdict = check(read(FIXTURES / "first-kick-6.1.jsonl.gz"))
    rows = {(row["function"], row["test"]): (row["true"], row["false"]) for row in verdict.branches}
    assert rows["skb_attempt_defer_free", "kick"] == (1, 63)
    full = next(ways for (name, test), ways in rows.items() if name == "skb_attempt_defer_free" and ">= defer_max" in test)
    assert full[0] >= 45
    assert full[1] == 64
    assert rows["skb_defer_free_flush", "skb"][0] == 64
    assert all("6.1" in row["source"] or row["source"] for row in verdict.branches)


def test_the_budget_shows_in_the_count_of_squeezes(tmp_path: Path) -> None:
    """With one NAPI on the list a budget that is up changes nothing but the counter, so the counter is what is held."""
    trace = read(FIXTURES / "budget-6.1.jsonl.gz")
    earlier = mutate(tmp_path, "6.1", "net_rx_action", "if budget <= 0 or", "if budget <= 1 or")
    assert check(trace).squeezes == 0
    assert check(trace, patches=[earlier]).squeezes > 40


def test_a_poll_that_used_up_its_quota_is_polled_again_on_6_18() -> None:
    """Since then __napi_poll() leaves its answer on a task's stack: looked for beside the NAPI, no such poll was explained."""
    verdict = check(read(FIXTURES / "settings-6.18.jsonl.gz"))
    assert verdict.accepted, verdict.reasons
    assert verdict.covered["net_rx_action ended: not squeezed, NET_RX raised again"] >= 1
    assert verdict.covered["backlog poll ended: quota reached"] >= 2


def test_an_interrupt_for_a_cpu_that_goes_down_may_have_been_sent_before() -> None:
    """From where it begins nothing is known of that CPU, so an IPI that the model sends it is not waited for."""
    verdict = check(read(FIXTURES / "goes-down-6.18.jsonl.gz"))
    assert verdict.accepted, verdict.reasons


@pytest.mark.parametrize("name", ["load-6.1-rt", "load-6.18"])
def test_an_arrival_that_the_tracer_missed_is_told_and_allowed(name: str) -> None:
    """A kprobe that is hit within another's handler is missed: in these traces an IPI was sent, nobody was seen to receive it."""
    verdict = check(read(FIXTURES / f"{name}.jsonl.gz"))
    assert verdict.accepted, verdict.reasons
    assert verdict.missed["IPI arrivals"] == 1


def test_an_arrival_that_no_tracer_misses_is_not_allowed() -> None:
    """This one was not within another kprobe's handler."""
    trace = read(FIXTURES / "load-6.12.jsonl.gz")
    records = list(trace.records)
    at = [n for n, record in enumerate(records) if record.event == "rps_trigger_softirq"][10]
    del records[at]
    verdict = check(LabTrace(trace.header, records))
    assert verdict.reasons == ["NET_RX is raised on CPU 2 by nothing that is in the trace"]
