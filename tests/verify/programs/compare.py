# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet's searches of a program, reduced and not, and the other explorer's, held against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.verify.programs.explore import Explorer, Program, Shape
from tests.verify.programs.generate import program
from tests.verify.programs.native import MODES, Found, Search


@dataclass
class Comparison:
    """What came of a number of programs."""

    states_max: int
    """Of the other explorer's, for a program; one that has more is not counted."""
    modes: tuple[str, ...] = tuple(MODES)
    searches: dict[tuple[Shape, str], Search] = field(default_factory=dict)
    compared: int = 0
    too_large: int = 0
    states: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    disagreements: dict[int, list[str]] = field(default_factory=dict)

    def seeds(self, seeds: Iterable[int]) -> None:
        """Compare the programs of these seeds."""
        for seed in seeds:
            self.seed(seed)

    def seed(self, seed: int) -> None:
        """Compare one."""
        written = program(seed)
        other = Explorer(written)
        if not other.explore(self.states_max):
            self.too_large += 1
            return
        self.compared += 1
        self.states["other"] += other.states
        self.verdicts.update(other.violations or {"holds"})
        found = {mode: self.searched(written, mode) for mode in self.modes}
        wrong = differences(other, found)
        if wrong:
            self.disagreements[seed] = wrong

    def searched(self, written: Program, mode: str) -> Found:
        """What softnet finds."""
        key = written.shape, mode
        if key not in self.searches:
            self.searches[key] = Search(*key)
        found = self.searches[key].run(written)
        self.states[mode] += found.states
        return found

    def __str__(self) -> str:
        states = ", ".join(f"{mode} {n:,}" for mode, n in self.states.items())
        verdicts = ", ".join(f"{n} {name}" for name, n in self.verdicts.most_common())
        return (
            f"{self.compared} programs compared, {self.too_large} too large, {len(self.disagreements)} disagree\n"
            f"states: {states}\nverdicts: {verdicts}"
        )


def differences(other: Explorer, found: dict[str, Found]) -> list[str]:
    """In what the searches differ from the other explorer, and from each other."""
    wrong = []
    whole = found["unreduced"]
    for mode, one in found.items():
        if one.inconclusive:
            wrong.append(f"{mode}: not finished")
        elif bool(one.violation) != bool(other.violations):
            wrong.append(f"{mode}: {one.violation or 'holds'}, but {sorted(other.violations) or 'holds'}")
        elif one.violation not in {"", "by chance", *other.violations}:
            wrong.append(f"{mode}: {one.violation}, but {sorted(other.violations)}")
        elif not one.violation and one.notes != other.ends:
            lacks, more = sorted(other.ends - one.notes), sorted(one.notes - other.ends)
            wrong.append(f"{mode}: lacks the ends {lacks[:2]}, has {more[:2]} of its own")
        elif not one.violation and one.ends != whole.ends:
            wrong.append(f"{mode}: {len(one.ends)} ends, unreduced {len(whole.ends)}")
    return wrong
