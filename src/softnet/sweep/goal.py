# SPDX-License-Identifier: GPL-2.0-or-later
"""What an experiment looks for: the lowest or highest figure of a measure, and the limits that others must keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from softnet.errors import SoftnetError
from softnet.simulate.conditions import UNITS_NS, parse_condition
from softnet.sweep.measures import Measure, find_measure

if TYPE_CHECKING:
    from softnet.sweep.experiment import Asked

BARELY: Final = 1e-9
"""How far a figure that must be below a bound is beyond it when it is equal."""

_UNITS: Final = {"": (("",), "a number"), "ns": (tuple(UNITS_NS), "a time, as 50us"), "%": (("", "%"), "a share, as 40%")}


class Limit(NamedTuple):
    """What an arm's mean must keep to."""

    text: str
    measure: str
    operator: str
    bound: float

    def excess(self, figure: float) -> float:
        """By how much a figure breaks it; 0 or less if it does not. No figure breaks everything."""
        if math.isnan(figure):
            return math.inf
        over = figure - self.bound
        if self.operator in ("<", "<="):
            return over or (BARELY if self.operator == "<" else 0.0)
        if self.operator in (">", ">="):
            return -over or (BARELY if self.operator == ">" else 0.0)
        if self.operator == "==":
            return abs(over)
        return 0.0 if over else 1.0


class Goal(NamedTuple):
    """A direction of a measure, and limits."""

    measure: Measure
    limits: tuple[Limit, ...]

    @property
    def sign(self) -> int:
        """1 where lower is better, -1 where higher is."""
        return -1 if self.measure.better == "higher" else 1


def limits_of(asked: Asked, measures: Sequence[Measure]) -> tuple[Limit, ...]:
    """The limits of an experiment. Raises SoftnetError."""
    where = asked.where("subject_to")
    return tuple(_limit(text, measures, where) for text in asked.experiment.subject_to)


def _limit(text: str, measures: Sequence[Measure], where: str) -> Limit:
    condition = parse_condition(text, where, "'cpu < 40%' or 'dropped <= 0'")
    measure = find_measure(measures, condition.measure, f"{where}: {text[:80]}")
    unit = "%" if condition.relative else condition.unit
    units, expected = _UNITS[measure.unit]
    if unit not in units:
        raise SoftnetError("a limit in another unit than its measure", where=f"{where}: {text[:80]}", found=unit, expected=expected)
    return Limit(condition.text, measure.name, condition.operator, float(condition.value) * UNITS_NS.get(condition.unit, 1))


def directed(asked: Asked, measures: tuple[Measure, ...]) -> tuple[tuple[Measure, ...], Measure | None]:
    """The measures, of which the objective is better where the experiment says so; and the objective. Raises SoftnetError."""
    wanted = asked.experiment
    if wanted.minimize and wanted.maximize:
        both = f"{wanted.minimize} and {wanted.maximize}"
        raise SoftnetError("one objective at a time", where=asked.where("maximize"), found=both, hint="--subject-to 'cpu < 40%'",
                           expected="one, and limits for the others")  # fmt: skip
    key, better = ("minimize", "lower") if wanted.minimize else ("maximize", "higher")
    name = wanted.minimize or wanted.maximize
    if not name:
        return measures, None
    found = find_measure(measures, name, asked.where(key))
    objective = found._replace(better=better)
    return tuple(objective if measure is found else measure for measure in measures), objective


def limits_from(about: Any) -> tuple[Limit, ...]:
    """The limits that experiment.json keeps."""
    return tuple(Limit(**limit) for limit in about.get("subject_to", ()))
