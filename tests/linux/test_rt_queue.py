# SPDX-License-Identifier: GPL-2.0-or-later
"""6.1 with PREEMPT_RT is the patch queue of linux-stable-rt: the kick is a work item, and a kworker flushes the list."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.linux.support import Run, drain_scenario, event_name, named, simulate
from tests.mutation import mutate

from softnet.linux.releases import modules_for, patch_info
from softnet.simulate.simulation import Simulation
from softnet.trace import EVENT_ID

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hasty_code")]


def kicked_by_work_item(run: Run) -> bool:
    """Each kick queues one item on the owner's CPU, whose kworker flushes, in task context; no IPI carries it."""
    kicks, items, ran = (named(run, n) for n in ("kick_defer_list_purge", "queue_work_on", "trigger_rx_softirq"))
    if len(kicks) < 2 or not len(kicks) == len(items) == len(ran):
        return False
    if {record.a for record in items} != {0} or {(record.cpu, record.context) for record in ran} != {(0, 0)}:
        return False
    return not named(run, "csd_queue_cpu")


def flushed_by_the_worker(run: Run) -> bool:
    """After each run of the item the list is flushed at once, on the owner's CPU, before anything else of that CPU."""
    told = named(run, "trigger_rx_softirq", "skb_defer_free_flush", "softirq_entry")
    on_owner = [event_name(record) for record in told if record.cpu == 0]
    after = [b for a, b in itertools.pairwise(on_owner) if a == "trigger_rx_softirq"]
    return len(after) > 1 and set(after) == {"skb_defer_free_flush"}


def test_the_kick_is_a_work_item(drain) -> None:
    run = drain("6.1-rt")
    assert kicked_by_work_item(run)
    assert flushed_by_the_worker(run)
    assert not named(run, "kick_coalesced")


@pytest.mark.parametrize("kernel", ["6.1", "6.9-rt", "6.12-rt"])
def test_it_is_one_nowhere_else(drain, kernel: str) -> None:
    assert not kicked_by_work_item(drain(kernel))
    assert not named(drain(kernel), "queue_work_on")


def test_the_kick_raises_no_softirq(drain) -> None:
    """The patch's purpose: ksoftirqd stays asleep. The mainline text on PREEMPT_RT, 6.9-rt, wakes it at each kick."""
    assert drain("6.1-rt").result.counters["ksoftirqd_wakeups"] == 0
    assert drain("6.9-rt").result.counters["ksoftirqd_wakeups"] > 1


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        ("skb_attempt_defer_free", "schedule_work_on(cpu, ", "schedule_work_on(raw_smp_processor_id(), "),
        ("trigger_rx_softirq", "skb_defer_free_flush(sd)", "barrier()"),
        ("trigger_rx_softirq", "smp_store_release(sd.defer_ipi_scheduled, 0)", "barrier()"),
        ("insert_work", "wake_up_process(pool.worker)", "barrier()"),
        ("worker_thread", "pool.nr_running = 0", "pool.nr_running = 1"),
    ],
)  # fmt: skip
def test_each_piece_of_it_is_needed(tmp_path: Path, function: str, old: str, new: str) -> None:
    run = simulate(drain_scenario("6.1-rt"), [mutate(tmp_path, "6.1-rt", function, old, new)])[0]
    assert not (kicked_by_work_item(run) and flushed_by_the_worker(run))


def test_both_engines_run_it_alike() -> None:
    rows = []
    for engine in ("reference", "native"):
        simulation = Simulation(drain_scenario("6.1-rt"), engine=engine, trace="full")
        run = simulation.finish()
        rows.append([tuple(record) for record in run.trace.records])
    assert rows[0] == rows[1]
    assert sum(row[3] == EVENT_ID["queue_work_on"] for row in rows[0]) > 1


def test_it_stands_on_6_1_alone_and_says_where_it_comes_from() -> None:
    assert modules_for("6.12", "rt") == modules_for("6.12")
    added = modules_for("6.1", "rt")[len(modules_for("6.1")) :]
    assert [name.removeprefix("softnet.linux.") for name in added] == [
        "kernel.workqueue",
        "patches.rt_defer_work",
        "patches.ksoftirqd_gate_revert",
    ]
    told = [patch_info(name) for name in added if ".patches." in name]
    assert [row["commit"] for row in told] == ["13c8fbb09c28", "d15121be7485"]
    assert "linux-stable-rt" in told[0]["link"]
