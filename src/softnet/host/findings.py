# SPDX-License-Identifier: GPL-2.0-or-later
"""What a rule says of a machine: a finding, with its evidence, what to change and how sure it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

Level = Literal["wrong", "risk", "note"]
LEVELS: Final[tuple[Level, ...]] = ("wrong", "risk", "note")
"""wrong: packets are lost or a setting does not do what it is for; risk: it will be, under load; note: worth knowing."""
Sure = Literal["certain", "likely", "possible"]


@dataclass(frozen=True)
class Evidence:
    """A fact: the file or command that it stands in, and what it says."""

    source: str
    text: str


@dataclass(frozen=True)
class Change:
    """What to do: the exact command, how to undo it, and what it is for."""

    do: str
    undo: str = ""
    why: str = ""
    sets: tuple[tuple[str, int | tuple[int, ...]], ...] = ()
    """The same in a scenario: keys and values, CPUs by the machine's numbers. Empty where a scenario has no such thing."""


@dataclass(frozen=True)
class Finding:
    """One answer of the doctor."""

    id: str
    level: Level
    title: str
    meaning: str
    evidence: tuple[Evidence, ...]
    sure: Sure
    because: str
    changes: tuple[Change, ...] = ()
    weight: float = 0.0
    """Orders findings of one level: packets a second, where packets are concerned."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Diagnosis:
    """All findings, ranked, and what they are built on."""

    findings: tuple[Finding, ...]
    machine: str
    """One line: what kind of machine."""
    looked_at: tuple[str, ...]
    """Files and commands."""
    window: str
    """Over which time counters were compared."""
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"schema": "softnet-host-doctor/1", **asdict(self)}
