# SPDX-License-Identifier: GPL-2.0-or-later
"""What a comparison found as one picture: each figure's change against the first arm, with its 95 % interval.

A change is a ratio, so the axis is one of ratios. What may be chance is hollow, and a tip says every figure.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

from softnet.report.charts import BOTTOM, RIGHT, TOP, WIDTH, Axis, frame
from softnet.report.figures import busy_metric
from softnet.report.names import quantity
from softnet.simulate.comparison import COUNTER_METRICS

if TYPE_CHECKING:
    from softnet.simulate.comparison import Comparison, Difference, Metric

QUANTILES: Final = (("p50_ns", "p50"), ("p99_ns", "p99"), ("max_ns", "max"))
LATENCIES_MAX: Final = 3
ROWS_MAX: Final = 36
ROW_HEIGHT: Final = 22
_LEFT: Final = 250
_LEAST, _MOST = 0.1, 20.0
"""Ratios beyond are drawn at the edge, as a pointer."""
_STEPS: Final = (0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0, 5.0, 10.0, 20.0)


class Row(NamedTuple):
    """A figure of an arm against the same of the first arm, as ratios to its mean there."""

    name: str
    arm: str
    tip: str
    ratio: float
    low: float
    high: float
    sure: bool


def effects(comparison: Comparison) -> list[Row]:
    """The figures of which less is better and which differ anywhere; none with one seed, which has no interval."""
    base, *others = comparison.arms
    if len(comparison.seeds) < 2:
        return []
    out: list[Row] = []
    for name, metric in _metrics(comparison):
        at = metric.mean(base)
        found = [(arm, metric.difference(base, arm)) for arm in others]
        if at and any(d.verdict not in ("same", "no samples") for _, d in found):
            out += [_row(name, metric, arm, d, at) for arm, d in found if d.ratio is not None]
    return out[:ROWS_MAX]


def _metrics(comparison: Comparison) -> list[tuple[str, Metric]]:
    known = {metric.name: metric for metric in comparison.metrics()}
    names = list(comparison.results[comparison.arms[0]][0].latency)[:LATENCIES_MAX]
    out = [(f"{name} {title}", known[f"latency_{name}_{column}"]) for name in names for column, title in QUANTILES]
    out.append(("CPU time outside idle", busy_metric(comparison)))
    return [*out, *((known[name].title, known[name]) for name, _, better in COUNTER_METRICS if better == "lower")]


def _row(name: str, metric: Metric, arm: str, found: Difference, at: float) -> Row:
    ratio, low, high = ((at + by) / at for by in (found.mean, found.low, found.high))
    tip = f"{name}, {arm}: {quantity(at, metric.unit)} → {quantity(at + found.mean, metric.unit)} ({_ratio_text(ratio)};"
    tip += f" 95 %: {_ratio_text(low)} to {_ratio_text(high)})"
    return Row(name, arm, tip, ratio, low, high, found.verdict in ("lower", "higher") and not found.small)


def _ratio_text(ratio: float) -> str:
    if ratio >= 2:
        return f"×{ratio:.2g}"
    text = f"{(ratio - 1) * 100:+.1f}".replace("-", "−").removesuffix(".0")
    return "0 %" if text in ("+0", "−0") else f"{text} %"


def effects_chart(comparison: Comparison) -> str:
    """The picture as SVG; "" where there is nothing to draw."""
    rows = effects(comparison)
    if not rows:
        return ""
    base, *others = comparison.arms
    ends = [min(max(value, _LEAST), _MOST) for row in rows for value in (row.low, row.high, row.ratio)]
    x = Axis(min(*ends, 0.98) / 1.01, max(*ends, 1.02) * 1.01, _LEFT, WIDTH - RIGHT, True)
    height = TOP + ROW_HEIGHT * len(rows) + BOTTOM
    body = []
    taken = -math.inf
    for value in _STEPS:
        place = x.at(value)
        if x.low <= value <= x.high and (value == 1 or abs(place - x.at(1)) > 60) and place - taken > 50:
            taken = place
            body.append(f'<path class="grid" d="M{place:.1f} {TOP}V{height - BOTTOM}"/>')
            text = "no change" if value == 1 else _ratio_text(value)
            body.append(f'<text class="tick" x="{place:.1f}" y="{height - BOTTOM + 16}" text-anchor="middle">{text}</text>')
    body.append(f'<path class="zero" d="M{x.at(1):.1f} {TOP}V{height - BOTTOM}"/>')
    for number, row in enumerate(rows):
        name = row.name if len(others) == 1 else f"{row.name}: {row.arm}"
        body.append(_drawn(row, name if len(name) < 39 else name[:37] + "…", TOP + ROW_HEIGHT * number + 11, x))
    words = f"change against {base}, with its 95 % interval; left is better"
    body.append(f'<text class="label" x="{WIDTH - RIGHT}" y="{height - 6}" text-anchor="end">{escape(words)}</text>')
    return frame(f"What differs from {base}", "; ".join(row.tip for row in rows), body, height, "chart effects")


def _drawn(row: Row, name: str, y: int, x: Axis) -> str:
    kind = "calm" if not row.sure else "better" if row.ratio < 1 else "worse"
    cx = x.at(row.ratio)
    title = f"<title>{escape(row.tip)}</title>"
    mark = f'<circle class="dot" cx="{cx:.1f}" cy="{y}" r="4.5">{title}</circle>'
    if not _LEAST <= row.ratio <= _MOST:
        mark = f'<path class="dot" d="M{cx:.1f} {y - 5}v10l{-8 if row.ratio < 1 else 8} -5z"/>'
    return (
        f'<g class="effect {kind}">{title}'
        f'<text class="tick" x="{_LEFT - 14}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
        f'<path class="whisker" d="M{x.at(row.low):.1f} {y}H{x.at(row.high):.1f}"/>'
        f"{mark}</g>"
    )
