# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a comparison in the groups in which people read them; the same for the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from softnet.simulate.result import Histogram, Result

if TYPE_CHECKING:
    from softnet.simulate.comparison import Comparison, Metric


class Group(NamedTuple):
    """Metrics that belong into one table."""

    title: str
    metrics: list[Metric]


def busy_ns(result: Result) -> int:
    """CPU time outside idle, of all CPUs."""
    return sum(value for row in result.cpu_time_ns for name, value in row.items() if name != "idle")


def busy_metric(comparison: Comparison) -> Metric:
    """CPU time outside idle."""
    from softnet.simulate.comparison import Metric  # here: the page of one run compares nothing

    values: dict[str, tuple[int | None, ...]] = {
        arm: tuple(busy_ns(r) for r in results) for arm, results in comparison.results.items()
    }
    return Metric("cpu_busy_ns", "all outside idle", "ns", "lower", values)


def groups(comparison: Comparison) -> list[Group]:
    """Counters, CPU time, latency.

    Time that moves from one class to another is neither better nor worse, so only the total of CPU time is judged.
    """
    counters: list[Metric] = []
    times: list[Metric] = [busy_metric(comparison)]
    latency: list[Metric] = []
    woken: list[Metric] = []
    preempted: list[Metric] = []
    for m in comparison.metrics():
        if m.name.startswith("cpu_"):
            times.append(replace(m, title=m.title.removeprefix("CPU time: "), better=""))
        elif m.name.startswith("latency_"):
            latency.append(m)
        elif m.name.startswith("wakeup_"):
            woken.append(replace(m, title=m.title.replace(": woken to running,", "")))
        elif m.name.startswith("preempted_"):
            preempted.append(replace(m, title=m.title.replace(": gave way to running,", "")))
        else:
            counters.append(m)
    return [
        Group("Counters of the measured part, mean per run", counters),
        Group("CPU time by class, all CPUs, mean per run", times),
        Group("Latency, mean over the seeds of each run's quantile", latency),
        *([Group("From being woken to running, by class, mean of each run's quantile", woken)] if woken else []),
        *([Group("From giving way to running again, by class, mean of each run's quantile", preempted)] if preempted else []),
    ]


def latencies(comparison: Comparison) -> dict[str, list[tuple[str, Histogram]]]:
    """Each latency -> the arms that know it, with the samples of all their seeds together."""
    names = dict.fromkeys(name for arm in comparison.arms for r in comparison.results[arm] for name in r.latency)
    return {
        name: [
            (arm, merged([r.latency[name] for r in comparison.results[arm] if name in r.latency]))
            for arm in comparison.arms
            if any(name in r.latency for r in comparison.results[arm])
        ]
        for name in names
    }


def merged(histograms: Sequence[Histogram]) -> Histogram:
    """The samples of several runs as one histogram; buckets of the same bounds are added."""
    counts: dict[tuple[int, int], int] = {}
    for h in histograms:
        for low, high, count in h.buckets:
            counts[low, high] = counts.get((low, high), 0) + count
    filled = [h for h in histograms if h.count]
    first = histograms[0]
    return Histogram(
        first.name, first.kind, sum(h.count for h in filled), sum(h.sum_ns for h in filled),
        min((h.min_ns for h in filled), default=0), max((h.max_ns for h in filled), default=0),
        tuple((low, high, n) for (low, high), n in sorted(counts.items())),
    )  # fmt: skip
