# SPDX-License-Identifier: GPL-2.0-or-later
"""Which combinations of levels are tried: all of them, or a sample that spreads over them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

from softnet.errors import SoftnetError
from softnet.sweep.factors import Factor

GRID, LHS, SOBOL, SEARCH = DESIGNS = ("grid", "lhs", "sobol", "search")
DESIGN_SEED: Final = 1
"""Of the samples: the same experiment tries the same points."""
FACTORS_MAX: Final = 64
SOBOL_RUNS_MAX: Final = 1 << 17

Point = tuple[str, ...]
"""A level of each factor, in the factors' order."""


def size(factors: Sequence[Factor], design: str, runs: int | None) -> int:
    """How many combinations at the most, the base of a sample included. Raises SoftnetError for a design that cannot be."""
    if len(factors) > FACTORS_MAX:
        raise SoftnetError("too many factors", where="--vary", found=str(len(factors)), expected=f"at most {FACTORS_MAX}")
    if design == GRID:
        if runs is not None:
            raise SoftnetError(
                "a grid tries all combinations", where="--runs", found=str(runs), expected="--design lhs, sobol or search"
            )
        for factor in factors:
            if factor.range is not None:
                raise factor.error("a grid needs levels, not a range", expected="KEY=LEVEL,LEVEL,…",
                                   hint="--design lhs --runs 32 samples ranges")  # fmt: skip
        return math.prod(len(factor.levels) for factor in factors)
    if runs is None:
        raise SoftnetError("how many combinations are to be tried?", where="--design", found=design, expected="--runs NUMBER")
    if design == SOBOL and (runs & (runs - 1) or runs > SOBOL_RUNS_MAX):
        raise SoftnetError("a Sobol sample is balanced only for powers of two", where="--runs", found=str(runs),
                           expected=f"{1 << (runs.bit_length() - 1)} or {1 << runs.bit_length()}")  # fmt: skip
    return runs + 1


def points(factors: Sequence[Factor], design: str, runs: int | None) -> list[Point]:
    """The combinations, each once; the first is the base: first levels and middles of ranges. Of a search the base alone."""
    size(factors, design, runs)
    if design == GRID:
        return list(itertools.product(*(factor.levels for factor in factors)))
    base = tuple(factor.base for factor in factors)
    if design == SEARCH:
        return [base]
    sample = unit_cube(len(factors), design, runs or 0)
    picked = [tuple(factor.pick(part) for factor, part in zip(factors, row, strict=True)) for row in sample]
    return list(dict.fromkeys([base, *picked]))


def unit_cube(dimensions: int, design: str, runs: int) -> list[list[float]]:
    """Points of the unit cube. Raises SoftnetError where scipy is missing."""
    try:
        from scipy.stats import qmc
    except ImportError:
        raise needs_extra("scipy") from None
    if design == SOBOL:
        sampler = qmc.Sobol(dimensions, scramble=True, rng=DESIGN_SEED)
    else:
        sampler = qmc.LatinHypercube(dimensions, rng=DESIGN_SEED)
    found: list[list[float]] = sampler.random(runs).tolist()
    return found


def needs_extra(module: str) -> SoftnetError:
    """The error for a library of the extra that is not there."""
    return SoftnetError("a sweep needs more libraries", found=f"no module {module}", expected="the extra 'sweep'",
                        hint="pip install 'softnet[sweep]'")  # fmt: skip
