# SPDX-License-Identifier: GPL-2.0-or-later
"""Each property is said once: the tables of the documents are those of softnet.properties."""

from __future__ import annotations

from pathlib import Path

from softnet.properties import numbers
from softnet.properties.findings import FINDINGS, KNOWN, Finding
from softnet.properties.statements import CHAIN, INVARIANTS, PROPERTIES, Invariant, Property, explained_by, in_order
from softnet.simulate.invariants import ROWS

DOCS = Path(__file__).parents[2] / "docs"


def table(document: str, head: str) -> list[str]:
    """The rows of the table below such a head."""
    lines = (DOCS / document).read_text().splitlines()
    start = lines.index(head) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append(line)
    return rows


def invariant_row(row: Invariant) -> str:
    return f"| {row.number} | {row.sentence} | {row.looked_at} |"


def property_row(row: Property) -> str:
    return f"| {row.invariants} | *{row.name}* | {row.where} | {row.premise} |".replace("|  |", "| |")


def finding_row(row: Finding) -> str:
    seen = ", ".join(row.seen) if row.seen else "in the model only"
    properties = ", ".join(f"*{name}*" for name in row.properties)
    return f"| {row.number} | {row.sentence} | {row.told} | {properties} | {seen} | {row.fix or 'none'} |"


def test_the_invariants_of_the_document() -> None:
    assert table("invariants.md", "| | What must hold | Looked at |") == [invariant_row(row) for row in INVARIANTS.values()]


def test_the_findings_of_the_document() -> None:
    text = (DOCS / "invariants.md").read_text()
    listed = [line for line in text.splitlines() if line.startswith("- **")]
    assert listed == [f"- **{number}**: {sentence}." for number, sentence in KNOWN.items()]
    head = "| | finding | kernels | breaks | seen on a real kernel | mended by |"
    assert table("findings.md", head) == [finding_row(finding) for finding in FINDINGS.values()]


def test_the_properties_of_the_document() -> None:
    rows = table("verify.md", "| | property | where it is checked | is about |")
    order = sorted(PROPERTIES.values(), key=lambda p: (p.invariants[:1] or "Z", int(p.invariants[1:] or 0)))
    assert rows == [property_row(row) for row in order]


def test_every_property_has_a_number_a_time_and_something_that_it_is_about() -> None:
    constants = {value for name, value in vars(numbers).items() if name.startswith("VX_")}
    assert set(PROPERTIES) == constants
    assert max(constants) < 40
    for row in PROPERTIES.values():
        assert row.when in ("state", "end", "any", "search", "ever"), row
        assert row.text
        assert row.where, row


def test_the_chain_has_every_property_of_the_end_once() -> None:
    links = [number for link in CHAIN for number in link]
    assert sorted(links) == sorted(number for number, row in PROPERTIES.items() if row.when == "end")


def test_a_broken_link_comes_before_what_it_explains() -> None:
    mask = 1 << numbers.VX_LOST_KICK | 1 << numbers.VX_DEADLOCK | 1 << 40 | 1 << numbers.VX_TWO_OWNERS
    assert in_order(mask) == [numbers.VX_TWO_OWNERS, numbers.VX_DEADLOCK, numbers.VX_LOST_KICK, 40]
    assert numbers.VX_BACKLOG_STUCK in explained_by(numbers.VX_PENDING_SOFTIRQ)
    assert numbers.VX_PENDING_SOFTIRQ not in explained_by(numbers.VX_BACKLOG_STUCK)
    assert explained_by(numbers.VX_WARN) == frozenset()


def test_findings_name_invariants_and_properties_that_there_are() -> None:
    names = {row.name for row in PROPERTIES.values()}
    for number, finding in FINDINGS.items():
        assert finding.number == number
        assert set(finding.properties) <= names
        assert set(finding.invariants) <= set(INVARIANTS)
        assert set(finding.seen) <= set(finding.kernels), number
    assert {known for _, known in ROWS.values() if known} == set(KNOWN)
