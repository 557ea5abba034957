# SPDX-License-Identifier: GPL-2.0-or-later
"""A run or a comparison in a notebook: a latency as a chart, and in short as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final

from softnet.errors import SoftnetError
from softnet.files import atomic
from softnet.report import charts
from softnet.report.figures import latencies
from softnet.report.html import as_comparison, summary
from softnet.report.page import asset
from softnet.simulate.comparison import Comparison
from softnet.simulate.result import Result

KINDS: Final = {"percentiles": charts.percentiles, "histogram": charts.histogram}
_HEAD: Final = 26
"""Pixels of the line that names the arms."""


@dataclass(frozen=True)
class Picture:
    """A chart as a whole file of SVG, which a notebook shows."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"Picture of {len(self.svg):,} bytes of SVG; save(path) writes it"

    def save(self, path: str) -> None:
        """Write it as a file of SVG, whole or not at all. Raises SoftnetError."""
        with atomic(path) as out:
            out.write(self.svg.encode())


def plot(of: Result | Comparison, latency: str = "", kind: str = "percentiles") -> Picture:
    """A latency of every arm, the samples of all its seeds together.

    ``latency`` is a name of ``Result.latency``; default: the first with a sample. ``kind`` is "percentiles" (each further nine has
    the same width) or "histogram". Raises SoftnetError for a name or a kind that there is not, and where there is no sample.
    """
    comparison = of if isinstance(of, Comparison) else as_comparison(of)
    if kind not in KINDS:
        raise SoftnetError("no such kind of chart", where="plot()", found=kind, expected=", ".join(KINDS))
    samples = {name: arms for name, arms in latencies(comparison).items() if any(h.count for _, h in arms)}
    if not samples or (latency and latency not in samples):
        raise SoftnetError(
            "no samples to draw",
            where="plot()",
            found=latency or "no latency",
            expected=", ".join(samples) or "a run that took some",
        )
    name = latency or next(iter(samples))
    return Picture(_standing_alone(KINDS[kind](name, samples[name]), [arm for arm, _ in samples[name]], name))


def _standing_alone(chart: str, arms: list[str], name: str) -> str:
    """A chart of the page with the page's style, its size, and a line that says which curve is whose."""
    height = charts.HEIGHT + _HEAD
    size = f"svg {{ width: {charts.WIDTH}px; height: {height}px; background: var(--bg); }}"
    opening, _, rest = chart.partition(">")
    opening = opening.replace(f'viewBox="0 0 {charts.WIDTH} {charts.HEIGHT}"', f'viewBox="0 {-_HEAD} {charts.WIDTH} {height}"')
    opening = opening.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="{charts.WIDTH}" height="{height}"', 1)
    head = [f'<text class="label" x="0" y="-10">{escape(name)}</text>']
    room = (charts.WIDTH - charts.LEFT - 60) / max(len(arms), 1)
    for index, arm in enumerate(arms):
        x = charts.LEFT + 60 + index * room
        head.append(f'<path class="curve a{index % 6}" d="M{x:.0f} -14h28"/>')
        head.append(f'<text class="label" x="{x + 34:.0f}" y="-10">{escape(arm)}</text>')
    return f"{opening}><style><![CDATA[{asset('page.css')}{size}]]></style>{''.join(head)}{rest}"


def html(of: Result | Comparison) -> str:
    """A title, what the figures say, and the quantiles of every latency."""
    return "\n".join(summary(of if isinstance(of, Comparison) else as_comparison(of)))
