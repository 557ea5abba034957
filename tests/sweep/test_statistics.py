# SPDX-License-Identifier: GPL-2.0-or-later
"""Intervals, corrections, effects and fronts, held against theory, brute force and problems with a known answer."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softnet.simulate.comparison import Difference
from softnet.sweep.statistics import coefficients, holm, interval, paired, pareto

REPETITIONS = 2000


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 12])
def test_the_intervals_contain_the_truth_in_95_of_100_experiments(seeds: int) -> None:
    """A base and an arm that share their seed's luck, and have some of their own; the arm is 7 higher in truth."""
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(REPETITIONS):
        luck = rng.normal(100, 30, seeds)
        base = luck + rng.normal(0, 2, seeds)
        other = luck + 7 + rng.normal(0, 3, seeds)
        found = paired(base, other)
        inside += found.low <= 7 <= found.high
    assert 0.93 <= inside / REPETITIONS <= 0.97


def test_an_interval_with_the_normal_quantile_would_be_seen() -> None:
    """The same test of 1.96 standard errors, which is too narrow for three seeds."""
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(REPETITIONS):
        values = rng.normal(7, 3, 3)
        half = 1.96 * values.std(ddof=1) / math.sqrt(3)
        inside += abs(values.mean() - 7) <= half
    assert inside / REPETITIONS < 0.93


def test_pairing_takes_out_what_the_seeds_do_to_both() -> None:
    rng = np.random.default_rng(1)
    luck = rng.normal(100, 30, 8)
    base, other = luck + rng.normal(0, 1, 8), luck + 5 + rng.normal(0, 1, 8)
    assert paired(base, other).half * 5 < interval(other).half


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=8), st.lists(st.integers(-50, 50), min_size=8, max_size=8))
@settings(max_examples=60)
def test_the_interval_is_the_one_of_softnet_compare(base: list[int], more: list[int]) -> None:
    """Two implementations: the comparison's has the quantiles in a table of four digits."""
    other = [a + b for a, b in zip(base, more, strict=False)]
    mine = paired(np.array(base, float), np.array(other, float))
    theirs = Difference.of(tuple(base), tuple(other), "")
    assert mine.mean == pytest.approx(theirs.mean)
    assert mine.half == pytest.approx((theirs.high - theirs.low) / 2, rel=1e-3, abs=1e-12)


def test_seeds_without_a_figure_do_not_count() -> None:
    found = paired(np.array([1.0, np.nan, 3.0, 4.0]), np.array([2.0, 5.0, np.nan, 6.0]))
    assert (found.values, found.mean) == (2, 1.5)
    assert interval(np.array([])).values == 0
    assert math.isinf(interval(np.array([3.0])).half)


def _closed_testing(p_values: list[float]) -> list[float]:
    """Holm by its definition: all intersections of hypotheses, each by Bonferroni."""
    out = []
    for i in range(len(p_values)):
        worst = 0.0
        for size in range(1, len(p_values) + 1):
            for subset in itertools.combinations(range(len(p_values)), size):
                if i in subset:
                    worst = max(worst, min(1.0, size * min(p_values[j] for j in subset)))
        out.append(worst)
    return out


@given(st.lists(st.floats(0, 1), max_size=6))
@settings(max_examples=80)
def test_holm_is_closed_testing(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(_closed_testing(p_values))


def test_effects_of_a_full_grid_are_differences_of_marginal_means() -> None:
    rng = np.random.default_rng(3)
    a, b = (np.array(x, float) for x in zip(*itertools.product((0, 1), (0, 1, 2)), strict=True))
    matrix = np.column_stack([np.ones(6), a, b == 1, b == 2]).astype(float)
    values = rng.normal(size=(6, 4)) + 10 * a[:, None] + 3 * (b == 2)[:, None]
    found = coefficients(matrix, values)
    assert found is not None
    assert found[1] == pytest.approx(values[a == 1].mean(axis=0) - values[a == 0].mean(axis=0))
    assert found[3] == pytest.approx(values[b == 2].mean(axis=0) - values[b == 0].mean(axis=0))


def test_a_design_that_cannot_tell_its_terms_apart_has_no_effects() -> None:
    matrix = np.array([[1.0, 0, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]])
    assert coefficients(matrix, np.ones((4, 2))) is None
    assert coefficients(np.ones((2, 1)), np.array([[np.nan, np.nan], [1, 2]])) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12), st.sampled_from([(1, 1), (1, -1), (-1, -1)]))
def test_nobody_beats_the_front_and_everybody_else_is_beaten(points: list[tuple[int, int]], signs: tuple[int, int]) -> None:
    front = pareto([(float(x), float(y)) for x, y in points], signs)

    def beats(a: tuple[int, int], b: tuple[int, int]) -> bool:
        better = [s * (q - p) for s, p, q in zip(signs, a, b, strict=True)]
        return min(better) >= 0 and max(better) > 0

    for i, point in enumerate(points):
        assert (i in front) == (not any(beats(other, point) for other in points))
