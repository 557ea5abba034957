# SPDX-License-Identifier: GPL-2.0-or-later
"""What verification found, for who reads it: a line for each search, the table of properties, counterexamples, JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from softnet.properties.findings import FINDINGS
from softnet.report.columns import render
from softnet.report.names import number
from softnet.report.table import BETTER, WORSE, Cell, line_of, styled, untitled, wrap
from softnet.verify.api import LeftOut, PropertyStanding, Standing, Verification
from softnet.verify.model import store_buffer
from softnet.verify.replay.schedule import encode
from softnet.verify.standard import to_text
from softnet.verify.verdict import Verdict, Why, omission

if TYPE_CHECKING:
    from softnet.verify.api import Replayed
    from softnet.verify.cover import Cover
    from softnet.verify.model import Config
    from softnet.verify.parallel import Progress
    from softnet.verify.promela import Export
    from softnet.verify.replay.schedule import Schedule
    from softnet.verify.search import Outcome

WHY: Final = {
    Why.INTERRUPTED: "interrupted",
    Why.TIME_LIMIT: "stopped at the time limit",
    Why.SPACE_LIMIT: "memory or state limit",
    Why.RANDOM_RUN_FAILED: "a run by chance failed",
    Why.LIVENESS_NEEDS_EXACT_STORAGE: "liveness needs exact storage",
    Why.NO_ROOM_FOR_LIVENESS: "no room for the graph that liveness needs",
    Why.BOUNDED: "a swarm finds, and proves nothing",
    Why.TOO_MANY_OPEN: "a step touches more than the search for data races keeps; --without 'data race' does not ask",
    Why.NO_END: "no schedule comes to an end; --liveness says whether a fair one does",
}

BOUNDS: Final = {
    LeftOut.STORE_BUFFERS: "memory is sequentially consistent (--memory-model tso: stores wait in x86's store buffers)",
    LeftOut.LONGER_STORE_BUFFERS: "a CPU's store buffer holds {entries} stores (--store-buffer)",
    LeftOut.HOTPLUG: "no CPU goes offline (--driver hotplug:0:2:1: CPU 1 does, and comes back)",
    LeftOut.TIME: "time does not pass (--set ticks=1: a poll may meet net_rx_action()'s time limit)",
    LeftOut.EVENTS: "no setting changes (--event skb_defer_max=N and others)",
}


def exhausted(probability: float, entries: int = 0) -> str:
    """The verdict of a search that came to its end.

    ``probability`` is omission()'s, 0 for exact storage; with x86-TSO's store buffers of that many ``entries``.
    """
    parts = ["exhausted"]
    if entries:
        parts.append(f"x86-TSO with {entries}-entry store buffers")
    if probability:
        parts.append(f"hash compaction: P(omission) < {rounded_up(probability)}")
    return f"holds ({', '.join(parts)})"


def rounded_up(probability: float) -> str:
    """With one digit, rounded up."""
    exponent = math.floor(math.log10(probability))
    digit = math.ceil(probability / 10.0**exponent)
    return f"{digit if digit < 10 else 1}e{exponent if digit < 10 else exponent + 1}"


def verdict_text(outcome: Outcome) -> str:
    """The verdict, with the memory model and what hash compaction may have omitted."""
    if outcome.verdict is not Verdict.HOLDS:
        return str(outcome.verdict)
    return exhausted(omission(outcome.states) if outcome.storage == "compact" else 0.0, store_buffer(outcome.config))


def why_text(outcome: Outcome) -> str:
    """Why a search is inconclusive; empty if it is not."""
    text = WHY[outcome.why] if outcome.why is not None else ""
    if outcome.swarm is not None and text:
        text += f"; {cover_text(outcome.swarm)}"
    if outcome.known_violation:
        text += f", before a schedule that violates {outcome.known_violation}, which there is, was found"
    return text


def cover_text(cover: Cover) -> str:
    """What a swarm covered."""
    members = f"{cover.members} members" if cover.members > 1 else "1 member"
    return f"{members} met about {cover.distinct:,} different states, of an unknown number"


# -- the table of searches


SHORT: Final = {(False, False): "exhausted", (True, False): "x86-TSO", (False, True): "hashed", (True, True): "TSO, hashed"}
"""(with store buffers, with hash compaction) -> what a table's cell says of a search that came to its end."""
VERDICT_WIDTH: Final = max(len(f"holds ({text})") for text in SHORT.values())


def _short(entries: int, probability: float) -> str:
    return f"holds ({SHORT[entries > 0, probability > 0]})"


def _cell(outcome: Outcome) -> tuple[str, str]:
    """The verdict in few words, and its colour."""
    if outcome.verdict is Verdict.HOLDS:
        return _short(store_buffer(outcome.config), omission(outcome.states) if outcome.storage == "compact" else 0.0), BETTER
    return str(outcome.verdict), WORSE if outcome.verdict is Verdict.VIOLATED else ""


class SearchTable:
    """The table of searches, which is written line by line as they end; ``width`` says what there is room for."""

    def __init__(self, configs: Sequence[Config], width: int, *, color: bool = False) -> None:
        self._width, self._color = width, color
        self._widths = [
            max(len(name), *(len(text) for text in texts)) for name, texts in (
                ("kernel", [config.kernel for config in configs]),
                ("configuration", [config.name for config in configs]),
            )
        ] + [VERDICT_WIDTH, 9, 11, 5, 7]  # fmt: skip
        self._columns = list(range(len(self._widths)))
        if sum(self._widths) + 2 * len(self._widths) - 2 > width:
            # What fewer ask for.
            self._columns = [0, 1, 2, 3, 6]

    def _line(self, cells: Sequence[tuple[str, str]]) -> str:
        """A line of the columns that have room."""
        shown = self._columns
        return line_of([cells[c] for c in shown], [self._widths[c] for c in shown], [c < 3 for c in shown], self._color)

    def head(self) -> str:
        """The names of the columns."""
        names = ("kernel", "configuration", "verdict", "states", "transitions", "depth", "seconds")
        return self._line([(name, "bold") for name in names])

    def row(self, outcome: Outcome, seconds: float) -> str:
        """A search's line of the table, and why it did not come to its end."""
        config, why = outcome.config, why_text(outcome)
        figures = (number(outcome.states), number(outcome.transitions), str(outcome.depth), f"{seconds:.1f}")
        line = self._line([(config.kernel, ""), (config.name, ""), _cell(outcome), *((figure, "") for figure in figures)])
        return "\n".join([line, *(wrap(f"({why})", self._width, "  ", "  ") if why else [])])


def progress_line(progress: Progress) -> str:
    """How far a search is."""
    rate = progress.transitions / progress.seconds
    text = f"{progress.states:,} states, {progress.frontier:,} waiting, {rate:,.0f} transitions/s"
    return f"{progress.config.kernel}, {progress.config.name}: {text}"


# -- what follows it


def summary(verification: Verification, *, every: bool, width: int, color: bool = False) -> str:
    """The table of properties; then the counterexample, or what the verdict does not speak of."""
    shown = counterexample(verification, every, width, color=color) if verification.violation is not None else None
    below = bounds(verification, width) if shown is None else shown
    above = "".join(
        f"\n{line}" for text in (*verification.changes, *known_lines(verification)) for line in wrap(text, width, "", "  ")
    )
    return f"{above}\n\n{property_table(verification, width, color=color)}\n{below}".removeprefix("\n" if not above else "")


FIRST: Final = (Standing.VIOLATED, Standing.KNOWN)
"""Properties of these standings come first in the table."""
LISTED: Final = (Standing.NOT_DECIDED, Standing.NOT_ASKED, Standing.NEEDS_LIVENESS)
"""Of these there is no more to say than their names, below the table."""
ASKED_NAMED: Final = 8
"""So many properties that were not asked for are named."""
STYLES: Final = {Standing.VIOLATED: WORSE, Standing.HOLDS: BETTER}


def property_table(verification: Verification, width: int = 110, *, color: bool = False) -> str:
    """What was checked, and what it came to; what is broken comes first."""
    entries = min(store_buffer(outcome.config) for outcome in verification.outcomes)
    holds = _short(entries, verification.omission)
    rows = sorted(verification.properties(), key=lambda row: FIRST.index(row.standing) if row.standing in FIRST else len(FIRST))
    listed = [row for row in rows if row.standing in LISTED and row.property is not None and not row.because]
    shown = [row for row in rows if row not in listed]
    named = max((len(row.property.name) for row in shown if row.property is not None), default=0)
    cells: list[list[Cell]] = []
    for row in shown:
        said = holds if row.standing is Standing.HOLDS else str(row.standing)
        cells.append([_property_name(row, named), (said, STYLES.get(row.standing, "")), _tried_on(row)])
    parts = [untitled(["property", "verdict", "tried on"], cells, width, color)]
    for standing in LISTED:
        names = [row.property.name for row in listed if row.property is not None and row.standing is standing]
        if standing is Standing.NOT_ASKED and len(names) > ASKED_NAMED:
            names = [f"{len(names)} properties that were not asked for"]
        if names:
            parts.append("\n".join(wrap(f"{str(standing).capitalize()}: {', '.join(names)}.", width, "", "  ")))
    for short, whole in _meant(verification, holds, entries).items():
        parts.append("\n".join(wrap(f"{short}: {whole}.", width, "", "  ")))
    return "\n".join(parts)


def _meant(verification: Verification, holds: str, entries: int) -> dict[str, str]:
    """What the tables' short verdicts stand for, where that is more than "exhausted"."""
    found = {}
    for outcome in verification.outcomes:
        if outcome.verdict is Verdict.HOLDS:
            found[_cell(outcome)[0]] = f"exhausted, {_more(store_buffer(outcome.config), outcome.storage == 'compact')}"
    if verification.omission:
        found[holds] = f"exhausted, {_more(entries, True)}: P(omission) < {rounded_up(verification.omission)} of all together"
    found.pop(_short(0, 0.0), None)
    return found


def _more(entries: int, compact: bool) -> str:
    return " and ".join(
        [*([f"with x86-TSO's store buffers of {entries}"] if entries else []), *(["with hash compaction"] if compact else [])]
    )


def _property_name(row: PropertyStanding, named: int) -> str:
    """The name, and the invariants that it is part of in a column of their own."""
    if row.property is None:
        return "locks, BUG_ON, lists, NULL"
    return f"{row.property.name:<{named}}  {row.property.invariants}".rstrip()


def _tried_on(row: PropertyStanding) -> str:
    """What stands behind a verdict: how often there was what the property is about, or why it says nothing."""
    if row.property is None:
        return ""
    if row.findings:
        return ", ".join(row.findings)
    if row.because or row.standing is Standing.NOTHING_TO_CHECK:
        return row.because or f"no {row.property.premise}"
    return f"{row.times:,} {row.property.premise}" if row.times else ""


def known_lines(verification: Verification) -> list[str]:
    """The findings that the searches met: each once for the configurations of one name, with the kernels."""
    met: dict[tuple[str, str], list[Config]] = {}
    for outcome, known in verification.known:
        met.setdefault((known.finding, known.property), []).append(outcome.config)
    return [f"known: {number} ({_met_in(configs)}: {name}): {FINDINGS[number].sentence}" for (number, name), configs in met.items()]


def _met_in(configs: Sequence[Config]) -> str:
    """The kernels, and the configuration if there is one."""
    names = list(dict.fromkeys(config.name for config in configs))
    return ", ".join([*dict.fromkeys(config.kernel for config in configs), *(names if len(names) == 1 else ())])


def bounds(verification: Verification, width: int) -> str:
    """What the searches left out: a verdict is about the configurations and what may happen in them."""
    entries = max(store_buffer(outcome.config) for outcome in verification.outcomes)
    left_out = [BOUNDS[what].format(entries=entries) for what in verification.left_out()]
    parts = [f"The verdict is for these configurations, where {left_out[0]}", *left_out[1:]] if left_out else []
    lines = [
        wrap(part + (";" if part is not parts[-1] else "."), width, "" if at == 0 else "  ", "  ") for at, part in enumerate(parts)
    ]
    return "\n" + "\n".join(line for part in lines for line in part)


def counterexample(verification: Verification, every: bool, width: int, *, color: bool = False) -> str:
    """The shortest schedule to the violation, of a swarm the one that it found, in columns, and the command that replays it."""
    outcome, schedule = verification.violation, verification.counterexample()
    assert outcome is not None
    assert outcome.failure is not None
    assert schedule is not None
    head = "\n".join(wrap(f"violated: {outcome.failure.name}: {outcome.failure.text}", width, "", "  "))
    where = f"\n  at {outcome.failure.where}" if outcome.failure.where else ""
    if outcome.failure.also:
        where += f"\n  so are, in the same state: {', '.join(outcome.failure.also)}"
    return (
        f"\n{styled(head, WORSE, color)}{where}\n"
        f"{'the shortest' if outcome.swarm is None else 'a'} schedule, {len(outcome.actions)} steps"
        + (f", of which the last {outcome.repeats} repeat for ever" if outcome.repeats else "")
        + "; steps that touch nothing shared are left out\n\n"
        + render(schedule, width, every=every, repeats=outcome.repeats)
        + "\n"
        + "\n".join(schedule.ends)
        + f"\n\n{replay_command(outcome)}"
    )


def file_options(patches: Sequence[str], property_files: Sequence[str]) -> str:
    """The options of softnet replay-schedule that name the files of a search."""
    return "".join(f" --patch {p}" for p in patches) + "".join(f" --property-file {p}" for p in property_files)


def replay_command(outcome: Outcome) -> str:
    """The command that shows the counterexample once more."""
    config = outcome.config
    files = file_options(config.patches, config.property_files)
    return f"softnet replay-schedule{files} '{to_text(config)}/{encode(outcome.actions, outcome.repeats)}'"


def write_counterexample(verification: Verification, html: str | None, perfetto: str | None, *, every: bool) -> None:
    """The counterexample in files, if there is one and they are wanted."""
    outcome = verification.violation
    if outcome is None or outcome.failure is None or (html is None and perfetto is None):
        return
    schedule = verification.counterexample()
    assert schedule is not None
    title, command = f"violated: {outcome.failure.name}", replay_command(outcome)
    write_schedule(schedule, html, perfetto, title, outcome.failure.text, command, every=every, repeats=outcome.repeats)


def write_schedule(
    schedule: Schedule, html: str | None, perfetto: str | None, title: str, text: str, command: str, *, every: bool, repeats: int
) -> None:
    """A schedule as a page and as a trace for Perfetto."""
    from softnet.report import counterexample as files

    if html is not None:
        files.write_page(html, files.page(schedule, title, text, command, every=every, repeats=repeats))
    if perfetto is not None:
        files.write_perfetto(perfetto, schedule, repeats=repeats)


def schedule_text(replayed: Replayed, width: int, *, every: bool) -> str:
    """A schedule that was replayed: in columns, how it ends, every context's stack if it was told where to stop."""
    schedule = replayed.schedule
    parts = [render(schedule, width, every=every, repeats=replayed.repeats)]
    parts.append("\n".join([*schedule.ends, *(["", *schedule.stacks] if schedule.stacks else [])]))
    return "\n".join(parts)


def remarks_text(replayed: Replayed) -> str:
    """What stopped a replay, and what the engines said; empty for nothing."""
    failure = replayed.schedule.failure
    parts = [f"\nstopped: {failure.text} {failure.where}"] if failure is not None else []
    if replayed.remarks:
        parts.append("\n" + "\n".join(replayed.remarks))
    return "\n".join(parts)


def outcomes_as_json(verification: Verification) -> list[dict[str, Any]]:
    """The searches for another program."""
    return [_as_json(outcome, seconds) for outcome, seconds in verification.searches]


def _property_json(row: PropertyStanding) -> dict[str, Any]:
    """What the searches of a configuration say of a property."""
    assert row.property is not None
    found: dict[str, Any] = {"standing": str(row.standing)}
    if row.property.premise:
        found["times"] = row.times
    if row.findings:
        found["findings"] = list(row.findings)
    return found


def _as_json(outcome: Outcome, seconds: float) -> dict[str, Any]:
    failure = outcome.failure
    return {
        "configuration": to_text(outcome.config), "name": outcome.config.name, "patches": list(outcome.config.patches),
        "verdict": verdict_text(outcome), "why": why_text(outcome), "states": outcome.states, "transitions": outcome.transitions,
        "depth": outcome.depth, "terminal_states": outcome.terminals, "frontier": outcome.frontier,
        "seconds": round(seconds, 3), "bytes": outcome.bytes_used,
        "violated": None if failure is None else {"property": failure.name, "text": failure.text, "where": failure.where},
        "schedule": None if outcome.failure is None else encode(outcome.actions, outcome.repeats),
        **({} if outcome.swarm is None else {"swarm": asdict(outcome.swarm)}),
        "repeats": outcome.repeats, "changes": list(outcome.changes),
        "known": [{"finding": k.finding, "property": k.property, "schedule": encode(list(k.actions), k.repeats)}
                  for k in outcome.known],
        "properties": {r.property.name: _property_json(r) for r in Verification([(outcome, seconds)]).properties() if r.property},
    }  # fmt: skip


def export_text(written: Export) -> str:
    """What was written for SPIN, and what SPIN should find."""
    holds = written.verdict is Verdict.HOLDS
    expected = f"; SPIN should store {written.spin_states:,} states" if holds else ""
    verdict = exhausted(0.0) if holds else str(written.verdict)
    return (
        f"{written.promela}, {written.code}: {written.vector_bytes:,} bytes a state\n"
        f"softnet: {verdict}, {written.states:,} states, {written.transitions:,} transitions{expected}"
    )
