# SPDX-License-Identifier: GPL-2.0-or-later
"""What a change that the doctor names would do, by the model, to the machine's own scenario."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from softnet.errors import SoftnetError
from softnet.host.findings import Change, Diagnosis
from softnet.host.model import HostReport
from softnet.host.scenario import GUESS, numbers_of, scenario_of
from softnet.scenario import scenario_from_dict

if TYPE_CHECKING:
    from softnet.simulate.comparison import Comparison, Metric

CHANGES_MAX: Final = 6
SEEDS: Final = 3
BASE: Final = "as it is"
LATENCY: Final = "latency_app_p99_ns"


@dataclass(frozen=True)
class Predicted:
    """One figure: what it is, without and with the change, and whether the difference is more than noise."""

    title: str
    unit: str
    base: float | None
    changed: float | None
    verdict: str
    judgement: str


@dataclass(frozen=True)
class Prediction:
    """What a change would do; ``why_not`` where the model cannot say, ``caution`` where it should be taken with care."""

    finding: str
    do: str
    settings: tuple[str, ...]
    figures: tuple[Predicted, ...] = ()
    why_not: str = ""
    caution: str = ""


def predict(
    report: HostReport, diagnosis: Diagnosis, progress: Callable[[int, int, str], None] | None = None
) -> tuple[Prediction, ...]:
    """Run the scenario as it is and with each change, on the same arrivals; at most CHANGES_MAX changes, of the first findings.

    The model's traffic is what the counters' mean says, as a Poisson process: bursts that caused a finding may not be in it, and
    then the prediction says so.
    """
    from softnet.simulate.api import compare, resolve
    from softnet.simulate.arms import Arm

    text = scenario_of(report)
    scenario = scenario_from_dict(tomllib.loads(text))
    numbers = numbers_of(report)
    found: dict[tuple[str, ...], Prediction] = {}
    arms: list[Arm] = []
    for finding in diagnosis.findings:
        for change in finding.changes:
            settings = _settings(change, numbers)
            if not settings or settings in found or len(found) >= CHANGES_MAX:
                continue
            found[settings] = Prediction(finding.id, change.do, settings)
            try:
                resolve(scenario, "", settings)
                arms.append(Arm(", ".join(settings), settings=settings))
            except SoftnetError as error:
                found[settings] = Prediction(
                    finding.id, change.do, settings, why_not=f"the scenario cannot have it: {error.message}"
                )
    if not arms:
        return tuple(found.values())
    seeds = range(scenario.measure.seed, scenario.measure.seed + SEEDS)
    comparison = compare(scenario, [Arm(BASE), *arms], seeds=tuple(seeds), progress=progress).comparison
    guessed = any(line.startswith("rate_pps") and GUESS in line for line in text.splitlines())
    metrics = {metric.name: metric for metric in comparison.metrics()}
    for arm in arms:
        before = found[arm.settings]
        found[arm.settings] = Prediction(
            before.finding,
            before.do,
            arm.settings,
            _figures(comparison, metrics, arm.label),
            "",
            _caution(before, metrics, guessed),
        )
    return tuple(found.values())


def _settings(change: Change, numbers: dict[int, int]) -> tuple[str, ...]:
    """A change as settings of the scenario, with its numbers of CPUs; nothing if a CPU of it is not in the scenario."""
    out = []
    for key, value in change.sets:
        if isinstance(value, tuple):
            if any(cpu not in numbers for cpu in value):
                return ()
            out.append(f"{key}={[numbers[cpu] for cpu in value]}".replace(" ", ""))
        else:
            out.append(f"{key}={value}")
    return tuple(out)


def _figures(comparison: Comparison, metrics: dict[str, Metric], arm: str) -> tuple[Predicted, ...]:
    wanted = [metrics[name] for name in ("delivered", "dropped", "time_squeeze", LATENCY) if name in metrics]
    figures = []
    for metric in [*wanted, _busy(comparison)]:
        difference = metric.difference(BASE, arm)
        figures.append(
            Predicted(metric.title, metric.unit, metric.mean(BASE), metric.mean(arm), difference.verdict, difference.judgement)
        )
    return tuple(figures)


def _busy(comparison: Comparison) -> Metric:
    """CPU time outside idle, of all CPUs."""
    from softnet.simulate.comparison import Metric

    values: dict[str, tuple[int | None, ...]] = {
        arm: tuple(sum(t for row in r.cpu_time_ns for kind, t in row.items() if kind != "idle") for r in comparison.results[arm])
        for arm in comparison.arms
    }
    return Metric("busy_ns", "CPU time outside idle", "ns", "lower", values)


SHOWN_BY: Final = {
    "backlog-drops": ("dropped", "no packet is dropped in the scenario as it is"),
    "backlog-small": ("dropped", "no packet is dropped in the scenario as it is"),
    "ring-full": ("dropped", "no packet is dropped in the scenario as it is"),
    "udp-buffers": ("dropped", "no packet is dropped in the scenario as it is"),
    "time-squeeze": ("time_squeeze", "nothing is squeezed in the scenario as it is"),
}
"""Finding -> the counter by which the scenario would show it, and what to say if it does not."""


def _caution(prediction: Prediction, metrics: dict[str, Metric], guessed: bool) -> str:
    """Why not to rely on it."""
    said = []
    name, words = SHOWN_BY.get(prediction.finding, ("", ""))
    if name and not metrics[name].mean(BASE):
        said.append(f"{words}, so it cannot say what the change cures (the machine's traffic has bursts that no counter shows)")
    if guessed:
        said.append("the rate of packets is guessed")
    return "; ".join(said)
