# SPDX-License-Identifier: GPL-2.0-or-later
"""Trace validation accepts what real kernels did, and refuses each way of having done something else.

A trace that was changed is a kernel that behaved otherwise; the refusal must name the first event that gives it
away and say why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.mutation import mutate

from softnet.lab.errors import LabError
from softnet.lab.play.arm import ARMS
from softnet.lab.tracing.records import HARDIRQ, SOFTIRQ, TASK, LabRecord, LabTrace, read
from softnet.lab.validate.checker import Raises, check
from softnet.lab.validate.driver import Driver
from softnet.lab.validate.knowledge import Knowledge, cards_of
from softnet.lab.validate.verdict import TraceVerdict

FIXTURES = Path(__file__).parent / "fixtures"
ACCEPTED = ARMS
"""Each has a trace of the first kick among the fixtures."""
Change = Callable[[list[LabRecord]], list[LabRecord]]


def _trace(arm: str) -> LabTrace:
    return read(FIXTURES / f"first-kick-{arm}.jsonl.gz")


def _changed(arm: str, change: Change) -> TraceVerdict:
    trace = _trace(arm)
    return check(LabTrace(trace.header, change(list(trace.records))))


def _where(records: list[LabRecord], event: str, nth: int = 0) -> int:
    return [at for at, record in enumerate(records) if record.event == event][nth]


@pytest.mark.parametrize("arm", ACCEPTED)
def test_what_the_kernel_did_is_a_behaviour_of_the_model(arm: str) -> None:
    verdict = check(_trace(arm))
    assert verdict.accepted, verdict.reasons
    assert verdict.line == 0
    kicks = sum(count for name, count in verdict.covered.items() if name.startswith("deferred and kicked"))
    assert kicks >= 1
    assert verdict.covered["flushed and freed on the CPU that allocated it"] >= 33
    assert verdict.events_checked + sum(verdict.context.values()) + sum(verdict.not_checked.values()) == verdict.events


def test_a_kernel_that_is_not_the_models_is_refused_at_its_first_difference() -> None:
    """6.1-rt kicks by a work item, which mainline never did: a trace that says it is 6.1's is refused at the 33rd."""
    trace = _trace("6.1-rt")
    verdict = check(LabTrace({**trace.header, "release": "6.1.0-56-amd64"}, trace.records))
    assert not verdict.accepted
    assert any("work item" in reason for reason in verdict.reasons)
    before = trace.records[: verdict.line - 2]
    assert sum(record.event == "skb_attempt_defer_free" for record in before) == 33
    assert "skb_attempt_defer_free(): " in verdict.source


@pytest.mark.parametrize("arm", ["6.12", "6.12-threads", "6.12-rt", "7.3"])
def test_packets_through_the_backlog_are_a_behaviour_of_the_model(arm: str) -> None:
    verdict = check(_load(arm))
    assert verdict.accepted, verdict.reasons
    assert verdict.covered["packet queued on the backlog"] > 40
    assert verdict.covered["backlog poll ended: queue empty"] > 40


def test_the_cpu_that_polls_a_card_is_not_followed_and_those_it_steers_to_are() -> None:
    """Its net_rx_action() polls what is not in the trace; held against the backlog's poll, that would be a refusal."""
    trace = read(FIXTURES / "card-6.12.jsonl.gz")
    assert cards_of(trace.records)
    verdict = check(trace)
    assert verdict.accepted, verdict.reasons
    assert verdict.covered["backlog polled"] > 1
    assert verdict.covered["flushed and freed on the CPU that allocated it"] > 40
    assert "CPU 0, where a card is polled" in verdict.why_not["napi_poll"]


def test_a_trace_may_begin_in_the_middle_of_a_kick() -> None:
    """Its first record is of an attempt that reads its count after the flush; the others' first counts say what was on the list."""
    verdict = check(read(FIXTURES / "begins-in-a-kick-6.12.jsonl.gz"))
    assert verdict.accepted, verdict.reasons
    assert verdict.covered["trigger_rx_softirq: NET_RX raised"] == 1


@pytest.mark.parametrize("arm", ["6.12", "6.18"])
def test_a_trace_may_end_in_the_middle_of_a_kick(arm: str) -> None:
    """Its last record is the entry of the free that kicks; another record of that CPU, and it is one that does not kick."""
    assert _changed(arm, lambda records: records[: _where(records, "kick_defer_list_purge")]).accepted
    told = _changed(arm, lambda records: [r for r in records if r.event == "skb_attempt_defer_free"][:34])
    assert not told.accepted
    assert "the model kicks; the kernel did not" in told.reasons[0]


def test_a_raise_is_found_however_late() -> None:
    """A guest's CPU may stand still between two records while the others make hundreds."""
    trace = read(FIXTURES / "card-6.12.jsonl.gz")
    at = _where(trace.records, "rps_trigger_softirq", 3)
    idle = [LabRecord(0, 0, 0, "kfree_skb", 1, 71, pid=9)] * 500
    late = LabTrace(trace.header, [*trace.records[: at + 1], *idle, *trace.records[at + 1 :]])
    assert check(late).accepted


def test_a_poll_is_not_quiet_while_a_packet_has_long_been_on_its_way() -> None:
    """A sender that stands still in enqueue_to_backlog() for a thousand records may have queued its packet or not."""
    rest = [LabRecord(0, 2, 1, "kfree_skb", 1, 71, pid=33)] * 1000
    poll = [
        LabRecord(0, 2, 1, "process_backlog_entry", 64, pid=33),
        LabRecord(0, 2, 1, "process_backlog", 0, pid=33),
        LabRecord(0, 2, 1, "net_rx_action", pid=33),
    ]
    enqueue = LabRecord(0, 0, 0, "enqueue_to_backlog", 5, 2, pid=7)
    back = LabRecord(0, 0, 0, "enqueue_to_backlog_ret", pid=7)

    def known(records: list[LabRecord]) -> bool:
        return Knowledge(records, 4, threads=(), known_at_first=False).backlog(2, len(records))

    assert not known([enqueue, *rest, *poll])
    assert not known([enqueue, *rest, *poll, back])
    assert known([enqueue, *rest, back, *poll])


def _load(arm: str) -> LabTrace:
    return read(FIXTURES / f"load-{arm}.jsonl.gz")


def _at(event: str, nth: int, **fields: int) -> Change:
    def change(records: list[LabRecord]) -> list[LabRecord]:
        at = _where(records, event, nth)
        records[at] = replace(records[at], **{key: getattr(records[at], key) + by for key, by in fields.items()})
        return records

    return change


def _poll_twice(records: list[LabRecord]) -> list[LabRecord]:
    """A poll that nobody scheduled, right after one that emptied the queue."""
    entry, end = _where(records, "process_backlog_entry", 20), _where(records, "process_backlog", 20)
    told = _where(records, "napi_poll", 20)
    assert entry < end < told
    records[told + 1 : told + 1] = [records[entry], replace(records[end], a=0), replace(records[told], b=0)]
    return records


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["6.12", "6.12-rt"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_at("process_backlog", 20, a=1), "the kernel's poll of CPU 2 did"),
        (_at("enqueue_to_backlog", 20, c=3), "'s input queue; the model has"),
        (
            _at("enqueue_to_backlog_ret", 20, a=1),
            "the kernel dropped a packet for CPU 2; the model queues it",
        ),
        (_poll_twice, "CPU 2's backlog is polled; in the model nobody scheduled it"),
        (_at("skb_attempt_defer_free", 20, c=2), "defer_count"),
    ],
)
def test_a_backlog_that_did_otherwise_is_refused(arm: str, change: Change, reason: str) -> None:
    trace = _load(arm)
    verdict = check(LabTrace(trace.header, change(list(trace.records))))
    assert not verdict.accepted
    assert any(reason in text for text in verdict.reasons), verdict.reasons


@pytest.mark.parametrize(
    ("told", "asked_for"),
    [
        ("raise enter leave", True),
        ("raise enter leave enter", False),
        ("raise raise enter leave enter", False),
        # In the gap between the clearing of the bits and the entry an interrupt may strike.
        ("raise irq-raise enter leave enter leave", True),
        ("raise irq-raise enter leave enter leave enter", False),
        ("raise enter irq-raise softirq-raise leave enter leave", True),
        ("raise enter irq-raise softirq-raise leave enter leave enter", False),
        ("raise enter softirq-raise leave irq-raise enter leave", True),
        ("irq-raise enter leave enter", False),
    ],
)
def test_net_rx_runs_as_often_as_it_was_asked_for(told: str, asked_for: bool) -> None:
    contexts = {"raise": TASK, "irq-raise": HARDIRQ, "softirq-raise": SOFTIRQ}
    raises, asked = Raises(), True
    for step in told.split():
        if step == "enter":
            asked = raises.entered()
        elif step == "leave":
            raises.left()
        else:
            raises.raised(contexts[step])
    assert asked is asked_for


def test_a_run_of_net_rx_that_nobody_asked_for_is_refused() -> None:
    trace = _load("6.12")
    at = _where(trace.records, "softirq_exit", 30)
    entry = max(n for n in range(at) if trace.records[n].event == "softirq_entry" and trace.records[n].cpu == trace.records[at].cpu)
    records = [*trace.records[: at + 1], trace.records[entry], *trace.records[at + 1 :]]
    verdict = check(LabTrace(trace.header, records))
    assert not verdict.accepted
    assert "its bit is not pending" in verdict.reasons[0]


def test_a_backlog_with_a_bound_drops_where_the_model_does() -> None:
    """By hand: a bound of 1 takes two packets (the test is qlen <= bound) and drops the third."""
    # From rest, so that the queue is known to be empty.
    header = {**_trace("6.12").header, "netdev_max_backlog": 1}
    records = []
    for number, (qlen, dropped) in enumerate([(0, 0), (1, 0), (2, 1)]):
        records.append(LabRecord(10 * number + 1, 0, 0, "enqueue_to_backlog", number + 1, 2, qlen, pid=7))
        if number == 0:
            records.append(LabRecord(2, 0, 0, "softirq_raise", 3, pid=7))
        records.append(LabRecord(10 * number + 3, 0, 0, "enqueue_to_backlog_ret", dropped, pid=7))
    records.append(LabRecord(89, 0, 1, "softirq_entry", 3, pid=7))
    records.append(LabRecord(90, 0, 1, "net_rx_action_entry", pid=7))
    records.append(LabRecord(91, 0, 1, "csd_queue_cpu", 2, 2, pid=7))
    records.append(LabRecord(92, 0, 1, "net_rx_action", pid=7))
    records.append(LabRecord(93, 2, 2, "rps_trigger_softirq", 2))
    records.append(LabRecord(94, 2, 2, "softirq_raise", 3))
    records.append(LabRecord(95, 2, 1, "softirq_entry", 3))
    records.append(LabRecord(96, 2, 1, "net_rx_action_entry"))
    records.append(LabRecord(100, 2, 1, "process_backlog_entry", 64))
    records.append(LabRecord(101, 2, 1, "process_backlog", 2))
    verdict = check(LabTrace(header, records))
    assert verdict.accepted, verdict.reasons
    assert verdict.covered["packet dropped at the backlog"] == 1
    assert not check(LabTrace({**header, "netdev_max_backlog": 0}, records)).accepted
    assert not check(LabTrace({**header, "netdev_max_backlog": 2}, records)).accepted


def _without(event: str, nth: int = 0) -> Change:
    def change(records: list[LabRecord]) -> list[LabRecord]:
        del records[_where(records, event, nth)]
        return records

    return change


def _early_kick(records: list[LabRecord]) -> list[LabRecord]:
    """The kick, and what it does, one attempt too soon."""
    kick = _where(records, "kick_defer_list_purge")
    attempt = _where(records, "skb_attempt_defer_free", 32)
    assert attempt < kick
    records.insert(kick, records.pop(attempt))
    return records


def _swapped_frees(records: list[LabRecord]) -> list[LabRecord]:
    first, second = _where(records, "consume_skb", 3), _where(records, "consume_skb", 4)
    one, other = records[first], records[second]
    records[first], records[second] = replace(one, a=other.a), replace(other, a=one.a)
    return records


def _freed_elsewhere(records: list[LabRecord]) -> list[LabRecord]:
    at = _where(records, "consume_skb")
    # Of a task that may run there: the thread of another CPU may not.
    records[at] = replace(records[at], cpu=2, pid=1)
    return records


def _wrong_count(records: list[LabRecord]) -> list[LabRecord]:
    at = _where(records, "skb_attempt_defer_free", 20)
    records[at] = replace(records[at], c=records[at].c + 1)
    return records


def _second_trigger(records: list[LabRecord]) -> list[LabRecord]:
    at = _where(records, "softirq_raise")
    records[at + 1 : at + 1] = [records[_where(records, "trigger_rx_softirq")], records[at]]
    return records


def _no_frees_at_all(records: list[LabRecord]) -> list[LabRecord]:
    return [record for record in records if record.event != "consume_skb"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arm", "change", "reason"),
    [
        ("6.12", _without("kick_defer_list_purge"), "the IPI of a kick on CPU 1, where none is under way"),
        ("6.12-rt", _without("kick_defer_list_purge"), "the model kicks; the kernel did not"),
        ("6.12", _without("csd_queue_cpu"), "the kernel sent no IPI"),
        ("6.1", _without("csd_queue_cpu"), "the model kicks; the kernel did not"),
        ("6.12", _early_kick, "the kernel kicked; the model does not"),
        ("6.12", _swapped_frees, "the model's flush frees skb"),
        ("6.12-threads", _swapped_frees, "the model's flush frees skb"),
        ("6.12-rt", _freed_elsewhere, "the model has flushed nothing there"),
        ("6.12", _wrong_count, "the kernel read defer_count 21 of CPU 0; the model has 20"),
        ("6.12", _second_trigger, "to which no IPI is on its way"),
        ("6.12", _without("softirq_raise"), "NET_RX not raised by the kernel"),
        ("6.12", _no_frees_at_all, "that the kernel did not free"),
        ("6.12-threads", _no_frees_at_all, "that the kernel did not free"),
    ],
)
def test_a_kernel_that_did_otherwise_is_refused(arm: str, change: Change, reason: str) -> None:
    verdict = _changed(arm, change)
    assert not verdict.accepted
    assert verdict.line >= 2
    assert any(reason in text for text in verdict.reasons), verdict.reasons
    assert verdict.record
    assert verdict.model_state


@pytest.mark.parametrize("limit", [128, 32])
def test_the_kick_of_another_limit_is_not_explained(limit: int) -> None:
    trace = _trace("6.12")
    verdict = check(LabTrace({**trace.header, "skb_defer_max": limit}, trace.records))
    assert not verdict.accepted
    assert any("kick" in reason or "defer_count" in reason for reason in verdict.reasons)


PATCH = """# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from softnet.lang import kfunc


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    if READ_ONCE(sd.defer_list) is None:
        return
    skb = sd.defer_list
    sd.defer_list = skb.next
    sd.defer_count = sd.defer_count - 1
    napi_consume_skb(skb, 1)
"""


def test_a_patched_model_is_held_against_the_kernel_that_does_not_have_the_patch(tmp_path: Path) -> None:
    path = tmp_path / "one_at_a_time.py"
    path.write_text(PATCH)
    assert check(_trace("6.12")).accepted
    assert not check(_trace("6.12"), patches=[str(path)]).accepted


def test_a_trace_that_begins_in_the_middle_is_followed_from_there() -> None:
    trace = _trace("6.12-rt")
    at = _where(trace.records, "skb_attempt_defer_free", 10)
    verdict = check(LabTrace(trace.header, trace.records[at:]))
    assert verdict.accepted, verdict.reasons


def test_the_limit_may_change_while_the_list_is_filled() -> None:
    """C4 in a trace made by hand: 20 on the list, the limit falls to 16, nothing is kicked and nothing stored."""
    attempts = [LabRecord(n + 1, 1, 0, "skb_attempt_defer_free", n + 1, 0, min(n, 20), pid=7) for n in range(40)]
    mark = LabRecord(100, 1, 0, "mark", pid=7, text="skb_defer_max 16")
    records = [*attempts[:20], mark, *attempts[20:]]
    header = {**_trace("6.12").header, "skb_defer_max": 64}
    assert check(LabTrace(header, records)).accepted
    without_the_change = [record for record in records if record.event != "mark"]
    assert not check(LabTrace(header, without_the_change)).accepted


def test_a_saved_state_comes_back_whole() -> None:
    driver = Driver("6.12", "plain", threads=False, cpus=2, skb_defer_max=64)
    empty = driver.save()
    for _ in range(40):
        driver.attempt(1, 0)
    full, told = driver.save(), driver.state(0)
    driver.load(empty)
    assert driver.state(0).defer_count == 0
    numbers = [driver.attempt(1, 0)[0] for _ in range(3)]
    driver.load(full)
    assert driver.state(0) == told
    assert driver.flush(0) == tuple(reversed(range(1, 41)))
    driver.load(empty)
    assert [driver.attempt(1, 0)[0] for _ in range(3)] == numbers


def test_a_trace_without_a_total_order_or_a_model_is_refused_with_what_to_do() -> None:
    trace = _trace("6.12")
    with pytest.raises(LabError, match="no total order") as caught:
        check(LabTrace({**trace.header, "clock": "mono"}, trace.records))
    assert "--clock counter" in caught.value.hint
    with pytest.raises(LabError, match=r"no model of Linux 5\.4"):
        check(LabTrace({**trace.header, "release": "5.4.0-1-amd64"}, trace.records))


def _with_marks(trace: LabTrace, marks: dict[int, str]) -> LabTrace:
    records = []
    for at, record in enumerate(trace.records):
        if at in marks:
            records.append(replace(record, cpu=1, context=0, event="mark", a=0, b=0, c=0, pid=1, text=marks[at]))
        records.append(record)
    return LabTrace(trace.header, records)


@pytest.mark.slow
def test_a_cpu_that_is_offline_is_steered_no_packet() -> None:
    """From the write on, it may be steered to or not; once the write is over, a packet for it is refused."""
    trace = read(FIXTURES / "steering-6.1.jsonl.gz")
    places = [at for at, record in enumerate(trace.records) if record.event == "enqueue_to_backlog" and record.b == 2]
    begun, over = places[len(places) // 2], places[-1] + 1
    down = "/sys/devices/system/cpu/cpu2/online"
    going = check(_with_marks(trace, {begun: f"{down} < 0", over: f"{down} = 0"}))
    assert going.accepted, going.reasons
    assert going.covered["online changed"] == 1
    gone = check(_with_marks(trace, {places[2]: f"{down} < 0", begun: f"{down} = 0"}))
    assert not gone.accepted
    assert gone.record[3] == "enqueue_to_backlog"
    assert any("to CPU 2; the model's get_rps_cpu() says" in reason for reason in gone.reasons)
    back = check(_with_marks(trace, {places[2]: f"{down} < 0", begun - 1: f"{down} = 0", begun: f"{down} = 1"}))
    assert back.accepted, back.reasons


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "followed", "steered"),
    [
        ("card-threaded-6.12-threads", 900, {2}),
        ("card-rfs-6.12", 350, {1, 2, 3}),
        ("hotplug-6.12-rt", 600, None),
    ],
)
def test_cards_rfs_and_hotplug_of_real_kernels(name: str, followed: int, steered: set[int] | None) -> None:
    trace = read(FIXTURES / f"{name}.jsonl.gz")
    verdict = check(trace)
    assert verdict.accepted, verdict.reasons
    assert verdict.events_checked > followed
    if steered is not None:
        assert {record.b for record in trace.records if record.event == "enqueue_to_backlog"} == steered
    else:
        assert verdict.covered["online changed"] == 2


def test_a_function_that_the_model_does_not_have_is_no_stand_in() -> None:
    driver = Driver("6.12", "plain", threads=False, cpus=1, skb_defer_max=64)
    with pytest.raises(LabError, match="a function that the model does not have") as caught:
        driver._replace("spin_lock_of_yesterday", lambda: 0)
    assert caught.value.found == "spin_lock_of_yesterday"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"release": "6." + "9" * 5000}, "which kernel it is of"),
        ({"cpus": 0}, "cpus is not what it should be"),
        ({"sysctl": {"dev_weight": []}}, "sysctl is not what it should be"),
        ({"sysctl": {"flow_limit_cpu_bitmap": 3}}, "sysctl is not what it should be"),
        ({"skb_defer_max": -1}, "skb_defer_max is not what it should be"),
    ],
)
def test_a_header_that_the_lab_does_not_write_is_an_error(told: dict[str, object], message: str) -> None:
    trace = _trace("6.12")
    with pytest.raises(LabError, match=message):
        check(LabTrace({**trace.header, **told}, trace.records))


@pytest.mark.parametrize("damage", [{"b": -1}, {"b": 8}, {"c": 1 << 31}])
def test_a_free_for_no_cpu_is_an_error_with_its_line(damage: dict[str, int]) -> None:
    trace = _trace("6.12")
    at = _where(trace.records, "skb_attempt_defer_free")
    records = [*trace.records[:at], replace(trace.records[at], **damage), *trace.records[at + 1 :]]
    with pytest.raises(LabError, match="a free for no CPU") as caught:
        check(LabTrace(trace.header, records))
    assert caught.value.where == f"line {at + 2} of the trace"


def test_a_patch_with_which_the_model_stops_is_an_error_with_the_traces_line(tmp_path: Path) -> None:
    old = "    if use_backlog_threads():\n"
    patch = mutate(tmp_path, "6.12", "kick_defer_list_purge", old, "    BUG_ON(cpu >= 0)\n" + old)
    with pytest.raises(LabError, match="the model's kernel stops") as caught:
        check(_trace("6.12"), patches=[str(patch)])
    assert caught.value.where.startswith("line ")
    assert "BUG_ON" in caught.value.found
