# SPDX-License-Identifier: GPL-2.0-or-later
"""Property x mutation: each mutation is found by the property of its row; where the row says so, by no other one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.long import long_only, sample
from tests.verify.matrix import PATCHED, Row, rows, seen_by
from tests.verify.mutations import EXAMPLES, MUTATIONS, NOT_SEEN, patch

from softnet.lang.native.compile import available
from softnet.properties.numbers import VX_DATA_RACE
from softnet.properties.statements import PROPERTIES, explained_by
from softnet.verify.model import known_properties
from softnet.verify.replay.agreement import PairedReplay
from softnet.verify.replay.reference import watched
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.standard import from_text

TABLE = Path(__file__).parents[2] / "evidence" / "verify" / "mutations.csv"
DOCUMENT = Path(__file__).parents[2] / "docs" / "verify-evidence.md"
SMALL = Limits(states=2_000_000, memory_bytes=512 << 20)
native = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]


def found(outcome: Outcome) -> str:
    """The violated property, or nothing."""
    return outcome.failure.name if outcome.failure is not None else ""


def violated_in_both_engines(outcome: Outcome) -> set[str]:
    """What plain Python finds violated on the counterexample's way, with memory as the search's code has it at every step."""
    pair = PairedReplay(outcome.config, log=False)
    schedule, said = watched(pair.reference, pair, outcome.actions, outcome.repeats, None)
    stopped = {schedule.failure.name} if schedule.failure is not None else set()
    return stopped | {line.split(": ")[1] for line in said if line.startswith("violated")}


ALONE = [row for row in rows() if row.alone]
FIRST = list({row.property: row for row in reversed(rows())}.values())
SEEN = [row for at, row in enumerate(rows()) if at % 5 == 0 or row in FIRST]
"""Of each property the first row, and every fifth of all."""


def name_of(row: Row) -> str:
    """A test's name."""
    return f"{row.property}-{row.mutation}".replace(" ", "_")


class TestMatrix:
    """One search for each row and property."""

    pytestmark = native

    @pytest.mark.parametrize("row", sample(rows(), SEEN), ids=name_of)
    def test_the_property_sees_the_mutation_in_both_engines(self, row: Row) -> None:
        outcome = search(replace(row.config(), properties=(row.property,)), SMALL)
        assert found(outcome) == row.property
        # The order of locks is asked of the whole search: one way through it may take them in one of the two orders only.
        if outcome.config.memory_model == "sc" and row.property != "lock order":
            assert row.property in violated_in_both_engines(outcome)

    @pytest.mark.parametrize("row", sample(ALONE, ALONE[::8]), ids=name_of)
    def test_no_other_property_does(self, row: Row) -> None:
        # What follows from it is broken in the same state: no packet is polled where no softirq runs. Races are another question: a
        # call that is queued twice is stored to twice.
        config = row.config()
        number = next(n for n, p in PROPERTIES.items() if p.name == row.property)
        follows = explained_by(number) | {VX_DATA_RACE}
        others = tuple(p.name for n, p in known_properties(config).items() if n != number and n not in follows)
        assert found(search(replace(config, properties=others), SMALL)) == ""

    @long_only
    def test_the_dead_cpus_queue_without_its_lock_is_as_safe_as_with_it(self) -> None:
        # stop_machine() has waited for whoever queues there; what the shipped function breaks (C5) is the same.
        patched = from_text(PATCHED, (patch("dead_queue_unlocked", "6.12"),))
        assert seen_by(patched, SMALL) == seen_by(from_text(PATCHED), SMALL) == ["phantom SCHED"]

    def test_with_the_dead_cpus_list_flushed_nothing_is_stranded(self) -> None:
        row = next(row for row in rows() if row.property == "stranded")
        fixed = from_text(row.configuration, (str(EXAMPLES / "flush_when_dead.py"),))
        assert seen_by(fixed, SMALL) == []
        assert seen_by(from_text(row.configuration), SMALL) == ["stranded"]


def test_every_property_has_two_mutations_that_only_it_sees() -> None:
    count = Counter(row.property for row in rows() if row.alone)
    assert set(count) == {p.name for p in PROPERTIES.values()}
    assert min(count.values()) >= 2


def test_the_evidence_has_the_table_and_the_document_counts_it() -> None:
    assert TABLE.read_text().splitlines() == ["property,mutation,configuration,seen by it only", *(row.line() for row in rows())]
    text = DOCUMENT.read_text()
    assert f"\n{len(rows())} rows: " in text
    assert f" In {len(ALONE)} rows no other\n" in text


def test_every_mutation_is_in_the_table_or_said_to_be_seen_by_no_property() -> None:
    named = {row.mutation for row in rows()}
    assert set(MUTATIONS) - named == set(NOT_SEEN)
    assert all((EXAMPLES / f"{name}.py").exists() for name in named - set(MUTATIONS))
