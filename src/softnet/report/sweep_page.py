# SPDX-License-Identifier: GPL-2.0-or-later
"""An experiment as one page that opens offline: recommendation, table of the best, effects, heat map, trade-off, failures."""

from __future__ import annotations

import itertools
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from softnet.errors import printable
from softnet.files import atomic
from softnet.report.page import document
from softnet.report.sweep import change_text, judged, ranked, run_line
from softnet.report.sweep_charts import Cell, Dot, effects_chart, heat_map, trade_off
from softnet.report.sweep_story import figure, interval_text, named, recommendation, same_everywhere
from softnet.report.table import glue_units

if TYPE_CHECKING:
    from softnet.sweep.analysis import Effect, Findings
    from softnet.sweep.measures import Measure

ROWS_MAX = 50
EFFECTS_MAX = 12
CELLS_MAX = 24
"""Levels of a factor that a heat map shows."""
FAILURES_MAX = 20

STYLE = """
.hot { fill: var(--a2); stroke: var(--line); }
.dot { fill: var(--bg); stroke: var(--a5); stroke-width: 1.6; }
.dot.front { fill: var(--a0); stroke: var(--bg); stroke-width: 1; }
.ring { fill: none; stroke: var(--a1); stroke-width: 2; }
.zero { stroke: var(--text); stroke-width: 1.2; fill: none; }
.whisker { stroke: var(--a0); stroke-width: 2; fill: none; }
.charts figure { max-width: 640px; min-width: 0; }
td .worse { font-size: 0.85em; font-weight: 400; }
tr.base th, tr.base td { background: var(--panel); }
"""


def write_sweep_page(path: Path, findings: Findings) -> None:
    """Write the page. Raises SoftnetError if it cannot be written."""
    with atomic(path) as stream:
        stream.write(sweep_page(findings).encode("utf-8", "backslashreplace"))


def sweep_page(findings: Findings) -> str:
    """The page: the same bytes for the same findings."""
    keys = ", ".join(str(factor["key"]) for factor in findings.factors)
    title = printable(f"{findings.about['scenario']}: {len(findings.arms)} combinations of {keys}")
    body = [f"<h1>{escape(title)}</h1>", f'<p class="soft">{escape(run_line(findings))}</p>', _story(findings)]
    body.append(_best(findings))
    body += [_effects(findings), _maps(findings), _trade_off(findings), _failures(findings)]
    return document(title, "\n".join(part for part in body if part), style=STYLE)


def _story(findings: Findings) -> str:
    items = "".join(f"<li>{escape(glue_units(printable(text)))}</li>" for text in recommendation(findings))
    out = f'<section class="story"><h2>What the data say</h2><ul>{items}</ul></section>'
    warnings = findings.warnings()
    if warnings:
        items = "".join(f"<li>{escape(text)}</li>" for text in warnings)
        out += f'<section class="mind"><b>To bear in mind</b><ul>{items}</ul></section>'
    return out


def _best(findings: Findings) -> str:
    order = ranked(findings)
    listed = order[:ROWS_MAX] if 0 in order[:ROWS_MAX] else [*order[: ROWS_MAX - 1], 0]
    changes = {m.name: findings.changes(m) for m in findings.shown}
    head = "".join(f'<th class="word">{escape(str(f["key"]))}</th>' for f in findings.factors)
    for measure in findings.shown:
        head += f"<th>{escape(measure.name)}</th>"
        head += "" if same_everywhere(changes[measure.name]) else "<th>change</th><th>95 % interval</th>"
    rows = []
    for number in listed:
        arm = findings.arms[number]
        said = "".join(f' <span class="worse">{escape(printable(text))}</span>' for text in findings.remarks(arm))
        # Beside the levels: a wide table is scrolled, and the end of its rows is not seen.
        cells = "".join(f'<td class="word">{escape(printable(level))}</td>' for level in arm.levels).removesuffix("</td>")
        cells += f"{said}</td>"
        for measure in findings.shown:
            cells += f"<td>{escape(figure(findings.mean(measure, number), measure))}</td>"
            if same_everywhere(changes[measure.name]):
                continue
            if number == 0:
                cells += '<td class="calm">base</td><td></td>'
                continue
            found = changes[measure.name][number]
            base = findings.mean(measure, 0)
            mark = "*" if found.sure else ""
            cells += f'<td class="{judged(found, measure, base) or "calm"}">{escape(change_text(found, base, measure))}{mark}</td>'
            cells += f'<td class="spread">{escape(interval_text(found.interval, measure))}</td>'
        rows.append(f"<tr{' class=base' if number == 0 else ''}>{cells}</tr>")
    of = f"The best {len(listed)} of {len(order)}" if len(listed) < len(order) else "All combinations"
    return (
        f"<h2>{of}, by {escape(findings.shown[0].name)}</h2>"
        '<p class="soft">Means over the seeds; the change against the base, paired by seed, with its interval. * stands after'
        " Holm’s correction over all combinations.</p>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _still(effects: list[Effect]) -> bool:
    return all(e.interval.mean == 0 and e.interval.exact for e in effects)


def _effects(findings: Findings) -> str:
    figures, still, untold = [], [], []
    for measure in findings.shown:
        effects = findings.effects(measure)
        if not effects:
            untold.append(measure.name)
        elif _still(effects):
            still.append(measure.name)
        else:
            figures.append(f"<figure>{effects_chart(measure, effects[:EFFECTS_MAX])}</figure>")
    notes = ""
    if still:
        notes += f"<p>No factor has any effect on {escape(', '.join(still))}, in any seed.</p>"
    if untold:
        notes += f"<p>The combinations cannot tell the factors’ effects on {escape(', '.join(untold))} apart.</p>"
    return (
        "<h2>What each factor does</h2>"
        '<p class="soft">Each level against its factor’s first, averaged over the other factors, with its 95 % interval over'
        " the seeds. Filled: stands after Holm’s correction over all effects of that measure. Hollow: may be chance.</p>"
        f'<div class="charts">{"".join(figures)}</div>{notes}'
    )


def _maps(findings: Findings) -> str:
    """A heat map for each measure, of the two factors that matter most to it; none with one factor or in a sample of ranges."""
    listed = [i for i, f in enumerate(findings.factors) if f["range"] is None and 1 < len(f["levels"]) <= CELLS_MAX]
    if len(listed) < 2:
        return ""
    figures = []
    for measure in findings.shown:
        effects = findings.effects(measure)
        weight = {
            i: max((abs(e.interval.mean) for e in effects if e.factor == findings.factors[i]["key"]), default=0.0) for i in listed
        }
        if effects and _still(effects):
            continue
        row, column = sorted(sorted(listed, key=lambda i: (-weight[i], i))[:2])
        figures.append(f"<figure>{_heat_map(findings, measure, row, column)}</figure>")
    if not figures:
        return ""
    averaged = ", averaged over the other factors" if len(findings.factors) > 2 else ""
    stars = "" if averaged else " * differs surely from the base."
    return (
        f"<h2>Two factors together</h2><p class=soft>Means{averaged}; the stronger the colour, the better.{stars}</p>"
        f'<div class="charts">{"".join(figures)}</div>'
    )


def _heat_map(findings: Findings, measure: Measure, row: int, column: int) -> str:
    factors = findings.factors
    changes = findings.changes(measure)
    only_two = len(factors) == 2
    sums: dict[tuple[str, str], list[float]] = {}
    sure: set[tuple[str, str]] = set()
    for arm in findings.arms:
        at = arm.texts[row], arm.texts[column]
        sums.setdefault(at, []).append(findings.mean(measure, arm.number))
        if only_two and arm.number and changes[arm.number].sure:
            sure.add(at)
    rows, columns = (list(factors[i]["levels"]) for i in (row, column))
    cells = []
    for y in rows:
        line = []
        for x in columns:
            values = [value for value in sums.get((y, x), []) if not math.isnan(value)]
            line.append(Cell(sum(values) / len(values) if values else math.nan, (y, x) in sure))
        cells.append(line)
    texts = {i: [printable(_text(level)) for level in factors[i]["levels"]] for i in (row, column)}
    return heat_map(measure, (str(factors[row]["key"]), texts[row]), (str(factors[column]["key"]), texts[column]), cells)


def _text(level: str) -> str:
    from softnet.sweep.factors import shown

    return shown(level)


def _trade_off(findings: Findings) -> str:
    figures = []
    moving = [m for m in findings.shown if m.better and len({findings.mean(m, a.number) for a in findings.arms}) > 1]
    for first, second in itertools.islice(itertools.combinations(moving, 2), 3):
        front = set(findings.front(first, second))
        dots = [
            Dot(
                findings.mean(first, a.number), findings.mean(second, a.number), named(findings, a), a.number in front, not a.number
            )
            for a in findings.arms
        ]
        listed = "; ".join(escape(printable(named(findings, findings.arms[n]))) for n in sorted(front)[:8])
        more = f"; and {len(front) - 8} more" if len(front) > 8 else ""
        caption = f"<figcaption>On the front, by their means: {listed}{more}.</figcaption>"
        figures.append(f"<figure>{trade_off(first, second, dots)}{caption}</figure>")
    if not figures:
        return ""
    return (
        "<h2>Trade-offs</h2><p class=soft>A point is a combination. Filled and joined: none of the others is as good in both and"
        f' better in one (the Pareto front). The ring is the base.</p><div class="charts">{"".join(figures)}</div>'
    )


def _failures(findings: Findings) -> str:
    if not findings.failures:
        return ""
    rows = [
        f"<li>{escape(printable(why))}<pre>{escape(printable(command))}</pre></li>"
        for _, _, why, command in findings.failures[:FAILURES_MAX]
    ]
    more = f"<p>And {len(findings.failures) - FAILURES_MAX:,} more.</p>" if len(findings.failures) > FAILURES_MAX else ""
    return f"<h2>Failed runs: {len(findings.failures):,}</h2><ul>{''.join(rows)}</ul>{more}"
