# SPDX-License-Identifier: GPL-2.0-or-later
"""The search for an explanation of a trace: what it keeps, where it gives up, and where a function may stand still."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from softnet.lab.tracing.records import MARK, SOFTIRQ, TASK, LabRecord, LabTrace, read
from softnet.lab.validate import checker, explore
from softnet.lab.validate.checker import check
from softnet.lab.validate.driver import Driver
from softnet.lab.validate.memory import History, Memory, Noted
from softnet.lab.validate.settings import STILL_RECORDS, WRITE_RECORDS, settings_of
from softnet.report.lab_verdicts import verdict_lines

FIXTURES = Path(__file__).parent / "fixtures"


def _fixture(name: str) -> LabTrace:
    return read(FIXTURES / f"{name}.jsonl.gz")


def test_states_that_are_kept_are_what_they_were_and_as_far_apart_as_they_differ() -> None:
    words = Noted([0] * 8)
    history = History(words)
    history.save()
    states = []
    for branch in (1, 2, 3):
        if states:
            history.load(states[0])
        for value in range(50):
            words[0] = value
            words[branch] = value + branch
            history.save()
        words[0] = 7
        states.append(history.save())
    told = []
    for state in states:
        history.load(state)
        told.append(list(words))
    history.forget([states[1], states[0], states[2], states[0]])
    assert [state.depth for state in states] == [1, 0, 1]
    assert set(states[0].undo) == {2}
    assert set(states[2].undo) == {2, 3}
    for state, was in zip(states, told, strict=True):
        history.load(state)
        assert list(words) == was
    words[5] = 5
    later = history.save()
    history.load(states[0])
    history.load(later)
    assert list(words) == [*told[2][:5], 5, *told[2][6:]]


@pytest.mark.slow
def test_two_explanations_side_by_side_do_not_drift_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the CPU's last flush before it went down took one skb more nothing in the trace tells, for its whole length.

    Each of the two was a chain of differences from where they parted: checking the whole trace took 13 minutes, and takes 9 s.
    """
    kept: list[list[tuple[int, int]]] = []
    real = Driver.forget_all_but

    def forget(driver: Driver, states: Sequence[Memory]) -> None:
        kept.append([(state.depth, id(state)) for state in states])
        real(driver, states)

    monkeypatch.setattr(Driver, "forget_all_but", forget)
    trace = _fixture("side-by-side-6.12")
    assert check(trace).accepted
    assert len(kept) >= 20
    both = [states for states in kept if len({name for _, name in states}) > 1]
    assert len(both) > 15
    assert max(depth for states in kept for depth, _ in states) < 200


@pytest.mark.parametrize("name", ["kick-late-6.12-threads", "flag-late-6.1", "ksoftirqd-interrupted-6.1", "mark-late-6.12"])
def test_a_cpu_may_stand_still_anywhere(name: str) -> None:
    verdict = check(_fixture(name))
    assert verdict.accepted, verdict.reasons
    assert not verdict.bounded


def test_a_flag_that_must_have_been_cleared_is() -> None:
    """Where the CPU has gone on after trigger_rx_softirq(), another that comes to the kick finds the flag clear."""
    trace = _fixture("flag-late-6.1")
    records = list(trace.records)
    trigger = next(
        at
        for at, record in enumerate(records)
        if record.event == "trigger_rx_softirq"
        and records[at + 1].event == "skb_attempt_defer_free"
        # This one came to the kick and sent no IPI.
        and records[at + 1].a == 16
    )
    attempt = records.pop(trigger + 1)
    entry = next(at for at in range(trigger, len(records)) if records[at].event == "net_rx_action_entry" and not records[at].cpu)
    # The CPU's raise, entry and net_rx_action() first, in their order; then the other CPU's attempts in theirs.
    first = [record for record in records[trigger + 1 : entry + 1] if record.cpu == 0]
    rest = [attempt, *(record for record in records[trigger + 1 : entry + 1] if record.cpu != 0)]
    verdict = check(LabTrace(trace.header, [*records[: trigger + 1], *first, *rest, *records[entry + 1 :]]))
    assert not verdict.accepted
    assert any("the model kicks; the kernel did not" in reason for reason in verdict.reasons)


def _mark(at: int, pid: int) -> LabRecord:
    return LabRecord(at, 2, TASK, MARK, 0, 0, 0, pid, "/proc/sys/net/core/netdev_max_backlog = 2")


def test_what_interrupts_the_writer_is_no_bound_of_its_write() -> None:
    """Softirqs in the writer come between its write and its mark; a record of another task on its CPU came before both."""
    inside = [LabRecord(n, 2, SOFTIRQ, "kfree_skb", 1, 0, 0, 7, "") for n in range(1, 201)]
    assert settings_of([*inside, _mark(201, 7)])[200].since == 0
    other = LabRecord(100, 2, TASK, "netif_rx", 1, 2, 0, 8, "")
    assert settings_of([*inside[:100], other, *inside[100:], _mark(202, 7)])[201].since == 101
    elsewhere = [LabRecord(n, 1, SOFTIRQ, "kfree_skb", 1, 0, 0, 8, "") for n in range(1, 601)]
    of_its_cpu = LabRecord(180, 2, SOFTIRQ, "kfree_skb", 1, 0, 0, 7, "")
    assert settings_of([*elsewhere[:180], of_its_cpu, *elsewhere[180:199], _mark(201, 7)])[200].since == 180 - WRITE_RECORDS


def test_a_write_may_be_older_where_the_writers_cpu_has_stood_still() -> None:
    """On a busy host 167 records of other CPUs came between a write and its mark, and the kernel went by the new value."""
    elsewhere = [LabRecord(n, 1, SOFTIRQ, "kfree_skb", 1, 0, 0, 8, "") for n in range(1, 601)]
    assert settings_of([*elsewhere, _mark(601, 7)])[600].since == 600 - STILL_RECORDS
    elsewhere[400] = LabRecord(401, 2, TASK, "netif_rx", 1, 2, 0, 9, "")
    assert settings_of([*elsewhere, _mark(601, 7)])[600].since == 401


def test_a_bound_is_said_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = _fixture("kick-late-6.12-threads")
    tried = check(trace).states
    assert tried > len(trace.records)
    monkeypatch.setattr(explore, "STATES_MAX", 2)
    monkeypatch.setattr(checker, "STATES_MAX", 2)
    verdict = check(trace)
    assert not verdict.accepted
    assert verdict.bounded
    assert verdict.bounds[0].startswith("line ")
    assert verdict.bounds[0].endswith(": more than 2 states")
    lines = verdict_lines("trace", verdict)
    assert lines[0] == "trace: NOT DECIDED"
    assert any("NOT PROVEN" in line and verdict.bounds[0] in line for line in lines)


def test_a_search_that_explodes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = _fixture("kick-late-6.12-threads")
    monkeypatch.setattr(checker, "STATES_TOTAL", 500)
    monkeypatch.setattr(checker, "STATES_PER_RECORD", 0)
    verdict = check(trace)
    assert not verdict.accepted
    assert verdict.bounded
    assert verdict.reasons[0].startswith(f"inconclusive: the bound of 500 states was met at event {verdict.line - 1} of ")
    assert 500 < verdict.states < 500 + explore.STATES_MAX


def test_a_trace_may_end_before_the_raise() -> None:
    """A trace whose last record is the arrival of an IPI does not tell whether NET_RX is raised there."""
    trace = _fixture("flag-late-6.1")
    end = [at for at, record in enumerate(trace.records) if record.event == "trigger_rx_softirq"][-1]
    verdict = check(LabTrace(trace.header, list(trace.records[: end + 1])))
    assert verdict.accepted, verdict.reasons
