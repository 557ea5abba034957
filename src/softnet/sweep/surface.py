# SPDX-License-Identifier: GPL-2.0-or-later
"""A surface through what combinations came to: which of those that were not tried should be the best.

Radial basis functions (scipy's ``RBFInterpolator``, cubic with a plane below) go through the figures, and through how far each
limit is broken. Of the figures only their order counts: latency under overload is a cliff, which would bend a surface everywhere.
The method is that of surrogate optimisation with radial basis functions (Gutmann 2001; Regis and Shoemaker 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

DIGITS: Final = 6
"""Digits behind the point of a rank, and of a share of the largest excess, that are told apart."""

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def simplex(count: int) -> NDArray[np.float64]:
    """Places for levels that have no order: each as far from every other, 1; shape (count, count - 1)."""
    import numpy as np
    from scipy.linalg import helmert

    return np.asarray(helmert(count).T / np.sqrt(2))


def best_first(
    tried: NDArray[np.float64], figures: Sequence[float], excesses: Sequence[Sequence[float]], untried: NDArray[np.float64]
) -> NDArray[np.intp] | None:
    """The rows of ``untried`` from what should be the best on; None where no surface goes through what was tried.

    ``tried`` and ``untried``: a place a row, alike in scale. ``figures``: one for each place that was tried, less is better;
    ``excesses``: how far it breaks each limit, infinite where there was no figure, 0 or less if it keeps it.
    """
    import numpy as np
    from scipy.stats import rankdata

    columns = [np.asarray(rankdata(figures)), *(_finite(np.array(column)) for column in zip(*excesses, strict=True))]
    try:
        figure, *beyond = (_through(tried, column, untried) for column in columns)
    except (np.linalg.LinAlgError, ValueError):  # too few places, or all on one line
        return None
    broken = np.sum([np.maximum(one, 0.0) for one in beyond], axis=0) if beyond else np.zeros(len(untried))
    # What two machines' arithmetic makes different in the last digits must not decide: the first of equals comes first.
    return np.lexsort((np.round(figure, DIGITS), np.round(broken / (np.max(broken) or 1.0), DIGITS)))


def _finite(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Infinite excesses as more than any other."""
    import numpy as np

    known = column[np.isfinite(column)]
    top = max(2 * float(np.max(np.abs(known))), 1.0) if known.size else 1.0
    return np.where(np.isfinite(column), column, top)


def _through(tried: NDArray[np.float64], column: NDArray[np.float64], untried: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np
    from scipy.interpolate import RBFInterpolator

    if np.ptp(column) == 0:
        return np.full(len(untried), column[0])
    return np.asarray(RBFInterpolator(tried, column, kernel="cubic", degree=1)(untried))
