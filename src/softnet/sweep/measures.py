# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a run: a column each, fixed by the scenario."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from softnet.errors import SoftnetError
from softnet.image.plan import Plan
from softnet.image.time_classes import TIME_CLASS_NAMES, WAKEUP_CLASSES
from softnet.simulate.comparison import COUNTER_METRICS

if TYPE_CHECKING:
    from softnet.scenario import Scenario
    from softnet.simulate.figures import Figures
    from softnet.simulate.result import Histogram, Result

LATENCY: Final = (
    ("count", "samples", "", ""), ("mean_ns", "mean", "ns", "lower"), ("min_ns", "min", "ns", "lower"),
    ("p50_ns", "p50", "ns", "lower"), ("p90_ns", "p90", "ns", "lower"), ("p99_ns", "p99", "ns", "lower"),
    ("p999_ns", "p99.9", "ns", "lower"), ("max_ns", "max", "ns", "lower"),
)  # fmt: skip
"""Entry of a histogram's summary, what people call it, its unit, which direction is better."""
WAITS: Final = tuple(entry for entry in LATENCY if entry[0] in ("count", "p50_ns", "p99_ns", "max_ns"))
BEYOND: Final = {"p90": 0.1, "p99": 0.01, "p99.9": 0.001}
"""A quantile's name -> the share of samples beyond it."""

THREADS: Final = tuple(name for name in WAKEUP_CLASSES if name not in ("idle", "hardirq", "softirq"))
"""Classes of CPU time that are threads, which somebody wakes."""

Value = int | float | None


class Measure(NamedTuple):
    """One figure of a run."""

    name: str
    """As the user writes it: ``web.p99``, ``dropped``, ``cpu``."""
    column: str
    """Its column in the results, with its unit: ``web_p99_ns``."""
    title: str
    unit: str
    """"ns", "%" or none."""
    better: str
    """"lower", "higher" or "" where neither is."""


def measures_of(scenario: Scenario) -> tuple[Measure, ...]:
    """Every figure of a run of the scenario, in the order of its columns."""
    out = [Measure(name, name, title, "", better) for name, title, better in COUNTER_METRICS]
    out.append(Measure("cpu", "cpu_busy_percent", "CPU busy", "%", "lower"))
    out += [Measure(f"cpu.{name}", f"cpu_{name}_ns", f"CPU time: {name}", "ns", "") for name in TIME_CLASS_NAMES]
    for full in Plan.of(scenario).histograms:
        out += _of_histogram(full.partition(":")[2], "", LATENCY)
    for kind, words in (("wakeup", "woken to running"), ("preempted", "gave way to running")):
        for name in THREADS:
            out += _of_histogram(f"{kind}.{name}", f", {words}", WAITS)
    return tuple(out)


def _of_histogram(name: str, words: str, entries: Sequence[tuple[str, str, str, str]]) -> list[Measure]:
    plain = name.replace(".", "_").replace("-", "_").replace("#", "_")
    return [
        Measure(f"{name}.{short}", f"{plain}_{key}", f"{name}{words} {short}", unit, better) for key, short, unit, better in entries
    ]


def values_of(result: Result | Figures) -> list[Value]:
    """The figures of a run, in the order of measures_of(); None where it took no sample."""
    out: list[Value] = [result.counters[name] for name, _, _ in COUNTER_METRICS]
    times = {name: sum(row[name] for row in result.cpu_time_ns) for name in TIME_CLASS_NAMES}
    total = sum(times.values())
    out.append(100 * (total - times["idle"]) / total if total else None)
    out += times.values()
    for histogram in result.latency.values():
        out += _figures(histogram, LATENCY)
    for histograms in (result.wakeup_latency, result.preempted_latency):
        for name in THREADS:
            out += _figures(histograms.get(name), WAITS)
    return out


def _figures(histogram: Histogram | None, entries: Sequence[tuple[str, str, str, str]]) -> list[Value]:
    if histogram is None or not histogram.count:
        return [0, *[None] * (len(entries) - 1)]
    summary = histogram.summary()
    return [summary[key] for key, _, _, _ in entries]


def find_measure(measures: Sequence[Measure], name: str, where: str) -> Measure:
    """The measure with that name, or that column. Raises SoftnetError."""
    for measure in measures:
        if name in (measure.name, measure.column):
            return measure
    from softnet.scenario.problems import did_you_mean

    names = [measure.name for measure in measures]
    listed = [name for name in names if not name.startswith(("wakeup.", "preempted.", "cpu."))]
    raise SoftnetError("unknown measure", where=where, found=repr(name), hint=did_you_mean(name, names),
                       expected=f"one of {', '.join(listed)}; cpu.CLASS; wakeup.CLASS.p99; preempted.CLASS.p99")  # fmt: skip


def default_measures(measures: Sequence[Measure], scenario: Scenario) -> tuple[Measure, ...]:
    """What is shown when nothing is asked for: each p99 of up to three histograms, drops, CPU."""
    names = [full.partition(":")[2] + ".p99" for full in Plan.of(scenario).histograms[:3]] + ["dropped", "cpu"]
    return tuple(measure for name in names for measure in measures if measure.name == name)
