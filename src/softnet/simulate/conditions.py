# SPDX-License-Identifier: GPL-2.0-or-later
"""Conditions on what a run or a comparison found: MEASURE OP VALUE[%], as in ``p99.web > +5%`` or ``dropped > 0``.

A measure is a figure of ``Comparison.metrics()`` by its name, or, of a latency, ``p99.web``, ``p99.wakeup.ksoftirqd``,
``max.preempted.applications``. A value is a number, of a time with a unit (ns, us, ms or s; ns without one). A value with ``%`` is
the change of an arm's mean against the base's; other values are held against the mean of each arm, the base's too.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from softnet.errors import SoftnetError
from softnet.simulate.comparison import Comparison, Metric
from softnet.simulate.result import Result

_OPERATORS: Final[dict[str, Callable[[float, Fraction], bool]]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
UNITS_NS: Final = {"": 1, "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_SYNTAX: Final = re.compile(
    r"\s*(?P<measure>[^\s<>=!]+)\s*(?P<operator>>=|<=|==|!=|>|<)\s*(?P<value>[+-]?[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>%|ns|us|ms|s|)\s*",
    re.ASCII,
)
_TEXT_MAX: Final = 300
_LATENCY: Final = re.compile(r"(latency|wakeup|preempted)_(.+)_(p50|p99|p999|max)_ns")


@dataclass(frozen=True)
class Condition:
    """One condition as it was given."""

    text: str
    measure: str
    operator: str
    value: Fraction
    """Percent where ``relative``, else in ``unit``."""
    unit: str
    relative: bool

    def holds(self, figure: float) -> bool:
        """Whether a figure (or a change in percent) fulfils it."""
        return _OPERATORS[self.operator](figure, self.value if self.relative else self.value * UNITS_NS[self.unit])


@dataclass(frozen=True)
class Judged:
    """A condition held against one arm."""

    condition: Condition
    arm: str
    true: bool
    unit: str
    """Of ``mean`` and ``base``: "ns" or ""."""
    mean: float
    base: float | None
    """The base's mean, where the condition is about a change."""
    change_percent: float | None
    verdict: str
    """Of the comparison with the base: "noise", "higher", …; "" where there is none."""


def parse_condition(text: str, where: str = "--fail-if", example: str = "'p99.web > 50us' or 'dropped > 0'") -> Condition:
    """Read a condition, which was given there. Raises SoftnetError."""
    found = _SYNTAX.fullmatch(text) if len(text) <= _TEXT_MAX else None
    expected = "MEASURE OP VALUE[%], OP one of " + " ".join(_OPERATORS)
    if found is None:
        raise SoftnetError("no condition", where=where, found=repr(text), expected=expected, hint=f"for instance {example}")
    relative = found["unit"] == "%"
    if found["value"][0] in "+-" and not relative:
        raise SoftnetError(
            "a value with a sign is a change, which is given in percent", where=where, found=repr(text), expected="+5% or 5us"
        )
    return Condition(
        text.strip(), found["measure"], found["operator"], Fraction(found["value"]), "" if relative else found["unit"], relative
    )


def judge_run(conditions: Sequence[Condition], result: Result) -> list[Judged]:
    """Hold the figures of one run against the conditions. Raises SoftnetError for an unknown measure, and for a change."""
    for condition in conditions:
        if condition.relative:
            raise SoftnetError(
                "a single run has nothing to change from",
                where=f"--fail-if {condition.text!r}",
                found="%",
                expected="a value without %",
                hint="softnet compare knows changes",
            )
    label = str(result.kernel["label"])
    return judge(conditions, Comparison(result.scenario, result.description, (label,), (result.seed,), {label: (result,)}))


def judge(conditions: Sequence[Condition], comparison: Comparison) -> list[Judged]:
    """Hold every arm against every condition; changes are of all arms but the first. Raises SoftnetError for an unknown measure,
    and where a run has no sample of it.
    """
    known = measures(comparison.metrics())
    out = []
    for condition in conditions:
        metric = known.get(condition.measure) or next((m for m in known.values() if m.name == condition.measure), None)
        if metric is None:
            raise SoftnetError(
                "an unknown measure", where=f"--fail-if {condition.text!r}", found=condition.measure, expected=", ".join(known)
            )
        if condition.unit and metric.unit != "ns":
            raise SoftnetError(
                "a time for a measure that is none",
                where=f"--fail-if {condition.text!r}",
                found=condition.unit,
                expected="a number",
            )
        out += [_judged(condition, metric, comparison, arm) for arm in comparison.arms[1 if condition.relative else 0 :]]
    return out


def measures(metrics: Sequence[Metric]) -> dict[str, Metric]:
    """The measures by the short names that messages list."""
    out: dict[str, Metric] = {}
    for metric in metrics:
        found = _LATENCY.fullmatch(metric.name)
        name = metric.name
        if found is not None:
            kind = "" if found[1] == "latency" else f"{found[1]}."
            name = f"{found[3]}.{kind}{found[2]}"
        out.setdefault(name if name not in out else metric.name, metric)
    return out


def _judged(condition: Condition, metric: Metric, comparison: Comparison, arm: str) -> Judged:
    base = comparison.arms[0]
    mean, base_mean = metric.mean(arm), metric.mean(base)
    if mean is None or (condition.relative and base_mean is None):
        raise SoftnetError(
            "no run took a sample of this measure",
            where=f"--fail-if {condition.text!r}",
            found=f"arm {arm if mean is None else base}",
            expected="at least one sample",
        )
    if not condition.relative:
        return Judged(condition, arm, condition.holds(mean), metric.unit, mean, None, None, "")
    difference = metric.difference(base, arm)
    if difference.verdict == "no samples":
        raise SoftnetError(
            "no seed has a sample of this measure in both arms",
            where=f"--fail-if {condition.text!r}",
            found=f"arms {base} and {arm}",
            expected="a seed with samples in both",
        )
    # 0 stays 0, and more than nothing is more by any share.
    change = float("inf") if difference.mean else 0.0
    if difference.ratio is not None:
        change = (difference.ratio - 1) * 100
    return Judged(condition, arm, condition.holds(change), metric.unit, mean, base_mean, change, difference.verdict)
