# SPDX-License-Identifier: GPL-2.0-or-later
"""When a difference is called one: no samples, no difference, noise, too little, better, worse."""

from __future__ import annotations

import pytest

from softnet.report.names import NO_SAMPLE, quantity
from softnet.report.story import verdict_text
from softnet.simulate.comparison import Difference, Metric


@pytest.mark.parametrize(
    ("base", "other", "verdict", "text"),
    [
        ((None, None, None), (400, 410, 420), "no samples", "no samples"),
        ((400, 410, 420), (None, None, None), "no samples", "no samples"),
        ((5, 5, 5), (5, 5, 5), "same", "same"),
        ((100, 200, 300), (300, 100, 200), "noise", "noise"),
        ((1000, 2000, 3000), (900, 1900, 2900), "lower", "lower, better"),
        ((1000, 2000, 3000), (1100, 2100, 3100), "higher", "higher, worse"),
        ((100_000, 200_000, 300_000), (100_010, 200_010, 300_010), "higher", "higher, below 1 %"),
        ((0, 0, 0), (7, 7, 7), "higher", "higher, worse"),
    ],
)
def test_a_verdict_rests_on_samples_and_on_an_effect(
    base: tuple[int | None, ...], other: tuple[int | None, ...], verdict: str, text: str
) -> None:
    found = Difference.of(base, other, "lower")
    assert (found.verdict, verdict_text(found, 3)) == (verdict, text)


def test_only_seeds_with_a_sample_in_both_arms_are_compared() -> None:
    found = Difference.of((None, 100, 200, 300), (1, 90, 190, 290), "lower")
    assert (found.mean, found.ratio) == (-10, 0.95)


def test_a_figure_without_samples_is_a_dash_and_not_zero() -> None:
    metric = Metric("wakeup_ksoftirqd_p50_ns", "ksoftirqd p50", "ns", "lower", {"a": (400, None), "b": (None, None)})
    assert (metric.mean("a"), metric.spread("a")) == (400, (400, 400))
    assert (metric.mean("b"), metric.spread("b")) == (None, None)
    assert quantity(metric.mean("b"), "ns") == NO_SAMPLE
