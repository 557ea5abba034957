# SPDX-License-Identifier: GPL-2.0-or-later
"""Falsify a recorded trace in one event, and say what the checker makes of it: what it is worth that it accepts the true ones.

An event is removed, doubled, or moved to another CPU. bench/falsifications.py does it to all traces and prints the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from softnet.errors import SoftnetError
from softnet.lab.tracing.records import LabRecord, LabTrace
from softnet.lab.validate.checker import Checker, check, driver_of
from softnet.lab.validate.grammar import ungrammatical
from softnet.lab.validate.states import State
from softnet.lab.validate.verdict import TraceVerdict

WAYS = ("removed", "doubled", "moved")
REFUSED, GAP, ACCEPTED = "refused", "gap", "accepted"
"""Refused; accepted, but the verdict says that something is missing or follows less; accepted as if nothing were wrong."""


class _Noting(Checker):
    """A checker that notes which events it followed."""

    followed: list[bool]

    def event(self, at: int) -> list[State] | None:
        states = super().event(at)
        self.followed[at] = states is not None
        return states


def followed(trace: LabTrace) -> list[bool]:
    """Of each record of a trace, whether the checker holds it against the model."""
    checker = _Noting(trace, driver_of(trace))
    checker.followed = [False] * len(trace.records)
    assert checker.run("", "").accepted
    return checker.followed


@dataclass(frozen=True)
class Falsification:
    """One event of a trace made false: the record at ``at`` is removed, doubled, or moved to the next CPU."""

    at: int
    way: str

    def of(self, trace: LabTrace) -> LabTrace:
        """The trace with it."""
        records = list(trace.records)
        record = records[self.at]
        if self.way == "removed":
            del records[self.at]
        elif self.way == "doubled":
            records.insert(self.at, record)
        else:
            records[self.at] = moved(record, trace.header["cpus"])
        return LabTrace(trace.header, records)


def moved(record: LabRecord, cpus: int) -> LabRecord:
    """The same on the next CPU. What names its own CPU names the new one, as the kernel would have."""
    cpu = (record.cpu + 1) % cpus
    own = record.event in ("trigger_rx_softirq", "rps_trigger_softirq")
    return replace(record, cpu=cpu, a=cpu if own else record.a)


def chosen(trace: LabTrace, each: int) -> Iterator[Falsification]:
    """``each`` events of every kind, evenly from the trace, in every way."""
    places: dict[str, list[int]] = {}
    for at, record in enumerate(trace.records):
        places.setdefault(record.event, []).append(at)
    for event in sorted(places):
        found = places[event]
        many = min(each, len(found))
        for number in range(many):
            for way in WAYS:
                yield Falsification(found[len(found) * (2 * number + 1) // (2 * many)], way)


def outcome(trace: LabTrace, true: TraceVerdict, one: Falsification) -> str:
    """What the checker makes of it; ``true`` is its verdict of the trace as it was recorded."""
    false = one.of(trace)
    # The checker refuses these at that event, or at one before it: no model is needed to know.
    if ungrammatical(false):
        return REFUSED
    try:
        verdict = check(false)
    except SoftnetError:
        return REFUSED
    if not verdict.accepted:
        return REFUSED
    less = sum(verdict.missed.values()) > sum(true.missed.values())
    less = less or sum(verdict.not_checked.values()) > sum(true.not_checked.values()) + (one.way == "doubled")
    return GAP if less else ACCEPTED
