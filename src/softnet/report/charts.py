# SPDX-License-Identifier: GPL-2.0-or-later
"""Charts as SVG text: no script, no library; colours and dashes come from the page's style sheet by class.

Arm N has the class ``aN``: colour and dash, so that no chart speaks by colour alone. Every chart has a title and a
description for those who cannot see it, and its points carry their figures as titles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from softnet.report.names import duration, number
from softnet.simulate.result import Histogram

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 14, 42
MARKED = (("p50", 1, 2), ("p90", 9, 10), ("p99", 99, 100), ("p99.9", 999, 1000))
BINS = 44
"""How many bars a distribution has."""
POINTS_MAX = 600


class Axis(NamedTuple):
    """From values to pixels, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        """The pixel of a value; outside values are pulled to the edge."""
        value = min(max(value, self.low), self.high)
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        part = (value - low) / (high - low) if high > low else 0.5
        return self.start + part * (self.end - self.start)


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade inside the bounds; only the ones when there are many decades; even steps within a factor of 4."""
    if high < 4 * low:
        step = linear_ticks(high - low)[1]
        return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    return [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]


def linear_ticks(high: float, wanted: int = 4) -> list[float]:
    """Round steps from 0 to at most ``high``."""
    if high <= 0:
        return [0.0]
    raw = high / wanted
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw)
    return [i * step for i in range(int(high / step + 1e-9) + 1)]


def _f(value: float) -> str:
    """A coordinate: one decimal, no trailing zero."""
    text = f"{value:.1f}"
    return text.removesuffix(".0")


def frame(title: str, about: str, body: Iterable[str], height: int = HEIGHT, name: str = "chart") -> str:
    """A chart with its title and description for screen readers."""
    return (
        f'<svg class="{name}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(f"{title}. {about}")}">'
        f"{''.join(body)}</svg>"
    )


def _x_ticks(axis: Axis, ticks: Iterable[tuple[float, str]], height: int = HEIGHT) -> list[str]:
    out = []
    for value, text in ticks:
        x = _f(axis.at(value))
        # On a small screen words are larger, and a long one at the edge would leave it.
        middle = _f(min(axis.at(value), WIDTH + 8 - 4.2 * len(text)))
        out.append(f'<path class="grid" d="M{x} {TOP}V{height - BOTTOM}"/>')
        out.append(f'<text class="tick" x="{middle}" y="{height - BOTTOM + 16}" text-anchor="middle">{escape(text)}</text>')
    return out


def _y_ticks(axis: Axis, ticks: Iterable[tuple[float, str]]) -> list[str]:
    out = []
    for value, text in ticks:
        y = axis.at(value)
        out.append(f'<path class="grid" d="M{LEFT} {_f(y)}H{WIDTH - RIGHT}"/>')
        out.append(f'<text class="tick" x="{LEFT - 6}" y="{_f(y + 4)}" text-anchor="end">{escape(text)}</text>')
    return out


def _label(text: str, height: int = HEIGHT) -> str:
    x = (LEFT + WIDTH - RIGHT) / 2
    return f'<text class="label" x="{_f(x)}" y="{height - 6}" text-anchor="middle">{escape(text)}</text>'


def _bounds(histograms: Sequence[Histogram]) -> tuple[float, float]:
    low = max(min(h.min_ns for h in histograms if h.count), 1)
    high = max(max(h.max_ns for h in histograms if h.count), low + 1)
    return low / 1.15, high * 1.15


def _named(value_ns: float) -> str:
    return duration(value_ns)


def percentiles(title: str, arms: Sequence[tuple[str, Histogram]]) -> str:
    """Latency over the percentile, the tail stretched: each nine takes the same room."""
    filled = [h for _, h in arms if h.count]
    if not filled:
        return ""
    low, high = _bounds(filled)
    nines = max(math.ceil(math.log10(max(h.count for h in filled))), 1)
    x = Axis(0, nines, LEFT, WIDTH - RIGHT, False)
    y = Axis(low, high, HEIGHT - BOTTOM, TOP, True)
    # Where there is no room for both, the line at 50 % keeps its name.
    names = [(0, "0 %" if nines < 4 else ""), (math.log10(2), "50 %")] + [(n, _percentile_name(n)) for n in range(1, nines + 1)]
    body = _x_ticks(x, names) + _y_ticks(y, [(t, _named(t)) for t in log_ticks(low, high)])
    body.append(_label("share of samples at or below (each nine the same width)"))
    for index, (arm, h) in enumerate(arms):
        if h.count:
            body.append(_percentile_curve(index, h, x, y))
            body += _quantile_marks(index, arm, h, x, y)
    about = "; ".join(f"{arm}: {quantile_text(h)}" for arm, h in arms)
    return frame(f"{title}: latency by percentile", about, body)


def quantile_text(h: Histogram) -> str:
    """The quantiles of a histogram in one line."""
    if not h.count:
        return "no sample"
    parts = [f"{name} {duration(h.quantile_ns(n, d))}" for name, n, d in MARKED]
    return ", ".join([*parts, f"max {duration(h.max_ns)}"])


def _percentile_name(nines: int) -> str:
    return ("90 %", "99 %")[nines - 1] if nines <= 2 else f"99.{'9' * (nines - 2)} %"


def _nine(remaining: int, count: int) -> float:
    """How many nines a share has of which ``remaining`` of ``count`` samples are above."""
    return math.log10(count / remaining) if remaining else math.log10(count)


def _percentile_curve(index: int, h: Histogram, x: Axis, y: Axis) -> str:
    seen = 0
    parts = [f"M{_f(x.start)} {_f(y.at(h.min_ns))}"]
    for low, high, count in h.buckets:
        seen += count
        parts.append(f"L{_f(x.at(_nine(h.count - seen, h.count)))} {_f(y.at(min(max(high - 1, low), h.max_ns)))}")
    return f'<path class="curve a{index % 6}" d="{"".join(parts)}"/>'


def _quantile_marks(index: int, arm: str, h: Histogram, x: Axis, y: Axis) -> list[str]:
    marks = [(name, math.log10(d / (d - n)), h.quantile_ns(n, d)) for name, n, d in MARKED if h.count * (d - n) >= d]
    marks.append(("max", math.log10(h.count) if h.count > 1 else 0, h.max_ns))
    return [
        f'<circle class="mark a{index % 6}" cx="{_f(x.at(at))}" cy="{_f(y.at(value))}" r="4">'
        f"<title>{escape(f'{arm} {name}: {duration(value)}')}</title></circle>"
        for name, at, value in marks
    ]


def histogram(title: str, arms: Sequence[tuple[str, Histogram]]) -> str:
    """How the samples spread over latency, logarithmic; p50 and p99 of each arm as lines."""
    filled = [h for _, h in arms if h.count]
    if not filled:
        return ""
    low, high = _bounds(filled)
    wide = max(math.log(high / low) / BINS, math.log(1.004))
    bins = [_binned(h, low, wide) for _, h in arms]
    top = max(max(b.values(), default=0.0) for b in bins)
    x = Axis(low, high, LEFT, WIDTH - RIGHT, True)
    y = Axis(0, top * 1.08, HEIGHT - BOTTOM, TOP, False)
    body = _x_ticks(x, [(t, _named(t)) for t in log_ticks(low, high)])
    body += _y_ticks(y, [(t, f"{100 * t:g} %") for t in linear_ticks(top)])
    body.append(_label("latency (logarithmic)"))
    for index, ((arm, h), shares) in enumerate(zip(arms, bins, strict=True)):
        if not h.count:
            continue
        last = max(shares)
        parts = [f"M{_f(x.at(low))} {_f(y.at(0))}"]
        for b in range(last + 1):
            left, right = low * math.exp(b * wide), low * math.exp((b + 1) * wide)
            parts.append(f"V{_f(y.at(shares.get(b, 0.0)))}H{_f(x.at(right))}" if left < high else "")
        parts.append(f"V{_f(y.at(0))}Z")
        body.append(f'<path class="area a{index % 6}" d="{"".join(parts)}"/>')
        for name, n, d in (("p50", 1, 2), ("p99", 99, 100)):
            at, value = _f(x.at(h.quantile_ns(n, d))), h.quantile_ns(n, d)
            body.append(
                f'<path class="quantile a{index % 6}" d="M{at} {TOP + 14 * index}V{HEIGHT - BOTTOM}">'
                f"<title>{escape(f'{arm} {name}: {duration(value)}')}</title></path>"
                f'<text class="quantile-name a{index % 6}" x="{_f(x.at(value) + 3)}" y="{TOP + 10 + 14 * index}">{name}</text>'
            )
    about = "; ".join(f"{arm}: {number(h.count)} samples, {quantile_text(h)}" for arm, h in arms)
    return frame(f"{title}: distribution", about, body)


def _binned(h: Histogram, low: float, wide: float) -> dict[int, float]:
    """Bin number -> share of the samples; bins are a factor of ``exp(wide)`` wide, from ``low`` on."""
    out: dict[int, float] = {}
    for start, end, count in h.buckets:
        middle = max((start + end - 1) / 2, low)
        b = int(math.log(middle / low) / wide)
        out[b] = out.get(b, 0.0) + count / h.count
    return out


def series(title: str, unit: str, arms: Sequence[tuple[str, Sequence[int], Sequence[int]]]) -> str:
    """A queue over virtual time, (arm, time_ns, values): as steps, each stretch with its least and greatest value."""
    high_ns = max((times[-1] for _, times, _ in arms if times), default=0)
    top = max((max(values, default=0) for _, _, values in arms), default=0)
    if not high_ns or not top:
        return ""
    height = 190
    x = Axis(0, high_ns, LEFT, WIDTH - RIGHT, False)
    y = Axis(0, top * 1.08, height - BOTTOM, TOP, False)
    body = _x_ticks(x, [(t, duration(t)) for t in linear_ticks(high_ns, 6)], height)
    body += _y_ticks(y, [(t, number(t)) for t in linear_ticks(top, 3)])
    body.append(_label(f"virtual time; {unit}", height))
    for index, (_, times, values) in enumerate(arms):
        points = thinned(times, values)
        d = "".join(f"{'L' if i else 'M'}{_f(x.at(t))} {_f(y.at(v))}" for i, (t, v) in enumerate(points))
        body.append(f'<path class="curve thin a{index % 6}" d="{d}"/>')
    about = "; ".join(f"{arm}: at most {number(max(values, default=0))} {unit}" for arm, _, values in arms)
    return frame(title, about, body, height, "chart low")


def thinned(times: Sequence[int], values: Sequence[int], limit: int = POINTS_MAX) -> list[tuple[int, int]]:
    """At most about ``limit`` points that keep every stretch's least and greatest value."""
    count = len(times)
    if count <= limit:
        return list(zip(times, values, strict=True))
    step = -(-2 * count // limit)
    out: list[tuple[int, int]] = []
    for start in range(0, count, step):
        stretch = range(start, min(start + step, count))
        least, greatest = min(stretch, key=lambda i: values[i]), max(stretch, key=lambda i: values[i])
        out += [(times[i], values[i]) for i in sorted({least, greatest})]
    return out


def cpu_bars(rows: Sequence[tuple[str, dict[str, float]]], classes: Sequence[str]) -> str:
    """Stacked bars, one per (CPU, arm): share of the time by class; idle is the empty rest."""
    bar, gap = 18, 8
    height = TOP + len(rows) * (bar + gap) + BOTTOM
    left = 130
    x = Axis(0, 1, left, WIDTH - RIGHT, False)
    body = [
        f'<path class="grid" d="M{_f(x.at(t / 4))} {TOP}V{height - BOTTOM}"/>'
        f'<text class="tick" x="{_f(x.at(t / 4))}" y="{height - BOTTOM + 16}" text-anchor="middle">{25 * t} %</text>'
        for t in range(5)
    ]
    texts = []
    for i, (name, row) in enumerate(rows):
        y = TOP + i * (bar + gap)
        total = sum(row.values())
        body.append(f'<text class="tick" x="{left - 6}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        body.append(f'<rect class="idle" x="{left}" y="{y}" width="{WIDTH - RIGHT - left}" height="{bar}"/>')
        at = 0.0
        for time_class in classes:
            part = row.get(time_class, 0) / total if total else 0
            if part:
                tip = f"{name}, {time_class}: {100 * part:.2f} %"
                body.append(
                    f'<rect class="c-{time_class}" x="{_f(x.at(at))}" y="{y}" width="{(x.end - x.start) * part:.2f}"'
                    f' height="{bar}"><title>{escape(tip)}</title></rect>'
                )
                at += part
        texts.append(f"{name} {100 * at:.1f} % busy")
    body.append(
        f'<text class="label" x="{_f((left + WIDTH - RIGHT) / 2)}" y="{height - 6}" text-anchor="middle">share of the'
        " measured time</text>"
    )
    return frame("CPU time by class", "; ".join(texts), body, height, "chart bars")
