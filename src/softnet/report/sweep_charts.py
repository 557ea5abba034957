# SPDX-License-Identifier: GPL-2.0-or-later
"""The charts of an experiment: a heat map of two factors, the trade-off of two measures, effects with their intervals.

A colour is never alone: cells carry their figures, points of the front are filled and joined, what may be chance is hollow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from softnet.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, frame, log_ticks
from softnet.report.sweep_story import change, figure, interval_text

if TYPE_CHECKING:
    from softnet.sweep.analysis import Effect
    from softnet.sweep.measures import Measure

CELL_HEIGHT = 30
LABEL_CHARS = 24
EFFECT_CHARS = 31
STRONGEST = 0.75
"""Of the heat map's colour; the least has none."""


class Cell(NamedTuple):
    """A cell of a heat map: the mean, or NaN where no arm stands there; whether the difference to the base is sure."""

    value: float
    sure: bool


def _f(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def cut(text: str, limit: int = LABEL_CHARS) -> str:
    """A label that fits."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def heat_map(
    measure: Measure, rows: tuple[str, Sequence[str]], columns: tuple[str, Sequence[str]], cells: Sequence[Sequence[Cell]]
) -> str:
    """A measure over two factors: (key, levels) of rows and columns; the better a cell, the stronger its colour."""
    values = [cell.value for row in cells for cell in row if not math.isnan(cell.value)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    left = 30 + 7 * min(max((len(cut(level)) for level in rows[1]), default=4), LABEL_CHARS)
    top = 60  # three lines: the columns' key, their levels, the rows' key
    wide = (WIDTH - left - RIGHT) / len(columns[1])
    height = top + CELL_HEIGHT * len(rows[1]) + 10
    middle = left + (WIDTH - left - RIGHT) / 2
    body = [f'<text class="label" x="{_f(middle)}" y="13" text-anchor="middle">{escape(columns[0])}</text>']
    body.append(f'<text class="label" x="0" y="{top - 8}">{escape(rows[0])}</text>')
    for i, level in enumerate(columns[1]):
        x, shown = left + wide * (i + 0.5), cut(level, int(wide / 7))
        body.append(f'<text class="tick" x="{_f(x)}" y="{top - 26}" text-anchor="middle">{escape(shown)}</text>')
    texts = []
    for j, level in enumerate(rows[1]):
        y = top + CELL_HEIGHT * j
        body.append(f'<text class="tick" x="{left - 8}" y="{y + 19}" text-anchor="end">{escape(cut(level))}</text>')
        for i, cell in enumerate(cells[j]):
            tip = f"{rows[0]} {level}, {columns[0]} {columns[1][i]}: {figure(cell.value, measure)}"
            texts.append(tip)
            body.append(_heat_cell(cell, measure, (left + wide * i, y, wide), _goodness(cell.value, low, high, measure), tip))
    return frame(f"{measure.name} by {rows[0]} and {columns[0]}", "; ".join(texts), body, height, "chart heat")


def _goodness(value: float, low: float, high: float, measure: Measure) -> float:
    """From 0, the worst, to 1, the best; where neither direction is better, from low to high."""
    if math.isnan(value) or high <= low:
        return 0.0
    if low > 0 and high / low > 10:
        value, low, high = math.log(value), math.log(low), math.log(high)
    part = (value - low) / (high - low)
    return 1 - part if measure.better == "lower" else part


def _heat_cell(cell: Cell, measure: Measure, at: tuple[float, float, float], good: float, tip: str) -> str:
    x, y, wide = at
    shown = figure(cell.value, measure) + ("*" if cell.sure else "")
    size = "" if len(shown) * 6.6 < wide else f' style="font-size:{max(wide / len(shown) / 0.56, 7):.0f}px"'
    return (
        f'<g><title>{escape(tip)}</title><rect class="hot" x="{_f(x + 1)}" y="{_f(y + 1)}" width="{_f(wide - 2)}"'
        f' height="{CELL_HEIGHT - 2}" fill-opacity="{STRONGEST * good:.2f}"/>'
        f'<text class="label" x="{_f(x + wide / 2)}" y="{_f(y + 19)}" text-anchor="middle"{size}>{escape(shown)}</text></g>'
    )


class Dot(NamedTuple):
    """An arm in the trade-off: its two means, its label, whether it is on the front, whether it is the base."""

    x: float
    y: float
    label: str
    front: bool
    base: bool


def trade_off(first: Measure, second: Measure, dots: Sequence[Dot]) -> str:
    """Two measures against each other, an arm a point; those that none beats in both are joined."""
    seen = [dot for dot in dots if not (math.isnan(dot.x) or math.isnan(dot.y))]
    if not seen:
        return ""
    x, y = _axis([d.x for d in seen], LEFT, WIDTH - RIGHT), _axis([d.y for d in seen], HEIGHT - BOTTOM, TOP)
    body = []
    for value in _ticks(x, 5):
        at = _f(x.at(value))
        body.append(f'<path class="grid" d="M{at} {TOP}V{HEIGHT - BOTTOM}"/>')
        text = escape(figure(value, first))
        body.append(f'<text class="tick" x="{at}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{text}</text>')
    for value in _ticks(y, 5):
        down = y.at(value)
        body.append(f'<path class="grid" d="M{LEFT} {_f(down)}H{WIDTH - RIGHT}"/>')
        text = escape(figure(value, second))
        body.append(f'<text class="tick" x="{LEFT - 6}" y="{_f(down + 4)}" text-anchor="end">{text}</text>')
    words = (f"{first.name}{_direction(first)} →", f"↑ {second.name}{_direction(second)}")
    body.append(
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(words[0])}</text>'
    )
    body.append(f'<text class="label" x="{LEFT + 4}" y="{TOP - 2}">{escape(words[1])}</text>')
    front = sorted((d for d in seen if d.front), key=lambda d: (d.x, d.y))
    if len(front) > 1:
        path = "".join(f"{'L' if i else 'M'}{_f(x.at(d.x))} {_f(y.at(d.y))}" for i, d in enumerate(front))
        body.append(f'<path class="curve thin a0" d="{path}"/>')
    for dot in sorted(seen, key=lambda d: d.front):
        tip = f"{dot.label}: {figure(dot.x, first)}, {figure(dot.y, second)}"
        kind = "dot front" if dot.front else "dot"
        cx, cy = _f(x.at(dot.x)), _f(y.at(dot.y))
        body.append(f'<circle class="{kind}" cx="{cx}" cy="{cy}" r="5"><title>{escape(tip)}</title></circle>')
        if dot.base:
            body.append(f'<circle class="ring" cx="{cx}" cy="{cy}" r="9"/>')
    about = "; ".join(f"{d.label}: {figure(d.x, first)}, {figure(d.y, second)}" for d in front)
    return frame(f"{second.name} against {first.name}", f"On the front: {about}", body)


def _direction(measure: Measure) -> str:
    return f" ({measure.better} is better)" if measure.better else ""


def _axis(values: Sequence[float], start: float, end: float) -> Axis:
    low, high = min(values), max(values)
    if low > 0 and high / low > 10:
        return Axis(low / 1.1, high * 1.1, start, end, True)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return Axis(low - room, high + room, start, end, False)


def _ticks(axis: Axis, wanted: int) -> list[float]:
    if axis.log:
        return log_ticks(axis.low, axis.high)
    raw = (axis.high - axis.low) / wanted
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw)
    return [i * step for i in range(math.ceil(axis.low / step), math.floor(axis.high / step) + 1)]


def effects_chart(measure: Measure, effects: Sequence[Effect]) -> str:
    """Each effect with its 95 % interval, beside the line of no effect; hollow where it may be chance."""
    bounded = [e for e in effects if e.interval.values]
    if not bounded:
        return ""
    ends = [v for e in bounded for v in (e.interval.low, e.interval.high, e.interval.mean, 0.0) if math.isfinite(v)]
    room = (max(ends) - min(ends)) * 0.05 or 1.0
    left = 232
    x = Axis(min(ends) - room, max(ends) + room, left, WIDTH - RIGHT, False)
    height = TOP + 24 * len(bounded) + BOTTOM
    body = []
    for value in _ticks(x, 4):
        at = _f(x.at(value))
        body.append(f'<path class="grid" d="M{at} {TOP}V{height - BOTTOM}"/>')
        text = escape(change(value, measure).replace(" points", ""))
        body.append(f'<text class="tick" x="{at}" y="{height - BOTTOM + 16}" text-anchor="middle">{text}</text>')
    body.append(f'<path class="zero" d="M{_f(x.at(0))} {TOP}V{height - BOTTOM}"/>')
    for i, effect in enumerate(bounded):
        y = TOP + 24 * i + 12
        name = f"{effect.factor}: {effect.step}"
        tip = f"{name}: {change(effect.interval.mean, measure)}, {interval_text(effect.interval, measure)}"
        if len(name) > EFFECT_CHARS:
            name = "…" + name[1 - EFFECT_CHARS :]
        low = effect.interval.low if math.isfinite(effect.interval.low) else x.low
        high = effect.interval.high if math.isfinite(effect.interval.high) else x.high
        body.append(f'<text class="tick" x="{left - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        body.append(f'<path class="whisker" d="M{_f(x.at(low))} {y}H{_f(x.at(high))}"/>')
        kind = "dot front" if effect.sure else "dot"
        body.append(
            f'<circle class="{kind}" cx="{_f(x.at(effect.interval.mean))}" cy="{y}" r="5"><title>{escape(tip)}</title></circle>'
        )
    points = ", percentage points" if measure.unit == "%" else ""
    words = f"change of {measure.name}{points}{_direction(measure)}"
    body.append(
        f'<text class="label" x="{(left + WIDTH - RIGHT) / 2:.0f}" y="{height - 6}" text-anchor="middle">{escape(words)}</text>'
    )
    about = "; ".join(f"{e.factor} {e.step}: {change(e.interval.mean, measure)}" for e in bounded)
    return frame(f"Effects on {measure.name}", about, body, height, "chart effects")
