# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``softnet host doctor`` prints: the machine, findings from worst to least, what could not be read."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from softnet.errors import printable
from softnet.host.findings import Diagnosis, Finding
from softnet.host.predict import SEEDS, Predicted, Prediction
from softnet.report.names import duration

LABEL = 8
WORDS = {"wrong": "WRONG", "risk": "RISK", "note": "NOTE"}


def doctor_lines(diagnosis: Diagnosis, width: int, predictions: Sequence[Prediction] = ()) -> list[str]:
    """The answer in lines of at most ``width`` columns; commands are never broken. Names from elsewhere cannot move the cursor."""
    lines = _wrapped("", diagnosis.machine, width) + _wrapped("", diagnosis.window, width)
    for note in diagnosis.notes:
        lines += _wrapped("note", note, width)
    count = len(diagnosis.findings)
    for at, finding in enumerate(diagnosis.findings, start=1):
        lines += ["", *_finding(at, finding, width, {p.do: p for p in predictions if p.finding == finding.id})]
    lines.append("")
    if not count:
        lines += _wrapped("", "Nothing wrong and nothing risky found in what was read.", width)
    looked = ", ".join(diagnosis.looked_at)
    lines += _wrapped("read", looked or "nothing", width)
    for item in diagnosis.unread:
        lines += _wrapped("unread", item, width)
    if predictions:
        lines += _wrapped(
            "model",
            f"what changes would do is computed from the machine's scenario (softnet host scenario), {SEEDS} seeds,"
            " with costs and a shape of traffic that are not this machine's own: take the direction, not the figure",
            width,
        )
    return [printable(line) for line in lines]


def _wrapped(label: str, text: str, width: int, indent: int = 0) -> list[str]:
    """A labelled paragraph; without a label it begins at the left."""
    head = " " * indent + (label.ljust(LABEL) if label else "")
    inner = textwrap.wrap(text, max(width - len(head), 20), break_long_words=False, break_on_hyphens=False) or [""]
    return [head + inner[0], *(" " * len(head) + line for line in inner[1:])]


def _finding(at: int, finding: Finding, width: int, predictions: Mapping[str, Prediction]) -> list[str]:
    number = f"{at}. ".ljust(3)
    lines = _wrapped("", f"{number}{WORDS[finding.level]}: {finding.title}", width)
    lines += _wrapped("", finding.meaning, width, 3)
    for evidence in finding.evidence:
        lines += _wrapped("seen", f"{evidence.source}: {evidence.text}", width, 3)
    for change in finding.changes:
        lines.append(f"   {'do'.ljust(LABEL)}{change.do}" + (f"    # {change.why}" if change.why else ""))
        if change.undo:
            lines.append(f"   {'undo'.ljust(LABEL)}{change.undo}")
        if change.do in predictions:
            lines += _wrapped("model", _predicted(predictions[change.do]), width, 3)
    lines += _wrapped("sure", f"{finding.sure}: {finding.because}", width, 3)
    return lines


def _predicted(prediction: Prediction) -> str:
    """What the model says of one change."""
    if prediction.why_not:
        return prediction.why_not
    said = ", ".join(_figure(figure) for figure in prediction.figures if figure.base or figure.changed)
    return said + (f". To bear in mind: {prediction.caution}." if prediction.caution else "")


def _figure(figure: Predicted) -> str:
    def shown(value: float | None) -> str:
        return "no samples" if value is None else duration(value) if figure.unit == "ns" else f"{value:,.0f}"

    if figure.verdict in ("same", "noise", "no samples"):
        return f"{figure.title} {shown(figure.base)} → {shown(figure.changed)} ({figure.verdict})"
    return f"{figure.title} {shown(figure.base)} → {shown(figure.changed)}" + (f" ({figure.judgement})" if figure.judgement else "")
