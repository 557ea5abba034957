# SPDX-License-Identifier: GPL-2.0-or-later
"""All arms of a comparison in one table: a row for each arm, and in every column the best marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from softnet.report.figures import busy_metric
from softnet.report.names import quantity

if TYPE_CHECKING:
    from softnet.simulate.comparison import Comparison, Metric

ARMS_MIN = 3
"""Two arms are told apart by their differences; from three on nobody sees the best in pairs."""
QUANTILES = (("p50_ns", "p50"), ("p99_ns", "p99"), ("p999_ns", "p99.9"))
APPLICATIONS_MAX = 3
COUNTERS = (("dropped", "dropped"), ("ipis", "IPIs"), ("ksoftirqd_wakeups", "ksoftirqd woken"))
MARK = "*"


class Ranking(NamedTuple):
    """``cells[arm][column]``: a figure as text, and whether no arm is surely better in it."""

    columns: tuple[str, ...]
    cells: dict[str, tuple[tuple[str, bool], ...]]

    @property
    def wins(self) -> dict[str, int]:
        """Arm -> in how many columns it is marked."""
        return {arm: sum(best for _, best in row) for arm, row in self.cells.items()}


def ranking(comparison: Comparison) -> Ranking | None:
    """The table; None with fewer arms than ARMS_MIN, or where no figure tells the arms apart."""
    if len(comparison.arms) < ARMS_MIN:
        return None
    columns = [(title, m, best) for title, m in _metrics(comparison) if (best := best_arms(comparison, m))]
    if not columns:
        return None
    cells = {
        arm: tuple((quantity(m.mean(arm), m.unit), arm in best) for _, m, best in columns) for arm in comparison.arms
    }  # fmt: skip
    return Ranking(tuple(title for title, _, _ in columns), cells)


def _metrics(comparison: Comparison) -> list[tuple[str, Metric]]:
    known = {m.name: m for m in comparison.metrics()}
    names = list(comparison.results[comparison.arms[0]][0].latency)[:APPLICATIONS_MAX]
    out = [(f"{name} {title}", known[f"latency_{name}_{column}"]) for name in names for column, title in QUANTILES]
    out += [(title, known[name]) for name, title in COUNTERS]
    return [*out, ("CPU busy", busy_metric(comparison))]


def best_arms(comparison: Comparison, m: Metric) -> set[str]:
    """The arms than which none is better beyond noise, by LEAST_EFFECT or more; empty where that is true of all of them."""
    means = {arm: mean for arm in comparison.arms if (mean := m.mean(arm)) is not None}
    if len(means) < len(comparison.arms):
        return set()
    leader = (min if m.better == "lower" else max)(means, key=lambda arm: means[arm])
    best = {leader}
    for arm in comparison.arms:
        difference = m.difference(leader, arm)
        if difference.verdict == "same" or difference.small or (difference.verdict == "noise" and len(comparison.seeds) > 1):
            best.add(arm)
    return best if len(best) < len(comparison.arms) else set()


def caption(comparison: Comparison) -> str:
    """What the table's marks mean."""
    if len(comparison.seeds) > 1:
        return f"All arms, mean per run; {MARK} marks the best, and what does not differ from it by 1 % or beyond noise"
    return f"All arms; {MARK} marks the best, and what does not differ from it by 1 %. One seed: nothing is said about noise"
