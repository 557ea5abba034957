# SPDX-License-Identifier: GPL-2.0-or-later
"""Results, comparisons and traces made by hand: every figure below is chosen, so every sentence about it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from softnet.simulate.comparison import COUNTER_METRICS, Comparison
from softnet.simulate.result import TIME_CLASS_NAMES, Conservation, Histogram, Result, Trace
from softnet.trace import EVENT_ID, EVENTS, Record

MS = 1_000_000
US = 1_000


def histogram(name: str, kind: str, samples: Mapping[int, int]) -> Histogram:
    """A histogram with one bucket, 3 % wide, for each (latency in ns, count)."""
    buckets = tuple((at, at + max(at * 3 // 100, 1), n) for at, n in sorted(samples.items()))
    total = sum(samples.values())
    return Histogram(
        name,
        kind,
        total,
        sum(at * n for at, n in samples.items()),
        min(samples, default=0),
        max(samples, default=0),
        buckets,
    )


def result(label: str = "6.10-rt", seed: int = 1, counters: Mapping[str, int] | None = None, **changes: Any) -> Result:
    """A run on two CPUs that delivered 5,000 packets; ``counters`` and fields may be changed."""
    known = {name: 0 for name, _, _ in COUNTER_METRICS} | {"delivered": 5000, "context_switches": 4000 + seed}
    known |= dict(counters or {})
    times = [dict.fromkeys(TIME_CLASS_NAMES, 0) for _ in range(2)]
    times[0] |= {"idle": 80 * MS, "softirq": 15 * MS, "hardirq": 5 * MS}
    times[1] |= {"idle": 90 * MS, "user": 10 * MS}
    stat = {"processed": 5000, "dropped": 0, "time_squeeze": 3, "cpu": 0}
    made = Result(
        scenario="sample",
        description="Two CPUs, made by hand.",
        kernel={"label": label, "release": label.split("-")[0], "flavour": "rt", "preempt": "rt", "hz": 250,
                "boot_args": [], "sysctl": {"skb_defer_max": 64}, "patches": ["softnet.linux.patches.defer_lock_bh"]},
        engine="reference",
        seed=seed,
        cpus=2,
        duration_ns=110 * MS,
        warmup_ns=10 * MS,
        costs="default",
        softnet_stat=["00001388 00000000 00000003", "00000000 00000000 00000000"],
        softnet_columns=[stat, {**dict.fromkeys(stat, 0), "cpu": 1}],
        events={event.name: [0, 0] for event in EVENTS},
        counters=known,
        cpu_time_ns=times,
        latency={"web": histogram("web", "packet", {10 * US: 4000, 20 * US: 950, 40 * US: 45, 90 * US: 5})},
        conservation=Conservation(5200, 0, 5150, 50, {}, {}),
        series={"time_ns": [MS, 2 * MS, 3 * MS], "defer_count/0": [0, 12, 4], "defer_bytes/0": [0, 27648, 9216],
                "backlog/0": [0, 0, 0], "defer_count/1": [0, 0, 0], "defer_bytes/1": [0, 0, 0], "backlog/1": [0, 0, 0]},
        locks={"contended": [0, 0], "spin_ns": [0, 0]},
        line_transfers=[100, 50],
        squeezes={"by_budget": [0, 0], "by_time": [0, 0]},
        tasks=[],
    )  # fmt: skip
    return replace(made, **changes)


def comparison(seeds: tuple[int, ...] = (1, 2, 3)) -> Comparison:
    """Before: kicks by IPI that wake ksoftirqd. After: by waking a thread, with a shorter tail."""
    before, after = [], []
    for seed in seeds:
        ipi = 400 + 5 * (seed % 3)
        counters = {"kicks": ipi, "trigger_rx_softirq": ipi, "ipis": ipi + 7, "ipis_call_function": ipi, "ipis_reschedule": 7,
                    "ksoftirqd_wakeups": ipi - 12, "net_rx_raises": 2400}  # fmt: skip
        before.append(result("6.9-rt", seed, counters))
        counters = {
            "kicks": ipi,
            "backlog_napi_wakeups": ipi,
            "ipis": 7,
            "ipis_reschedule": 7,
            "net_rx_raises": 2000,
        }
        latency = {"web": histogram("web", "packet", {10 * US: 4000, 15 * US: 950, (20 + seed % 3) * US: 50})}
        after.append(result("6.10-rt", seed, counters, latency=latency))
    return Comparison(
        "sample", "Two CPUs, made by hand.", ("6.9-rt", "6.10-rt"), seeds, {"6.9-rt": tuple(before), "6.10-rt": tuple(after)}
    )


def record(time_ns: int, cpu: int, event: str, a: int = 0, b: int = 0, c: int = 0, context: int = 0) -> Record:
    """A record by the event's name."""
    return Record(time_ns, cpu, context, EVENT_ID[event], a, b, c)


TASKS = ((1, "swapper/0"), (2, "swapper/1"), (3, "ksoftirqd/0"), (4, "web"), (5, "cyclictest"))
NET_RX, CALL_FUNCTION, DEVICE = 3, 2, 4


def kick_trace() -> Trace:
    """A kick by IPI: web on CPU 1 kicks CPU 0, whose ksoftirqd polls, is preempted by cyclictest, and goes on."""
    return Trace(
        (
            record(100, 1, "sched_switch", 2, 4),
            record(300, 1, "kick_defer_list_purge", 0),
            record(320, 1, "csd_queue_cpu", 0),
            record(350, 1, "ipi_send_cpu", 0, CALL_FUNCTION),
            record(900, 0, "irq_handler_entry", CALL_FUNCTION, 0, context=2),
            record(950, 0, "trigger_rx_softirq", 0, context=2),
            record(980, 0, "softirq_raise", NET_RX, context=2),
            record(990, 0, "wakeup_softirqd", 0, context=2),
            record(1000, 0, "sched_waking", 3, 0, context=2),
            record(1100, 0, "irq_handler_exit", CALL_FUNCTION, 0, context=2),
            record(1200, 0, "sched_switch", 1, 3),
            record(1300, 0, "softirq_entry", NET_RX),
            record(1400, 0, "skb_defer_free_flush", 33, context=1),
            record(1500, 0, "sched_switch", 3, 5),
            record(1800, 0, "sched_switch", 5, 3, 1),
            record(1900, 0, "softirq_exit", NET_RX, context=1),
            record(2000, 0, "sched_switch", 3, 1, 1),
            record(2500, 1, "sched_switch", 4, 2, 1),
        ),
        TASKS,
        2,
    )
