# SPDX-License-Identifier: GPL-2.0-or-later
"""Predictions beside what real kernels did: one for the terminal, many with their errors, and a Markdown document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softnet.files import write_whole
from softnet.report import markdown
from softnet.report.names import duration, number
from softnet.report.table import Paper, table, wrapped
from softnet.simulate.output import OutputFolder
from softnet.units import format_ns

if TYPE_CHECKING:
    from softnet.lab.studies.calibrate import Calibration
    from softnet.lab.studies.predict_all import Attempt
    from softnet.lab.studies.scenario_prediction import Prediction


def prediction_text(told: Prediction, paper: Paper) -> str:
    """One scenario on one arm: its figures, and what the guest did otherwise."""
    rows = []
    for row in told.rows:
        cells = [duration(value) if row.unit else number(value) for value in (row.predicted, row.measured)]
        error = "–" if row.error_permille is None else f"{row.error_permille / 10:+.1f} %"
        rows.append([row.name, *cells, error])
    lines = [
        *wrapped([f"{told.scenario} on {told.arm} (Linux {told.release}, {told.ran}), costs {told.costs}"], paper.width),
        *table("", ["", "predicted", "measured", "error"], rows, paper.width, paper.color),
        "",
        *wrapped((f"deviation: {text}" for text in told.deviations), paper.width),
    ]
    return "\n".join(lines)


def calibration_text(made: Calibration, file: Path, paper: Paper) -> str:
    """A table that was fitted: its rows, and the experiments' medians in the guest and in the model."""
    rows = [[row.name, f"{row.value} {'ps/byte' if row.per_byte else 'ns'}", row.provenance] for row in made.rows]
    fitted = [[name, number(pair["guest"]), number(pair["model"])] for name, pair in made.medians.items()]
    head = ["experiment", "guest ns", "model ns"]
    lines = [
        *table("", ["row", "value", "provenance"], rows, paper.width, paper.color)[1:],
        *table("Medians", head, fitted, paper.width, paper.color),
        "",
        *wrapped([f"{made.arm}: Linux {made.release}, QEMU {made.ran.qemu} {made.ran.accel}; written to {file}"], paper.width),
    ]
    return "\n".join(lines)


def write_attempts(folder: Path, attempts: Sequence[Attempt]) -> None:
    """``predict.json`` and ``predict.md`` in a folder."""
    rows = {"predictions": [attempt.as_json() for attempt in attempts]}
    with OutputFolder(folder, add=True) as into:
        write_whole(into.path / "predict.json", (json.dumps(rows, indent=1) + "\n").encode())
        write_whole(into.path / "predict.md", document(attempts, "softnet lab predict --all").encode())


def predictions_text(attempts: Sequence[Attempt], paper: Paper) -> str:
    """The errors by quantity, then every figure."""
    errors = table("", SUMMARY_HEADER, summary_rows(attempts), paper.width, paper.color)
    figures = table("", FIGURES_HEADER, rows_of(attempts), paper.width, paper.color)
    return "\n".join([*errors, *figures][1:])


def _figure(row: dict[str, Any], key: str) -> str:
    return format_ns(row[key]).replace(" us", " µs") if row["unit"] else str(row[key])


def error_text(row: dict[str, Any]) -> str:
    """``+5.0 %``; "–" where the kernel did nothing of the kind."""
    return "–" if row["error_permille"] is None else f"{row['error_permille'] / 10:+.1f} %"


def _quantity(row: dict[str, Any]) -> str:
    """Latencies of all applications are one quantity for each quantile."""
    return f"latency {row['name'].rpartition(' ')[2]}" if row["unit"] else str(row["name"])


def rows_of(attempts: Iterable[Attempt]) -> list[list[str]]:
    """One row a figure: scenario, arm, figure, predicted, measured, error."""
    out = []
    for attempt in attempts:
        if attempt.told is None:
            out.append([attempt.scenario, attempt.arm, "not measured", "", "", attempt.failed])
            continue
        for row in attempt.told["rows"]:
            figures = [_figure(row, "predicted"), _figure(row, "measured"), error_text(row)]
            out.append([attempt.scenario, attempt.arm, str(row["name"]), *figures])
    return out


def summary_rows(attempts: Iterable[Attempt]) -> list[list[str]]:
    """One row a quantity: how often it was predicted, the median of the errors' sizes, the worst and where that was."""
    errors: dict[str, list[tuple[int, int, str]]] = {}
    for attempt in attempts:
        for row in attempt.told["rows"] if attempt.told is not None else ():
            if row["error_permille"] is not None:
                where = f"{attempt.scenario} on {attempt.arm}"
                errors.setdefault(_quantity(row), []).append((abs(row["error_permille"]), row["error_permille"], where))
    out = []
    for quantity, found in errors.items():
        found.sort()
        middle, worst = found[len(found) // 2][0], found[-1]
        out.append([quantity, str(len(found)), f"{middle / 10:.1f} %", f"{worst[1] / 10:+.1f} %", worst[2]])
    return out


FIGURES_HEADER = ("scenario", "arm", "figure", "predicted", "measured", "error")
SUMMARY_HEADER = ("quantity", "predictions", "median error", "worst", "where")


def document(attempts: Sequence[Attempt], command: str) -> str:
    """The tables as a Markdown document, for docs."""
    known = [attempt.told for attempt in attempts if attempt.told is not None]
    ran = ", ".join(dict.fromkeys(told["ran"] for told in known)) or "nothing"
    kernels = list(dict.fromkeys((told["arm"], told["release"], told["costs"]) for told in known))
    deviations = list(dict.fromkeys(text for told in known for text in told["deviations"]))
    lines = [
        "# Predicted and measured",
        "",
        f"`{command}`, guests run by {ran}. The error is (predicted − measured) / measured;",
    ]
    lines += [
        "of a figure that the kernel has none of there is no error. ×100 is `--stretch 100`.",
        "No table was fitted to these scenarios.",
        "",
    ]
    lines += [*markdown.table(["arm", "kernel", "costs"], kernels), "", "## Errors by quantity", ""]
    lines += [*markdown.table(SUMMARY_HEADER, summary_rows(attempts)), "", "## Every figure", ""]
    lines += [*markdown.table(FIGURES_HEADER, rows_of(attempts)), ""]
    if deviations:
        lines += ["## What the guests did otherwise", "", *(f"- {text}" for text in deviations), ""]
    return "\n".join(lines)
