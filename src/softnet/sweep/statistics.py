# SPDX-License-Identifier: GPL-2.0-or-later
"""Intervals and tests: Student's t on differences that are paired by seed, Holm's correction, effects by least squares.

Every arm runs with the same seeds, so the same packets arrive: what the seeds do to both arms of a pair cancels in the difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from softnet.sweep.design import needs_extra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL: Final = 0.95
"""Of confidence."""


ROUNDING: Final = 1e-9
"""Below this part of the largest figure a coefficient is rounding."""


class Interval(NamedTuple):
    """A mean with its 95 % interval; ``p``: how probable so large a mean is if the true one is 0. One value has no interval."""

    mean: float
    low: float
    high: float
    p: float
    values: int
    """How many values it rests on."""

    @property
    def half(self) -> float:
        """Half of the interval's width; infinite for one value."""
        return (self.high - self.low) / 2

    @property
    def exact(self) -> bool:
        """Whether all values were equal: no noise was seen."""
        return self.values > 1 and self.low == self.high


def student_t() -> Any:
    """Student's distribution. Raises SoftnetError where scipy is missing."""
    try:
        from scipy.stats import t
    except ImportError:
        raise needs_extra("scipy") from None
    return t


def interval(values: NDArray[np.float64]) -> Interval:
    """The mean of independent values and its interval by Student's t. NaN for none; infinite bounds for one value."""
    count = len(values)
    if not count:
        return Interval(math.nan, math.nan, math.nan, 1.0, 0)
    mean = float(values.mean())
    if count == 1:
        return Interval(mean, -math.inf, math.inf, 1.0, 1)
    error = float(values.std(ddof=1)) / math.sqrt(count)
    if error == 0:
        return Interval(mean, mean, mean, 1.0 if mean == 0 else 0.0, count)
    t = student_t()
    half = float(t.ppf((1 + LEVEL) / 2, count - 1)) * error
    return Interval(mean, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, count - 1)), count)


def paired(base: NDArray[np.float64], other: NDArray[np.float64]) -> Interval:
    """``other`` minus ``base``, seed by seed; only seeds that have both count."""
    import numpy as np

    differences = other - base
    return interval(differences[~np.isnan(differences)])


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: each p, multiplied so that all tests together are wrong in at most 5 % where 0.05 is asked."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    out = [0.0] * len(p_values)
    least = 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, p_values[i] * (len(p_values) - rank)))
        out[i] = least
    return out


def coefficients(matrix: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Least squares of each seed's figures on the design: an array (terms, seeds); ``values`` is (arms, seeds).

    Seeds in which an arm has no figure are left out. None where the design cannot tell its terms apart, or no seed is whole.
    """
    import numpy as np

    whole = ~np.isnan(values).any(axis=0)
    if not whole.any():
        return None
    found, _, rank, _ = np.linalg.lstsq(matrix, values[:, whole], rcond=None)
    if rank < matrix.shape[1]:
        return None
    # What least squares leaves of nothing is no effect.
    solved: NDArray[np.float64] = np.where(abs(found) < ROUNDING * abs(values[:, whole]).max(initial=0), 0.0, found)
    return solved


def pareto(points: Sequence[tuple[float, float]], signs: tuple[int, int]) -> list[int]:
    """The points that none dominates: at least as good in both, better in one. ``signs``: 1 where lower is better, -1 higher."""
    scaled = [(x * signs[0], y * signs[1]) for x, y in points]
    front = []
    for i, (x, y) in enumerate(scaled):
        if math.isnan(x) or math.isnan(y):
            continue
        if not any(a <= x and b <= y and (a < x or b < y) for a, b in scaled):
            front.append(i)
    return front
