# SPDX-License-Identifier: GPL-2.0-or-later
"""S1 to S10 of the design, each with the mutation that takes it out.

Every test states a property of a run as a function, holds the kernel to it, and shows that it fails when the behaviour
is removed by a patch file.
"""

from __future__ import annotations

import pytest
from tests.linux.support import (
    Run,
    calls,
    drain_scenario,
    event_name,
    loopback_scenario,
    named,
    simulate,
)
from tests.mutation import Edit, Mutation, mutate

from softnet.lang.python.stop import KernelStop

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hasty_code")]

IPI_KERNELS = ("6.1", "6.9", "6.10", "6.12")
RT_BEFORE = ("6.9-rt",)
# The rt flavour of 6.1 is the PREEMPT_RT patch queue's, which kicks by a work item: test_rt_queue.py.
THREAD_KERNELS = ("6.10-rt", "6.10-threads", "6.12-rt", "6.12-threads")


def release(kernel: str) -> str:
    return kernel.partition("-")[0]


def freed_at_home(run: Run) -> bool:
    """S1: there are deferred skbs, and each is freed on the CPU that allocated it."""
    home: dict[int, int] = {}
    freed = 0
    for record in named(run, "skb_attempt_defer_free", "consume_skb"):
        if event_name(record) == "skb_attempt_defer_free":
            home[record.a] = record.b
        elif record.a in home:
            if record.cpu != home.pop(record.a):
                return False
            freed += 1
    return freed > 60


@pytest.mark.parametrize("kernel", [*IPI_KERNELS, "6.1-rt", *RT_BEFORE, *THREAD_KERNELS])
def test_s1_skbs_are_freed_where_they_were_allocated(drain, kernel):
    assert freed_at_home(drain(kernel))


def test_s1_fails_without_the_list(tmp_path):
    patch = mutate(tmp_path, "6.12", "skb_attempt_defer_free", "cpu == raw_smp_processor_id()", "cpu != raw_smp_processor_id()")
    assert not freed_at_home(simulate(drain_scenario("6.12"), [patch])[0])


def flushed_before_polls(run: Run) -> bool:
    """S2: whatever waits when net_rx_action polls is flushed before that poll, and never by process_backlog."""
    waiting = 0
    flushes = 0
    for record in named(run, "skb_attempt_defer_free", "skb_defer_free_flush", "napi_poll"):
        name = event_name(record)
        if name == "skb_attempt_defer_free":
            waiting += 1
        elif name == "skb_defer_free_flush":
            if record.a > waiting:
                return False
            waiting -= record.a
            flushes += 1
    return flushes > 3 and waiting < 33


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.12-rt"])
def test_s2_the_list_is_flushed_in_napi_callbacks(drain, kernel):
    assert flushed_before_polls(drain(kernel))
    assert all(record.cpu == 0 for record in named(drain(kernel), "skb_defer_free_flush"))


def test_s2_fails_when_net_rx_action_does_not_flush(tmp_path):
    patch = mutate(tmp_path, "6.12", "net_rx_action", "skb_defer_free_flush(sd)", "barrier()")
    assert not flushed_before_polls(simulate(drain_scenario("6.12"), [patch])[0])


def test_s2_fails_when_the_thread_does_not_flush(tmp_path):
    patch = mutate(tmp_path, "6.12", "napi_threaded_poll_loop", "skb_defer_free_flush(sd)", "barrier()")
    assert not flushed_before_polls(simulate(drain_scenario("6.12-rt"), [patch])[0])


def test_s2_threaded_polls_flush_since_6_4(tmp_path):
    """a1aaee7f8f79: before it, a CPU that polls in a thread depends on kicks; after it none comes."""
    tables = {
        "machine": {"cpus": 2},
        "nic": [{"name": "eth0", "irq_cpus": [0], "gro": False, "threaded": True}],
        "traffic": [{"kind": "constant", "rate_pps": 100_000, "flows": 64, "proto": "tcp", "sizes": [[1514, 1.0]]}],
        "application": [{"name": "reader", "kind": "tcp", "cpu": 1, "service_ns": 500}],
        "measure": {"duration_ms": 3},
    }
    kicks = {k: simulate(drain_scenario(k, **tables))[0].result.counters["kicks"] for k in ("6.1", "6.9")}
    assert kicks["6.1"] > 0
    assert kicks["6.9"] == 0


def kicks_exactly_at_half(run: Run, defer_max: int) -> bool:
    """S3: a kick follows each skb that makes the list defer_max // 2 + 1 long, and no other."""
    before = None
    kicks = 0
    for record in named(run, "skb_attempt_defer_free", "kick_defer_list_purge", "kick_coalesced"):
        kicked = event_name(record) != "skb_attempt_defer_free"
        if kicked:
            if before is None or before.c != defer_max // 2 + 1:
                return False
            kicks += 1
            before = None
        else:
            if before is not None and before.c == defer_max // 2 + 1:
                return False
            before = record
    return kicks > 0


@pytest.mark.parametrize("kernel", [*IPI_KERNELS, "6.1-rt", *RT_BEFORE, *THREAD_KERNELS])
def test_s3_the_33rd_skb_kicks(drain, kernel):
    assert kicks_exactly_at_half(drain(kernel), 64)


@pytest.mark.parametrize("defer_max", [1, 2, 16, 100])
def test_s3_the_watermark_follows_the_sysctl(defer_max):
    assert kicks_exactly_at_half(simulate(drain_scenario("6.12", defer_max=defer_max))[0], defer_max)


@pytest.mark.parametrize("kernel", ["6.1", "6.12-rt"])
def test_s3_no_kick_below(kernel):
    run = simulate(drain_scenario(kernel, packets=32))[0]
    assert run.result.counters["deferred"] > 0
    assert run.result.counters["kicks"] == 0


@pytest.mark.parametrize(("old", "new"), [("== defer_max >> 1", "== defer_max"), (">> 1", ">> 2")])
def test_s3_fails_with_another_watermark(tmp_path, old, new):
    patch = mutate(tmp_path, "6.12", "skb_attempt_defer_free", old, new)
    assert not kicks_exactly_at_half(simulate(drain_scenario("6.12"), [patch])[0], 64)


def kicked_by_ipi(run: Run) -> bool:
    """S4: each kick is a function call that raises NET_RX on the owner, and the flag is free for the next."""
    kicks = named(run, "kick_defer_list_purge")
    calls = named(run, "trigger_rx_softirq")
    return len(kicks) > 1 and len(kicks) == len(calls) and not named(run, "kick_coalesced", "backlog_napi_wake")


@pytest.mark.parametrize("kernel", [*IPI_KERNELS, *RT_BEFORE])
def test_s4_the_ipi_way(drain, kernel):
    run = drain(kernel)
    assert kicked_by_ipi(run)
    assert {record.cpu for record in named(run, "trigger_rx_softirq")} == {0}
    assert {record.a for record in calls(run)} == {0}


def test_s4_fails_when_the_flag_is_never_given_back(tmp_path):
    patch = mutate(tmp_path, "6.12", "trigger_rx_softirq", "smp_store_release(sd.defer_ipi_scheduled, 0)", "barrier()")
    assert not kicked_by_ipi(simulate(drain_scenario("6.12"), [patch])[0])


def kicked_by_thread(run: Run) -> bool:
    """S5: each kick is a run of backlog_napi/0, and nothing is called on the owner."""
    kicks = named(run, "kick_defer_list_purge")
    wakes = named(run, "backlog_napi_wake")
    return len(kicks) > 1 and len(wakes) == len(kicks) and not named(run, "trigger_rx_softirq", "wakeup_softirqd")


@pytest.mark.parametrize("kernel", THREAD_KERNELS)
def test_s5_the_backlog_thread(drain, kernel):
    run = drain(kernel)
    assert kicked_by_thread(run)
    assert not calls(run)


def test_s5_fails_when_the_thread_looks_at_another_bit(tmp_path):
    patch = mutate(tmp_path, "6.12", "backlog_napi_should_run", "NAPI_STATE_SCHED_THREADED", "NAPI_STATE_MISSED")
    assert not kicked_by_thread(simulate(drain_scenario("6.12-rt"), [patch])[0])


def test_s6_kick_defer_list_purge_chooses(drain, tmp_path):
    assert kicked_by_ipi(drain("6.12"))
    assert kicked_by_thread(drain("6.12-threads"))
    patch = mutate(tmp_path, "6.12", "kick_defer_list_purge", "if use_backlog_threads():", "if not use_backlog_threads():")
    assert not kicked_by_ipi(simulate(drain_scenario("6.12"), [patch])[0])
    assert not kicked_by_thread(simulate(drain_scenario("6.12-threads"), [patch])[0])


STATE_OBSERVER = Mutation(
    "observer",
    "Nothing is: the rule of the backlog's NAPI state is checked where it changes.",
    (
        Edit("napi_schedule_rps", "", "lockdep_assert_held(sd.input_pkt_queue.lock)"),
        Edit(
            "process_backlog_retire_sched",
            "",
            'lockdep_assert_held(container_of(napi, softnet_data, "backlog").input_pkt_queue.lock)',
        ),
        Edit(
            "__napi_schedule_irqoff",
            "",
            """
            if not n.dev:
                lockdep_assert_held(container_of(n, softnet_data, "backlog").input_pkt_queue.lock)
            """,
        ),
    ),
)


@pytest.mark.parametrize("kernel", ["6.10-threads", "6.12-rt", "6.12-threads"])
@pytest.mark.parametrize("rps", [True, False])
def test_s7_the_backlogs_state_changes_under_its_lock(tmp_path, kernel, rps):
    observer = STATE_OBSERVER.write(tmp_path, kernel)
    table = {"kernel_table": {"config": {"RPS": rps, "NET_FLOW_LIMIT": rps}}}
    run = simulate(drain_scenario(kernel, **table), [observer])[0]
    assert kicked_by_thread(run)
    assert simulate(loopback_scenario(kernel, rps=rps), [observer])[0].result.counters["delivered"] > 50


def test_s7_fails_without_the_lock_in_the_kick(tmp_path):
    observer = STATE_OBSERVER.write(tmp_path, "6.12-threads")
    with pytest.raises(KernelStop):
        simulate(drain_scenario("6.12-threads"), [observer, UNLOCKED_KICK.write(tmp_path, "6.12-threads")])


UNLOCKED_KICK = Mutation(
    "unlocked_kick",
    "The kick of a backlog thread only turns interrupts off.",
    (
        Edit("kick_defer_list_purge", "backlog_lock_irq_save(sd)", "local_irq_save()"),
        Edit("kick_defer_list_purge", "backlog_unlock_irq_restore(sd, flags)", "local_irq_restore(flags)"),
    ),
)


LOCK_OBSERVER = Mutation(
    "observer",
    "Nothing is: it is noted whether the lock is held and interrupts are off.",
    (
        Edit(
            "process_backlog_retire_sched",
            "",
            """
            lock = container_of(napi, softnet_data, "backlog").input_pkt_queue.lock
            trace_lock_acquired(lock_is_held(lock), irqs_disabled())
            """,
        ),
    ),
)

LOCK_TABLE = [
    # kernel, RPS, lock held, interrupts off: research table of input_pkt_queue.lock, every row
    ("6.1", True, 1, 1),
    ("6.1-rt", True, 1, 0),
    ("6.1", False, 0, 1),
    ("6.1-rt", False, 0, 0),
    ("6.10", True, 1, 1),
    ("6.10", False, 0, 1),
    ("6.10-threads", True, 1, 1),
    ("6.10-threads", False, 1, 1),
    ("6.10-rt", True, 1, 0),
    ("6.10-rt", False, 1, 0),
    ("6.12", True, 1, 1),
    ("6.12", False, 0, 1),
    ("6.12-threads", False, 1, 1),
    ("6.12-rt", False, 1, 0),
]


def lock_rule(run: Run) -> set[tuple[int, int]]:
    """S8: what (lock held, interrupts off) was when a backlog retired SCHED; other locks record nothing in these runs."""
    return {(record.a, record.b) for record in named(run, "lock_acquired") if record.a in (0, 1)}


@pytest.mark.parametrize(("kernel", "rps", "held", "irqs_off"), LOCK_TABLE)
def test_s8_the_lock_table(tmp_path, kernel, rps, held, irqs_off):
    observer = LOCK_OBSERVER.write(tmp_path, kernel)
    assert lock_rule(simulate(loopback_scenario(kernel, rps=rps), [observer])[0]) == {(held, irqs_off)}


def test_s8_fails_without_the_threads_in_the_rule(tmp_path):
    observer = LOCK_OBSERVER.write(tmp_path, "6.10-threads")
    patches = [observer]
    for name in ("rps_lock_irqsave", "rps_lock_irq_disable", "rps_unlock_irq_restore", "rps_unlock_irq_enable"):
        patches.append(mutate(tmp_path, "6.10", name, " or use_backlog_threads()", ""))
    assert lock_rule(simulate(loopback_scenario("6.10-threads", rps=False), patches)[0]) == {(0, 1)}


def ksoftirqd_woken_by_kicks(run: Run) -> bool:
    """S9: every NET_RX that an IPI raises wakes ksoftirqd, and ksoftirqd runs the softirq."""
    calls = named(run, "trigger_rx_softirq")
    return len(calls) > 1 and run.result.counters["ksoftirqd_wakeups"] >= len(calls)


@pytest.mark.parametrize("kernel", RT_BEFORE)
def test_s9_a_softirq_from_an_ipi_wakes_ksoftirqd_on_rt(drain, kernel):
    assert ksoftirqd_woken_by_kicks(drain(kernel))
    assert run_time(drain(kernel), "ksoftirqd") > 0


@pytest.mark.parametrize("kernel", IPI_KERNELS)
def test_s9_it_does_not_elsewhere(drain, kernel):
    assert drain(kernel).result.counters["ksoftirqd_wakeups"] == 0


def test_s9_fails_when_rt_wakes_nobody(tmp_path):
    patch = mutate(tmp_path, "6.9", "invoke_softirq", "if should_wake_ksoftirqd():", "if not should_wake_ksoftirqd():")
    assert not ksoftirqd_woken_by_kicks(simulate(drain_scenario("6.9-rt"), [patch])[0])


def run_time(run: Run, kind: str) -> int:
    """CPU time of a class on all CPUs."""
    return sum(row.get(kind, 0) for row in run.result.cpu_time_ns)


def seed_difference(before: Run, after: Run) -> bool:
    """S10: the series turns IPI raises and ksoftirqd wakeups into backlog_napi wakeups, and delivers the same packets."""
    b, a = before.result.counters, after.result.counters
    return (
        b["trigger_rx_softirq"] > 0
        and b["ksoftirqd_wakeups"] > 0
        and b["backlog_napi_wakeups"] == 0
        and a["trigger_rx_softirq"] == 0
        and a["ksoftirqd_wakeups"] == 0
        and a["backlog_napi_wakeups"] > 0
        and a["delivered"] == b["delivered"]
    )


def test_s10_before_and_after(drain):
    assert seed_difference(drain("6.9-rt"), drain("6.10-rt"))


def test_s10_fails_when_the_seed_is_taken_out(drain, tmp_path):
    old_kick = mutate(tmp_path, "6.10", "kick_defer_list_purge", "if use_backlog_threads():", "if nr_cpu_ids() == 0:")
    after = simulate(drain_scenario("6.10-rt"), [old_kick])[0]
    assert not seed_difference(drain("6.9-rt"), after)
