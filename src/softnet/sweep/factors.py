# SPDX-License-Identifier: GPL-2.0-or-later
"""What an experiment varies: a key of the scenario, ``kernel`` or ``patch``, with its levels or a range of numbers."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from softnet.errors import SoftnetError
from softnet.simulate.arms import split_parts

KERNEL: Final = "kernel"
PATCH: Final = "patch"
NO_PATCH: Final = "none"
"""The level of ``patch`` that adds none."""

_NUMBER: Final = r"[-+]?\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE: Final = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(:log)?")


class Range(NamedTuple):
    """Numbers from ``low`` to ``high``, both included; ``whole``: integers only; ``log``: each factor of two as likely."""

    low: float
    high: float
    whole: bool
    log: bool

    def at(self, part: float) -> str:
        """The number at a part of the way, from 0 up to but not including 1, as TOML writes it."""
        top = self.high + 1 if self.whole else self.high
        if self.log:
            value = self.low * (top / self.low) ** part
        else:
            value = self.low + (top - self.low) * part
        if self.whole:
            return str(min(int(value // 1), int(self.high)))
        return repr(float(f"{value:.6g}"))


@dataclass(frozen=True)
class Factor:
    """One thing that is varied. ``levels`` are texts as ``--set KEY=`` takes them; empty where ``range`` says what there is."""

    key: str
    levels: tuple[str, ...]
    range: Range | None
    where: str
    """The option, or file, line and key, that says so."""

    @property
    def column(self) -> str:
        """Its column in the results: the key with underscores for dots."""
        return re.sub(r"[^A-Za-z0-9_]", "_", self.key)

    def pick(self, part: float) -> str:
        """The level at a part of the way through, from 0 up to but not including 1."""
        if self.range is not None:
            return self.range.at(part)
        return self.levels[int(part * len(self.levels))]

    @property
    def base(self) -> str:
        """What the base has: the first level, or the middle of the range."""
        return self.levels[0] if self.range is None else self.range.at(0.5)

    def error(self, message: str, found: str = "", expected: str = "", hint: str = "") -> SoftnetError:
        """An error at this factor."""
        return SoftnetError(message, where=self.where, found=found, expected=expected, hint=hint)


def factor_of_text(text: str) -> Factor:
    """``KEY=LEVEL,LEVEL,…`` or ``KEY=LOW..HIGH[:log]``, as ``--vary`` takes it. Raises SoftnetError."""
    key, equals, rest = text.partition("=")
    where = f"--vary {text[:100]}"
    if not equals or not key.strip():
        raise SoftnetError("not a factor", where=where, found=repr(text[:100]), expected="KEY=LEVEL,LEVEL,… or KEY=LOW..HIGH",
                           hint="--vary sysctl.netdev_budget=75,150,300")  # fmt: skip
    found = _RANGE.fullmatch(rest.strip())
    if found is not None:
        whole = all(re.fullmatch(r"[-+]?[\d_]+", part) for part in found.groups()[:2])
        return _checked(Factor(key.strip(), (), Range(float(found[1]), float(found[2]), whole, found[3] is not None), where))
    levels = tuple(part for part in split_parts(rest)) if rest.strip() else ()
    return _checked(Factor(key.strip(), levels, None, where))


def factor_of_value(key: str, value: Any, where: str) -> Factor:
    """A factor of an experiment's file: a list of levels, or a table with low and high, and log. Raises SoftnetError."""
    expected = "a list of levels, or a table { low = NUMBER, high = NUMBER, log = true or false }"
    if isinstance(value, list):
        return _checked(Factor(key, tuple(level_text(level, where) for level in value), None, where))
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        raise SoftnetError("not the levels of a factor", where=where, found=str(value)[:80], expected=expected)
    low, high, log = value["low"], value["high"], value.get("log", False)
    if not (_is_number(low) and _is_number(high) and isinstance(log, bool)):
        raise SoftnetError("not the levels of a factor", where=where, found=str(value)[:80], expected=expected)
    whole = isinstance(low, int) and isinstance(high, int)
    return _checked(Factor(key, (), Range(float(low), float(high), whole, log), where))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def level_text(value: Any, where: str) -> str:
    """A level as TOML text. Raises SoftnetError for what can be no level."""
    if isinstance(value, bool | int | float | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ",".join(level_text(item, where) for item in value) + "]"
    raise SoftnetError("not a level", where=where, found=str(value)[:80], expected="a number, a text, true or false, or a list")


def _checked(factor: Factor) -> Factor:
    span = factor.range
    if span is not None:
        if factor.key in (KERNEL, PATCH):
            raise factor.error(f"a range of {factor.key} means nothing", found=f"{span.low:g} to {span.high:g}", expected="levels")
        if not span.low < span.high:
            raise factor.error("an empty range", found=f"{span.low:g} to {span.high:g}", expected="the lower number first")
        if span.log and span.low <= 0:
            raise factor.error("a logarithmic range begins above 0", found=f"{span.low:g}", expected="a number above 0")
        return factor
    if not factor.levels or "" in factor.levels:
        raise factor.error("a factor without levels" if not any(factor.levels) else "an empty level",
                           expected="KEY=LEVEL,LEVEL,…", hint='an empty list is [], an empty text is ""')  # fmt: skip
    for level in factor.levels:
        if factor.levels.count(level) > 1:
            raise factor.error("a level stands there twice", found=level, expected="levels that differ")
    return factor


def checked_factors(factors: Sequence[Factor], where: str) -> tuple[Factor, ...]:
    """The factors, of which no two are the same and none is the seed; ``where`` they were to be given. Raises SoftnetError."""
    if not factors:
        raise SoftnetError("nothing is varied", where=where, expected="at least one factor with its levels",
                           hint="--vary sysctl.netdev_budget=75,150,300")  # fmt: skip
    columns = [factor.column for factor in factors]
    for factor in factors:
        if columns.count(factor.column) > 1:
            raise factor.error("a factor stands there twice", found=factor.key, expected="each factor once")
        if factor.key == "measure.seed":
            raise factor.error("the seed is no factor: every arm runs with every seed", hint="--seeds 10")
    return tuple(factors)


def shown(level: str) -> str:
    """A level as people read it: a text without its quotes."""
    value = level_value(level)
    return value if isinstance(value, str) and value else level


def level_value(level: str) -> Any:
    """What a level's text means; a bare word is a text."""
    try:
        return tomllib.loads(f"value = {level}")["value"]
    except (ValueError, RecursionError):
        return level
