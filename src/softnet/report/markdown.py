# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as Markdown: what a job of continuous integration shows beside a patch. Names from files cannot mark anything up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from softnet.errors import printable
from softnet.report.conditions import condition_text
from softnet.report.figures import groups
from softnet.report.names import duration, number
from softnet.report.ranking import MARK, caption, ranking
from softnet.report.story import Sentence, comparison_story, kernel_changes, result_story
from softnet.report.table import WORDS
from softnet.report.terminal import (
    LATENCY_COLUMNS,
    LATENCY_TITLES,
    comparison_line,
    conservation_rows,
    difference_row,
    run_line,
    title,
)

if TYPE_CHECKING:
    from softnet.report.table import Cell
    from softnet.simulate.comparison import Comparison
    from softnet.simulate.conditions import Judged
    from softnet.simulate.result import Result
    from softnet.simulate.stored import Difference

_MARKS = re.compile(r"([\\`*_\[\]<>#|~])")


def plain(text: str) -> str:
    """A text that Markdown shows as it is."""
    return _MARKS.sub(r"\\\1", " ".join(printable(text).split()))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, figures: bool = False) -> list[str]:
    """A table of a Markdown document; with ``figures`` all but columns of words stand to the right."""
    marks = [" --: |" if figures and column and name not in WORDS else " --- |" for column, name in enumerate(header)]
    lines = ["| " + " | ".join(header) + " |", "|" + "".join(marks)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def result_document(result: Result, judged: Sequence[Judged] = ()) -> str:
    """A run: what it says, its conditions, latencies, and where every packet went."""
    label = str(result.kernel["label"])
    lines = [f"## {plain(f'{result.scenario}: {label}')}", "", plain(run_line(result)), ""]
    lines += [*_conditions(judged, label), *_sentences(result_story(result)), ""]
    latency = [
        [name, number(h.count), *(duration(h.summary()[c]) if h.count else "–" for c in LATENCY_COLUMNS)]
        for name, h in result.latency.items()
    ]
    lines += _details("Latency", ["latency", "samples", *LATENCY_TITLES], latency)
    packets = [[name, *map(number, values)] for name, values in conservation_rows([("", (result,))])]
    lines += _details("Where every packet went, warm-up included", ["packets", ""], packets)
    return "\n".join(lines)


def comparison_document(comparison: Comparison, judged: Sequence[Judged] = ()) -> str:
    """Arms against the first: what the conditions came to, what each arm changes, and the tables, folded."""
    base, *others = comparison.arms
    lines = [f"## {plain(title(comparison))}", "", plain(comparison_line(comparison)), "", *_conditions(judged, base)]
    found = ranking(comparison)
    if found is not None:
        rows = [
            [arm, *(f"**{text}** {plain(MARK)}" if best else text for text, best in cells)] for arm, cells in found.cells.items()
        ]
        lines += [plain(caption(comparison)), ""]
        lines += [*table(["arm", *map(plain, found.columns)], [[plain(row[0]), *row[1:]] for row in rows], figures=True), ""]
    story = comparison_story(comparison)
    for arm in others:
        lines += [f"### What {plain(arm)} changes against {plain(base)}", "", *_sentences(story[arm]), ""]
        heading, changes = kernel_changes(comparison, arm)
        if changes:
            lines += [plain(heading), "", *(f"- {plain(text)}" for text in changes), ""]
        for name, metrics in groups(comparison):
            shown = [m for m in metrics if any(m.values[base]) or any(m.values[arm])]
            cells = [_texts(difference_row(comparison, m, arm, spread=False)) for m in shown]
            lines += _details(f"{name}: {arm} against {base}", ["figure", base, arm, "change", "verdict"], cells)
    if story[""]:
        lines += ["To bear in mind:", "", *_sentences(story[""]), ""]
    return "\n".join(lines)


def difference_document(found: Difference, judged: Sequence[Judged] = ()) -> str:
    """Two kept results."""
    parts = [comparison_document(comparison, judged if not at else ()) for at, comparison in enumerate(found.comparisons)]
    return "\n".join([*parts, *(f"- {plain(text)}" for text in found.left_out), ""])


def _conditions(judged: Sequence[Judged], base: str) -> list[str]:
    lines = [f"- {'❌' if one.true else '✅'} {plain(condition_text(one, base))}" for one in judged]
    return [*lines, ""] if lines else []


def _sentences(sentences: Iterable[Sentence]) -> list[str]:
    signs = {"found": "", "caution": "⚠️ ", "defect": "❌ "}
    return [f"- {signs[sentence.kind]}{plain(sentence.text)}" for sentence in sentences]


def _texts(row: Sequence[Cell]) -> list[str]:
    return [cell if isinstance(cell, str) else cell[0] for cell in row]


def _details(name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table that is folded until somebody opens it; [] without rows."""
    if not rows:
        return []
    cells = [[plain(cell) for cell in row] for row in rows]
    inside = table([plain(text) for text in header], cells, figures=True)
    return [f"<details><summary>{plain(name)}</summary>", "", *inside, "", "</details>", ""]
