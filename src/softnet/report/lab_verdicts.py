# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts and the conformance suite as text: for the terminal, and as a Markdown document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softnet.errors import printable
from softnet.report import markdown
from softnet.report.table import BETTER, WORSE, Cell, Paper, styled, table, wrapped

if TYPE_CHECKING:
    from softnet.lab.studies.conform import ExperimentOutcome
    from softnet.lab.validate.verdict import TraceVerdict


def verdict_lines(name: str, verdict: TraceVerdict) -> list[str]:
    """What came of holding a trace against the model; for a refused one the first event and why."""
    if not verdict.events:
        return [f"{name}: nothing to check: the trace has not one event", f"  kernel {verdict.kernel}, model {verdict.model}"]
    word = "NOT DECIDED" if verdict.bounded else "NOT a behaviour of the model"
    word = "a behaviour of the model" if verdict.accepted else word
    seen = verdict.events_checked + sum(verdict.context.values()) + sum(verdict.not_checked.values())
    lines = [
        f"{name}: {word}",
        f"  kernel {verdict.kernel}, model {verdict.model}",
        f"  {verdict.events} events: {verdict.events_checked} followed, {sum(verdict.context.values())} context, "
        f"{sum(verdict.not_checked.values())} not followed"
        + (f", {verdict.events - seen} after the refusal" if verdict.events > seen else ""),
    ]
    lines += [f"  {count:6d}  {branch}" for branch, count in verdict.covered.items()]
    if verdict.context:
        lines.append("  context: " + ", ".join(f"{event} {n}" for event, n in verdict.context.items()))
    lines += [f"  not followed: {event} {count}: {verdict.why_not[event]}" for event, count in verdict.not_checked.items()]
    if not verdict.accepted:
        if verdict.bounded:
            where = "; ".join(verdict.bounds)
            lines.append(f"  NOT PROVEN: more orders of overlapping functions were possible than were tried ({where})")
        lines.append(f"  line {verdict.line}: {verdict.record}")
        lines += [f"    {reason}" for reason in verdict.reasons]
        lines.append(f"    the model: {verdict.source}")
        lines += [f"      {line}" for line in verdict.model_state]
    # A trace may come from somebody else.
    return [printable(line) for line in lines]


def told(name: str, verdict: TraceVerdict, paper: Paper) -> list[str]:
    """The same as wide as there is room for, in its colour."""
    first, *rest = wrapped(verdict_lines(name, verdict), paper.width)
    style = "" if not verdict.events else BETTER if verdict.accepted else WORSE
    return [styled(first, style, paper.color), *rest]


def check_row(path: Path, verdict: TraceVerdict, *, coverage: bool) -> dict[str, Any]:
    """The verdict on a file for another program; the branches with ``coverage`` only."""
    row = {"trace": str(path), **verdict.as_json()}
    if not coverage:
        del row["branches"]
    return row if verdict.events else {**row, "nothing_to_check": True}


def branch_totals(rows: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """(ways taken, ways that there are): a test has two."""
    return sum((row["true"] > 0) + (row["false"] > 0) for row in rows), 2 * len(rows)


def branch_lines(rows: Sequence[dict[str, Any]], paper: Paper) -> list[str]:
    """The model's tests with how often real traces took each way, by kernel function; a way never taken is marked."""
    taken, ways = branch_totals(rows)
    lines = [f"{taken} of {ways} ways of the model's tests were taken by these traces ('-' never):", ""]
    last = ""
    for row in rows:
        if row["function"] != last:
            last = row["function"]
            lines.append(f"{last}()  {row['source']}")
        counts = "".join(f"{row[way] or '-':>8}" for way in ("true", "false"))
        lines.append(f"  true, false:{counts}  {row['place']}  {row['test']}")
    return wrapped(lines, paper.width)


def _cell(outcome: ExperimentOutcome) -> str:
    verdict = outcome.verdict
    return f"{outcome.word} {verdict.events_checked}/{verdict.events}"


def _by_place(outcomes: Sequence[ExperimentOutcome]) -> dict[tuple[str, str], ExperimentOutcome]:
    return {(outcome.experiment, outcome.arm): outcome for outcome in outcomes}


def arm_rows(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str]) -> list[list[str]]:
    """One row an arm: traces accepted, events, decisions and ways covered, exact predictions met."""
    from softnet.lab.studies.conform import branches

    rows = []
    for arm in arms:
        mine = [outcome for outcome in outcomes if outcome.arm == arm]
        followed, events = (sum(n) for n in zip(*((o.verdict.events_checked, o.verdict.events) for o in mine), strict=True))
        context = sum(sum(o.verdict.context.values()) for o in mine)
        exact = [o for o in mine if o.exact]
        taken, ways = branch_totals(branches(mine))
        decisions = {name for o in mine for name in o.verdict.covered}
        rows.append([
            arm, f"{sum(o.verdict.accepted for o in mine)} of {len(mine)}", str(events), str(followed), str(context),
            str(events - followed - context), str(len(decisions)), f"{taken} of {ways}",
            f"{sum(o.predicted == o.measured for o in exact)} of {len(exact)}",
        ])  # fmt: skip
    return rows


ARM_HEADER = (
    "arm", "traces accepted", "events", "followed", "context", "not followed", "kinds of decision",
    "ways of the model taken", "exact answers met",
)  # fmt: skip


def outcome_rows(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str]) -> list[list[str]]:
    """One row an experiment: the outcome on each arm, events followed of all."""
    by_place = _by_place(outcomes)
    return [
        [experiment, *(_cell(by_place[experiment, arm]) for arm in arms)]
        for experiment in dict.fromkeys(outcome.experiment for outcome in outcomes)
    ]


def decision_rows(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str]) -> list[list[str]]:
    """One row a kind of decision: how often each arm's traces exercised it."""
    names = sorted({name for outcome in outcomes for name in outcome.verdict.covered})
    return [[name, *(str(sum(o.verdict.covered.get(name, 0) for o in outcomes if o.arm == arm)) for arm in arms)] for name in names]


def error_percent(predicted: int, measured: int) -> int:
    """The error of a prediction in whole per cent of what was measured, which is not 0."""
    return round((predicted - measured) * 100 / measured)


def pair_text(predicted: int | None, measured: int | None) -> str:
    """``371 / 391 (−5 %)``: the error is of what was measured; none is said where the two are equal or nothing was measured."""
    text = " / ".join("none" if value is None else str(value) for value in (predicted, measured))
    if predicted is None or not measured or predicted == measured:
        return text
    percent = error_percent(predicted, measured)
    return f"{text} ({'+' if percent >= 0 else '−'}{abs(percent)} %)"


def rate_rows(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str]) -> list[list[str]]:
    """One row a scenario: what the guests' senders managed, and with which costs that was predicted."""
    by_place = _by_place(outcomes)
    names = dict.fromkeys(outcome.experiment for outcome in outcomes if outcome.rate)
    return [[name, *(by_place[name, arm].rate for arm in arms)] for name in names]


def prediction_rows(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str]) -> list[list[str]]:
    """One row a figure of an experiment: predicted / measured on each arm; figures that are 0 everywhere are left out."""
    by_place = _by_place(outcomes)
    rows = []
    for experiment in dict.fromkeys(outcome.experiment for outcome in outcomes):
        cells = [by_place[experiment, arm] for arm in arms]
        for figure in cells[0].predicted:
            pairs = [(cell.predicted[figure], cell.measured[figure]) for cell in cells]
            if any(value for pair in pairs for value in pair) or cells[0].exact:
                rows.append([experiment, figure, *(pair_text(*pair) for pair in pairs)])
    return rows


def conform_lines(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str], paper: Paper) -> list[str]:
    """Each refusal in full, the findings that were met, then the tables for the terminal."""
    lines: list[str] = []
    for outcome in outcomes:
        if outcome.word not in FINE:
            lines += [*told(f"{outcome.experiment} on {outcome.arm}", outcome.verdict, paper), ""]
    for finding in dict.fromkeys(outcome.known for outcome in outcomes if outcome.known):
        lines += [*wrapped([f"known: {finding}"], paper.width), ""]
    by_place = _by_place(outcomes)
    cells: list[list[Cell]] = []
    for row in outcome_rows(outcomes, arms):
        styles = (BETTER if by_place[row[0], arm].word in FINE else WORSE for arm in arms)
        cells.append([row[0], *zip(row[1:], styles, strict=True)])
    rows = [[f"{row[0]}: {row[1]}", *row[2:]] for row in prediction_rows(outcomes, arms)]
    tables = (
        ("Kernels", ARM_HEADER, arm_rows(outcomes, arms)),
        ("Outcomes, and events followed of all", ["", *arms], cells),
        ("Decisions that these traces exercised", ["", *arms], decision_rows(outcomes, arms)),
        ("Predicted by the model / measured", ["", *arms], rows),
    )
    found = [line for title, head, rows in tables for line in table(title, head, rows, paper.width, paper.color)]
    return [*lines, *found[1:]]


FINE: Final = ("ok", "known")
"""Outcomes that nobody need look into."""


def conform_document(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str], command: str) -> str:
    """The same as a Markdown document, with the kernels' packages, the ways never taken, and the command."""
    from softnet.lab.studies.conform import branches

    packages = {outcome.arm: outcome.package or outcome.release for outcome in outcomes}
    rows = branches(outcomes)
    never = [row for row in rows if not row["true"] or not row["false"]]
    taken, ways = branch_totals(rows)
    lines = ["# Conformance of the model", "", f"`{command}`", ""]
    lines += [*markdown.table(["arm", "kernel package"], [[arm, packages[arm]] for arm in arms]), ""]
    lines += [*markdown.table(ARM_HEADER, arm_rows(outcomes, arms)), ""]
    lines += ["## Outcomes, and events followed of all", ""]
    lines += [*markdown.table(["experiment", *arms], outcome_rows(outcomes, arms)), ""]
    lines += [
        "## Decisions exercised",
        "",
        *markdown.table(["decision", *arms], decision_rows(outcomes, arms)),
        "",
    ]
    lines += ["## What the senders managed", ""]
    lines += [
        "Packets sent of those asked for on an emulated guest; the model sends at the same times. The costs are those fitted to",
        "the arm's kernel, times how much longer this guest's receivers took for a packet than the guest of the table.",
        "",
    ]
    lines += [*markdown.table(["experiment", *arms], rate_rows(outcomes, arms)), ""]
    lines += ["## Predicted / measured", ""]
    lines += [*markdown.table(["experiment", "figure", *arms], prediction_rows(outcomes, arms)), ""]
    lines += [
        "## Ways of the model that no trace took",
        "",
        f"{taken} of {ways} ways were taken, over all arms. The others:",
        "",
    ]
    unused = [
        [
            f"{row['function']}()",
            row["place"],
            f"`{row['test']}`",
            ", ".join(w for w in ("true", "false") if not row[w]),
        ]
        for row in never
    ]
    return "\n".join([*lines, *markdown.table(["function", "line", "test", "never"], unused), ""])
