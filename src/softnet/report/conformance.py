# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance suite as pages: one with every table, and one for each trace that the model does not explain.

They open offline and ask for nothing. A colour never says anything alone: the word or the percentage stands beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from softnet import __version__
from softnet.files import atomic, write_whole
from softnet.lab.studies.conform import ExperimentOutcome, as_json, branches
from softnet.lab.tracing import records
from softnet.lab.tracing.records import LabRecord
from softnet.report.lab_verdicts import (
    ARM_HEADER,
    arm_rows,
    branch_totals,
    conform_document,
    decision_rows,
    error_percent,
    pair_text,
)
from softnet.report.names import number
from softnet.report.page import document
from softnet.simulate.output import OutputFolder

NEAR_PERCENT, OFF_PERCENT = 5, 25
"""A prediction is near, off, or far beyond these errors."""
RECORDS_BEFORE, RECORDS_AFTER = 24, 8
_CONTEXTS = ("task", "softirq", "hardirq")
_STYLE = """
td.ok { color: var(--good); }
td.wrong, td.wrong a { color: var(--bad); font-weight: 600; }
td.near { background: color-mix(in srgb, var(--good) 16%, transparent); }
td.off { background: color-mix(in srgb, var(--a4) 22%, transparent); }
td.far { background: color-mix(in srgb, var(--bad) 22%, transparent); }
td.near, td.off, td.far { padding-left: 8px; }
tr.here td, tr.here th { background: color-mix(in srgb, var(--bad) 22%, transparent); font-weight: 600; }
tbody td.text { text-align: left; white-space: normal; min-width: 160px; }
tbody td.code { text-align: left; font-family: ui-monospace, "DejaVu Sans Mono", Menlo, monospace; font-size: 13px; }
.key { display: inline-block; padding: 1px 8px; border-radius: 4px; }
.key.near { background: color-mix(in srgb, var(--good) 16%, transparent); }
.key.off { background: color-mix(in srgb, var(--a4) 22%, transparent); }
.key.far { background: color-mix(in srgb, var(--bad) 22%, transparent); }
"""


def refusal_name(outcome: ExperimentOutcome) -> str:
    """The file name of a refused trace's page."""
    return f"refused-{outcome.folder}-{outcome.arm.replace('/', '_')}.html"


REFUSALS = "refused-*.html"
"""The pages of an earlier suite, which the next one does without (simulate.output)."""


def write_conformance(
    folder: Path, outcomes: Sequence[ExperimentOutcome], arms: Sequence[str], command: str, traces: Path | None = None
) -> list[Path]:
    """``conform.html`` and a page for each refusal in ``folder``; the paths written.

    ``traces`` is where the suite has left its traces, if not there. Raises SoftnetError when something cannot be written.
    """
    pages = {"conform.html": suite_page(outcomes, arms, command)}
    for outcome in outcomes:
        if not outcome.verdict.accepted:
            pages[refusal_name(outcome)] = refusal_page(outcome, _trace_path(traces or folder, outcome))
    for name, text in pages.items():
        with atomic(folder / name) as out:
            out.write(text.encode())
    return [folder / name for name in pages]


def _trace_path(folder: Path, outcome: ExperimentOutcome) -> Path:
    return folder / outcome.folder / f"{outcome.arm.replace('/', '_')}.lab.jsonl.gz"


def suite_page(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str], command: str) -> str:
    """The page of the whole suite."""
    parts = [
        *_summary(outcomes, arms), *_arms(outcomes, arms), *_matrix(outcomes, arms), *_predictions(outcomes, arms),
        *_rates(outcomes, arms), *_decisions(outcomes, arms), *_never(outcomes), *_provenance(outcomes, arms, command),
    ]  # fmt: skip
    return _document("Conformance of the model", parts)


def _document(title: str, parts: Sequence[str]) -> str:
    return document(title, "\n".join(parts), style=_STYLE)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Rows of cells, each either text or a whole ``<td>``; the first ``words`` columns are text and flush left."""
    head = "".join(f'<th scope="col"{" class=word" if n < words else ""}>{escape(h)}</th>' for n, h in enumerate(header))
    body = []
    for row in rows:
        cells = [f'<th scope="row">{escape(row[0])}</th>']
        for n, cell in enumerate(row[1:], start=1):
            cells.append(cell if cell.startswith("<td") else _cell(cell, "word" if n < words else ""))
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{chr(10).join(body)}\n</tbody></table></div>'


def _cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _summary(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str]) -> Iterator[str]:
    accepted = sum(outcome.verdict.accepted for outcome in outcomes)
    followed = sum(outcome.verdict.events_checked for outcome in outcomes)
    events = sum(outcome.verdict.events for outcome in outcomes)
    exact = [outcome for outcome in outcomes if outcome.exact]
    met = sum(outcome.predicted == outcome.measured for outcome in exact)
    wrong = [outcome for outcome in outcomes if outcome.word not in ("ok", "known")]
    experiments = len(dict.fromkeys(outcome.experiment for outcome in outcomes))
    yield "<header><h1>Conformance of the model</h1>"
    yield (
        f'<p class="soft">{experiments} experiments on {len(arms)} real kernels in QEMU. Each trace is followed event by event with'
        " the model’s own functions: every decision of the kernel’s must be one that the model takes in that state.</p>"
    )
    links = (("arms", "Kernels"), ("outcomes", "Outcomes"), ("predictions", "Predicted and measured"), ("rates", "Senders"),
             ("decisions", "Decisions"), ("never", "Never taken"), ("provenance", "Where this comes from"))  # fmt: skip
    yield f"<nav>{' '.join(f'<a href=#{anchor}>{name}</a>' for anchor, name in links)}</nav></header>"
    yield '<section class="story"><ul>'
    yield f"<li>{accepted} of {len(outcomes)} traces are behaviours of the model.</li>"
    yield f"<li>{number(followed)} of {number(events)} events were followed.</li>"
    if exact:
        yield f"<li>{met} of {len(exact)} exact answers were met.</li>"
    yield "</ul></section>"
    if wrong:
        yield '<section class="mind"><ul>'
        for outcome in wrong:
            what = f"{outcome.experiment} on {outcome.arm}"
            where = f'<a href="{refusal_name(outcome)}">{escape(what)}</a>' if not outcome.verdict.accepted else escape(what)
            reason = f": {escape(outcome.verdict.reasons[0])}" if outcome.verdict.reasons else ""
            yield f'<li><span class="defect">{escape(outcome.word)}</span> {where}{reason}</li>'
        yield "</ul></section>"


def _arms(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str]) -> Iterator[str]:
    yield '<h2 id="arms">Kernels</h2>'
    yield _table(ARM_HEADER, arm_rows(outcomes, arms))
    yield (
        '<p class="note">Followed: what the kernel did there had to be what the model does. Context: it told what the model cannot'
        " know. The others have their reasons in conform.json.</p>"
    )


def _by_place(outcomes: Sequence[ExperimentOutcome]) -> dict[tuple[str, str], ExperimentOutcome]:
    return {(outcome.experiment, outcome.arm): outcome for outcome in outcomes}


def _matrix(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str]) -> Iterator[str]:
    by_place = _by_place(outcomes)
    rows = []
    for experiment in dict.fromkeys(outcome.experiment for outcome in outcomes):
        cells = []
        for arm in arms:
            outcome = by_place[experiment, arm]
            text = f"{escape(outcome.word)} {number(outcome.verdict.events_checked)}/{number(outcome.verdict.events)}"
            if not outcome.verdict.accepted:
                text = f'<a href="{refusal_name(outcome)}">{text}</a>'
            cells.append(f'<td class="{"ok" if outcome.word in ("ok", "known") else "wrong"}">{text}</td>')
        rows.append([experiment, *cells])
    yield '<h2 id="outcomes">Outcomes, and events followed of all</h2>'
    yield _table(("experiment", *arms), rows)


def closeness(predicted: int | None, measured: int | None) -> str:
    """near, off or far; "" where there is nothing to compare."""
    if predicted == measured:
        return "near" if measured != 0 else ""
    if predicted is None or measured is None or measured == 0:
        return "far"
    error = abs(error_percent(predicted, measured))
    return "near" if error <= NEAR_PERCENT else "off" if error <= OFF_PERCENT else "far"


def _predictions(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str]) -> Iterator[str]:
    by_place = _by_place(outcomes)
    yield '<h2 id="predictions">Predicted and measured</h2>'
    yield (
        "<p>Counts that the model predicts / the kernel’s, and the error. Exact experiments must agree. For the others the"
        " model has the costs that were fitted to the kernel, and the senders’ times and the speed of this guest; what other"
        " work on the host did to an emulated guest’s CPUs it cannot have.</p>"
        f'<p class="note"><span class="key near">within {NEAR_PERCENT} %</span> <span class="key off">within {OFF_PERCENT} %</span>'
        ' <span class="key far">beyond</span></p>'
    )
    for experiment in dict.fromkeys(outcome.experiment for outcome in outcomes):
        cells = [by_place[experiment, arm] for arm in arms]
        rows = []
        for figure in cells[0].predicted:
            pairs = [(cell.predicted[figure], cell.measured[figure]) for cell in cells]
            if cells[0].exact or any(value for pair in pairs for value in pair):
                rows.append([figure, *(_cell(pair_text(*pair), closeness(*pair)) for pair in pairs)])
        if rows:
            yield f"<h3>{escape(experiment)}</h3>{_table(('predicted / measured', *arms), rows)}"


def _rates(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str]) -> Iterator[str]:
    by_place = _by_place(outcomes)
    names = dict.fromkeys(outcome.experiment for outcome in outcomes if outcome.rate)
    yield '<h2 id="rates">What the senders managed</h2>'
    yield (
        "<p>Packets sent of those asked for; the model’s senders send when the guest’s did. Beside them the table of costs, times"
        " how much longer this guest took for a packet than the one that the table was fitted to.</p>"
    )
    yield _table(
        ("experiment", *arms),
        [[name, *(_cell(by_place[name, arm].rate, "text") for arm in arms)] for name in names],
    )


def _decisions(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str]) -> Iterator[str]:
    rows = [
        [row[0], *(_cell(number(int(n)) if n != "0" else "–", "" if n != "0" else "calm") for n in row[1:])]
        for row in decision_rows(outcomes, arms)
    ]
    yield '<h2 id="decisions">Decisions exercised</h2>'
    yield _table(("decision", *arms), rows)


def _never(outcomes: Sequence[ExperimentOutcome]) -> Iterator[str]:
    rows = branches(outcomes)
    taken, ways = branch_totals(rows)
    never = [row for row in rows if not row["true"] or not row["false"]]
    yield '<h2 id="never">Ways of the model that no trace took</h2>'
    yield f"<p>{taken} of {ways} ways of the model’s tests were taken, over all kernels. A test has two ways.</p>"
    yield _table(
        ("function", "test", "never", "line of the model"),
        [
            [f"{row['function']}()", _cell(row["test"], "code"), ", ".join(w for w in ("true", "false") if not row[w]),
             _cell(row["place"], "code")]
            for row in never
        ],
        words=4,
    )  # fmt: skip


def _provenance(outcomes: Sequence[ExperimentOutcome], arms: Sequence[str], command: str) -> Iterator[str]:
    packages = {outcome.arm: outcome.package or outcome.release for outcome in outcomes}
    yield '<h2 id="provenance">Where this comes from</h2>'
    yield _table(("arm", "kernel package"), [[arm, packages[arm]] for arm in arms], words=2)
    yield f"<p>softnet {__version__}. Everything, in one go:</p><pre>{escape(command)}</pre>"
    yield "<p>The same as JSON, with every verdict whole: conform.json. The traces are in the folders beside it.</p>"


def refusal_page(outcome: ExperimentOutcome, trace: Path) -> str:
    """The page of one refused trace: the event, why the model cannot explain it, its state, and what was around it."""
    verdict = outcome.verdict
    title = f"{outcome.experiment} on {outcome.arm}"
    proof = "" if not verdict.bounded else (
        '<p class="worse">Not proven: more orders of overlapping functions were possible than were tried'
        f" ({escape('; '.join(verdict.bounds))}).</p>"
    )  # fmt: skip
    said = (
        f'<p class="soft">Kernel {escape(verdict.kernel)}, model {escape(verdict.model)}. {number(verdict.events_checked)} events'
        f" were followed before line {verdict.line} of {number(verdict.events)}.</p></header>"
    )
    parts = [
        f'<header><p><a href="conform.html">The whole suite</a></p><h1>{escape(title)}</h1>',
        said,
        proof,
        '<section class="mind"><p class="defect">This event is not a behaviour of the model</p>',
        f"<p><code>{escape(str(verdict.record))}</code></p><ul>",
        *(f"<li>{escape(reason)}</li>" for reason in verdict.reasons),
        "</ul>",
        f"<p>The model’s decision: <code>{escape(verdict.source)}</code></p></section>",
        '<h2 id="state">The model’s state</h2>',
        _table(
            ("", "before the event, in the first state that explains the trace so far"),
            [[line.partition(": ")[0], _cell(line.partition(": ")[2], "text")] for line in verdict.model_state],
            words=2,
        ),
        '<h2 id="around">Around it</h2>',
        *_around(trace, verdict.line - 2),
        "<p>Again, in a terminal:</p>",
        f"<pre>softnet lab check {escape(trace.parent.name)}/{escape(trace.name)}</pre>",
    ]
    return _document(f"Refused: {title}", parts)


def _around(path: Path, at: int) -> Iterator[str]:
    if not path.exists():
        yield f'<p class="soft">The trace is not beside this page any more ({escape(path.parent.name)}/{escape(path.name)}).</p>'
        return
    trace = records.read(path)
    tasks = trace.header.get("tasks", {})
    first = max(at - RECORDS_BEFORE, 0)
    yield (
        '<p class="note">Place is the order over all CPUs; a, b and c are the event’s arguments as the kernel had them:'
        " for skb_attempt_defer_free the skb, the CPU that allocated it and the length of that CPU’s list, for enqueue_to_backlog"
        " the skb, the backlog’s CPU and its length, for process_backlog the packets done.</p>"
    )
    header = ("line", "place", "CPU", "context", "task", "event", "a", "b", "c", "")
    head = "".join(f'<th scope="col" class="word">{name}</th>' for name in header)
    rows = [
        _record_row(place + 2, record, _task(tasks, record.pid), place == at)
        for place, record in enumerate(trace.records[first : at + RECORDS_AFTER + 1], start=first)
    ]
    yield f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{chr(10).join(rows)}\n</tbody></table></div>'


def _task(tasks: dict[str, str], pid: int) -> str:
    return "idle" if pid == 0 else str(tasks.get(str(pid), pid))


def _record_row(line: int, record: LabRecord, task: str, here: bool) -> str:
    cells = [
        str(record.when), str(record.cpu), _CONTEXTS[record.context], task, record.event, str(record.a), str(record.b),
        str(record.c), record.text,
    ]  # fmt: skip
    body = "".join(f'<td class="word">{escape(cell)}</td>' for cell in cells)
    return f'<tr{" class=here" if here else ""}><th scope="row">{line}</th>{body}</tr>'


def write_all(folder: Path, outcomes: Sequence[ExperimentOutcome], arms: Sequence[str], command: str) -> None:
    """``conform.json``, ``conform.md`` and the pages in a folder."""
    with OutputFolder(folder, add=True, renews=REFUSALS) as into:
        write_whole(into.path / "conform.json", (json.dumps(as_json(outcomes), indent=1) + "\n").encode())
        write_whole(into.path / "conform.md", conform_document(outcomes, arms, command).encode())
        write_conformance(into.path, outcomes, arms, command, traces=folder)
