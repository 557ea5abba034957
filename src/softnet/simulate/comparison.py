# SPDX-License-Identifier: GPL-2.0-or-later
"""Arms side by side: the same arrivals for every arm, several seeds, and whether a difference is more than noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from softnet.image.time_classes import WAKEUP_CLASSES
from softnet.simulate.result import Histogram, Result
from softnet.views import Picture, views

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "softnet-comparison/1"

# Two-sided 95 % quantiles of Student's t for 1..30 degrees of freedom, times 1000.
T_975_PERMILLE = (
    12706, 4303, 3182, 2776, 2571, 2447, 2365, 2306, 2262, 2228, 2201, 2179, 2160, 2145, 2131, 2120, 2110, 2101, 2093,
    2086, 2080, 2074, 2069, 2064, 2060, 2056, 2052, 2048, 2045, 2042,
)  # fmt: skip

COUNTER_METRICS = (
    ("ipis", "IPIs, all causes", "lower"),
    ("ipis_call_function", "IPIs: function calls", "lower"),
    ("ipis_reschedule", "IPIs: reschedule", "lower"),
    ("kicks", "defer list kicks", ""),
    ("trigger_rx_softirq", "kicks by function call", "lower"),
    ("rps_ipis", "RPS by IPI", "lower"),
    ("net_rx_raises", "NET_RX raised", "lower"),
    ("ksoftirqd_wakeups", "ksoftirqd wakeups", "lower"),
    ("backlog_napi_wakeups", "backlog_napi wakeups", ""),
    ("context_switches", "context switches", "lower"),
    ("napi_polls", "NAPI polls", ""),
    ("time_squeeze", "time_squeeze", "lower"),
    ("time_squeeze_budget", "squeezed by the budget", "lower"),
    ("time_squeeze_time", "squeezed by time", "lower"),
    ("deferred", "skbs deferred", ""),
    ("line_transfers", "cache line transfers", "lower"),
    ("dropped", "packets dropped", "lower"),
    ("delivered", "packets delivered", "higher"),
)
"""Counter, what it is, and which direction is better ("" where neither is)."""


LEAST_EFFECT = 0.01
"""A difference of less than this share of the base is called neither better nor worse, however sure it is."""


@dataclass(frozen=True)
class Metric:
    """One figure of every arm: ``values[arm]`` has one entry per seed, None where that run took no sample."""

    name: str
    title: str
    unit: str
    better: str
    values: dict[str, tuple[int | None, ...]]

    def sampled(self, arm: str) -> list[int]:
        """The figures of the runs that took a sample."""
        return [value for value in self.values[arm] if value is not None]

    def mean(self, arm: str) -> float | None:
        """The mean over the seeds that took a sample; None where none did."""
        values = self.sampled(arm)
        return sum(values) / len(values) if values else None

    def spread(self, arm: str) -> tuple[int, int] | None:
        """Least and greatest over the seeds that took a sample; None where none did."""
        values = self.sampled(arm)
        return (min(values), max(values)) if values else None

    def difference(self, base: str, arm: str) -> Difference:
        """``arm`` against ``base``, seed by seed."""
        return Difference.of(self.values[base], self.values[arm], self.better)


@dataclass(frozen=True)
class Difference:
    """A paired difference: mean, its 95 % interval, and the verdict "same", "noise", "lower", "higher" or "no samples".

    "same": equal in every seed. "noise": the interval contains 0, or one pair of runs only. "no samples": no seed has the
    figure in both arms, so there is nothing to compare. Only pairs of runs that both have it count.
    """

    mean: float
    low: float
    high: float
    ratio: float | None
    verdict: str
    judgement: str
    """"better", "worse" or "" (noise, less than LEAST_EFFECT, or neither direction is better)."""

    @property
    def small(self) -> bool:
        """Whether it is less than LEAST_EFFECT of the base; a base of 0 makes nothing small."""
        return self.ratio is not None and abs(self.ratio - 1) < LEAST_EFFECT

    @staticmethod
    def of(base: tuple[int | None, ...], other: tuple[int | None, ...], better: str) -> Difference:
        """The paired comparison of two arms over the same seeds."""
        pairs = [(a, b) for a, b in zip(base, other, strict=True) if a is not None and b is not None]
        if not pairs:
            return Difference(0.0, 0.0, 0.0, None, "no samples", "")
        deltas = [b - a for a, b in pairs]
        n = len(deltas)
        mean = sum(deltas) / n
        half = float("inf")
        if n > 1:
            variance = sum((d - mean) ** 2 for d in deltas) / (n - 1)
            half = T_975_PERMILLE[min(n - 1, 30) - 1] / 1000 * (variance / n) ** 0.5
        base_mean = sum(a for a, _ in pairs) / n
        ratio = (base_mean + mean) / base_mean if base_mean else None
        if not any(deltas):
            verdict = "same"
        elif n == 1 or mean - half <= 0 <= mean + half:
            verdict = "noise"
        else:
            verdict = "higher" if mean > 0 else "lower"
        if n == 1:
            half = 0.0
        found = Difference(mean, mean - half, mean + half, ratio, verdict, "")
        if better and not found.small and verdict in ("lower", "higher"):
            return replace(found, judgement="better" if verdict == better else "worse")
        return found


@dataclass(frozen=True, repr=False)
class Comparison:
    """All arms' results; ``arms`` in the order given, the first is the base of every difference."""

    scenario: str
    description: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    results: dict[str, tuple[Result, ...]]
    """Arm -> one result per seed."""
    remarks: tuple[str, ...] = ()
    """What else is to be borne in mind, a sentence each."""
    same_arrivals: bool = True
    """Whether the packets of a seed arrive at the same times in every arm."""

    def __repr__(self) -> str:
        return f"Comparison({self.scenario}: {', '.join(self.arms)}; {len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''})"

    def _repr_html_(self) -> str:
        return views().html(self)

    def plot(self, latency: str = "", kind: str = "percentiles") -> Picture:
        """A latency of every arm as a chart (softnet.report.views.plot). Raises SoftnetError."""
        return views().plot(self, latency, kind)

    def metrics(self) -> list[Metric]:
        """Counters, CPU time by class, and the quantiles of each latency."""
        out = [self._metric(name, title, "", better, lambda r, n=name: r.counters[n]) for name, title, better in COUNTER_METRICS]
        first = self.results[self.arms[0]][0]
        for time_class in first.cpu_time_ns[0] if first.cpu_time_ns else {}:
            if time_class != "idle":
                out.append(
                    self._metric(
                        f"cpu_{time_class}_ns",
                        f"CPU time: {time_class}",
                        "ns",
                        "lower",
                        lambda r, c=time_class: sum(row[c] for row in r.cpu_time_ns),
                    )
                )
        for name in dict.fromkeys(name for arm in self.arms for r in self.results[arm] for name in r.latency):
            for column, title in (("p50_ns", "p50"), ("p99_ns", "p99"), ("p999_ns", "p99.9"), ("max_ns", "max")):
                out.append(
                    self._metric(
                        f"latency_{name}_{column}",
                        f"{name} {title}",
                        "ns",
                        "lower",
                        lambda r, n=name, c=column: _summary(r.latency, n, c),
                    )
                )
        return [*out, *self._waits("wakeup", "woken to running"), *self._waits("preempted", "gave way to running")]

    def _waits(self, kind: str, words: str) -> Iterator[Metric]:
        """Quantiles of how long the threads of each class waited for a CPU."""
        field = f"{kind}_latency"
        seen = {name for arm in self.arms for r in self.results[arm] for name in getattr(r, field)}
        for name in (name for name in WAKEUP_CLASSES if name in seen):
            for column, title in (("p50_ns", "p50"), ("p99_ns", "p99"), ("max_ns", "max")):
                yield self._metric(
                    f"{kind}_{name}_{column}",
                    f"{name}: {words}, {title}",
                    "ns",
                    "lower",
                    lambda r, n=name, c=column: _summary(getattr(r, field), n, c),
                )

    def _metric(self, name: str, title: str, unit: str, better: str, value: Any) -> Metric:
        return Metric(name, title, unit, better, {arm: tuple(value(r) for r in self.results[arm]) for arm in self.arms})

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of ``softnet compare --json``."""
        base = self.arms[0]
        metrics = []
        for m in self.metrics():
            entry: dict[str, Any] = {"name": m.name, "title": m.title, "unit": m.unit, "better": m.better, "arms": {}}
            for arm in self.arms:
                low, high = m.spread(arm) or (None, None)
                entry["arms"][arm] = {"values": list(m.values[arm]), "mean": m.mean(arm), "min": low, "max": high}
                if arm != base:
                    d = m.difference(base, arm)
                    entry["arms"][arm]["difference"] = {
                        "mean": d.mean, "low": d.low, "high": d.high, "ratio": d.ratio, "verdict": d.verdict,
                        "judgement": d.judgement,
                    }  # fmt: skip
            metrics.append(entry)
        return {
            "schema": SCHEMA, "scenario": self.scenario, "description": self.description, "arms": list(self.arms),
            "seeds": list(self.seeds), "base": base, "metrics": metrics,
            "results": {arm: [r.to_dict() for r in self.results[arm]] for arm in self.arms},
        }  # fmt: skip

    def frame(self) -> pd.DataFrame:
        """A data frame: one row per metric and arm, columns mean, min, max, difference, verdict."""
        from softnet.simulate.result import _pandas

        base = self.arms[0]
        rows = []
        for m in self.metrics():
            for arm in self.arms:
                d = m.difference(base, arm)
                rows.append((m.name, arm, m.unit, m.mean(arm), *(m.spread(arm) or (None, None)), d.mean, d.low, d.high, d.verdict))
        columns = ["metric", "arm", "unit", "mean", "min", "max", "difference", "low", "high", "verdict"]
        frame: pd.DataFrame = _pandas().DataFrame(rows, columns=columns)
        return frame


def _summary(histograms: dict[str, Histogram], name: str, column: str) -> int | None:
    """A figure of a histogram; None where the run has no such histogram, or no sample in it."""
    return histograms[name].summary()[column] if name in histograms and histograms[name].count else None
