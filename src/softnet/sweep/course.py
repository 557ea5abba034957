# SPDX-License-Identifier: GPL-2.0-or-later
"""The course of an experiment: which runs are made next, and when there are enough.

All that is asked for at once; or more seeds while an interval is too wide; or, in a race, a seed more only for those that may
still be the best; or, in a search, the combinations that those before them suggest. None of it depends on who makes the runs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from softnet.errors import SoftnetError
from softnet.sweep import design
from softnet.sweep.analysis import SEEDS_MIN, figures_of, hopeless, narrow_enough
from softnet.sweep.statistics import interval
from softnet.sweep.store import Finished, Journal

if TYPE_CHECKING:
    from softnet.sweep.design import Point
    from softnet.sweep.measures import Measure
    from softnet.sweep.plan import Planned, SweepArm
    from softnet.sweep.search import Score

Progress = Callable[[int, int, int], None]
"""Called with (runs done, runs in all, runs that were there already)."""

LOOKS_MAX: Final = 20
"""How often a race looks at most who is hopeless: each look costs all of them some power."""


class Runner(Protocol):
    """What makes runs; a context, which ends what it started."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *_: object) -> None: ...

    def run(self, jobs: Sequence[tuple[SweepArm, int]]) -> Iterator[tuple[int, Finished | SoftnetError]]:
        """What came of each job, with its number, in the order in which they end."""
        ...


@dataclass
class Swept:
    """An experiment that has run, or was interrupted."""

    planned: Planned
    seeds: tuple[int, ...]
    finished: int = 0
    """Runs in the results."""
    reused: int = 0
    lost: list[tuple[SweepArm, int, str]] = field(default_factory=list)
    """Runs whose processes died twice: arm, seed, how. They are not kept, and are tried anew the next time."""
    partial: bool = False
    until_missed: bool = False
    """The seeds ended before the intervals were as narrow as asked."""
    dropped: dict[int, int] = field(default_factory=dict)
    """In a race: an arm's number -> after how many seeds it was given no more."""
    unfit: int = 0
    """In a search: combinations of which the scenario says that their settings do not fit together."""


class Course:
    """Runs an experiment, from what its journal has to its end."""

    def __init__(self, swept: Swept, journal: Journal, runner: Runner, progress: Progress | None) -> None:
        self.swept = swept
        self.journal = journal
        self.runner = runner
        self.progress = progress
        self._done = self._there = 0

    def go(self) -> None:
        """Run it. Raises KeyboardInterrupt with what is finished kept."""
        planned = self.swept.planned
        if planned.asked.experiment.design == design.SEARCH:
            self._search()
        elif planned.asked.experiment.race:
            self._race()
        else:
            self._seeds()

    def _seeds(self) -> None:
        """The seeds that were asked for, and more while an interval is too wide."""
        swept, planned = self.swept, self.swept.planned
        while True:
            self._done = self._there = 0
            self._run(planned.arms, swept.seeds, len(planned.arms) * len(swept.seeds))
            if planned.until is None or narrow_enough(planned, swept.seeds, self.journal):
                return
            if len(swept.seeds) >= len(planned.max_seeds):
                swept.until_missed = True
                return
            more = len(swept.seeds) + max(len(swept.seeds) // 2, 1)
            swept.seeds = planned.max_seeds[: min(more, len(planned.max_seeds))]

    def _race(self) -> None:
        """Some seeds for all, then one after the other for those that are not surely worse than the best."""
        swept, planned = self.swept, self.swept.planned
        measure = planned.shown[0]
        alive, seeds, left = list(planned.arms), swept.seeds, len(planned.arms) * len(swept.seeds)
        step = -(-max(len(seeds) - SEEDS_MIN, 1) // LOOKS_MAX)
        counts = [*range(min(SEEDS_MIN, len(seeds)), len(seeds), step), len(seeds)]
        before = 0
        for count in counts:
            self._run(alive, seeds[before:count], left)
            before = count
            if count == len(seeds):
                return
            at = planned.measures.index(measure)
            figures = [figures_of(arm, seeds[:count], self.journal, at) for arm in alive]
            for index in hopeless(figures, -1 if measure.better == "higher" else 1, len(counts) - 1):
                swept.dropped[alive[index].number] = count
                left -= len(seeds) - count
            alive = [arm for arm in alive if arm.number not in swept.dropped]

    def _search(self) -> None:
        """The combinations that a search proposes."""
        from softnet.sweep.search import Search

        planned, runs = self.swept.planned, self.swept.planned.asked.experiment.runs
        assert runs is not None
        Search(planned.factors, runs).go(planned.arms[0].levels, lambda points: self._tried(points, runs + 1))

    def _tried(self, points: Sequence[Point], most: int) -> list[Score]:
        """Run combinations that are new, and say what each came to."""
        swept = self.swept
        arms: list[SweepArm | None] = []
        for point in points:
            if point == swept.planned.arms[0].levels:
                arms.append(swept.planned.arms[0])
                continue
            try:
                arm = swept.planned.resolver.arm(len(swept.planned.arms), point)
            except SoftnetError:  # each level alone fits: these do not fit together
                swept.unfit += 1
                arms.append(None)
                continue
            arms.append(arm)
            swept.planned = dataclasses.replace(swept.planned, arms=(*swept.planned.arms, arm))
        self._run([arm for arm in arms if arm is not None], swept.seeds, most * len(swept.seeds))
        return [self._score(arm) for arm in arms]

    def _score(self, arm: SweepArm | None) -> Score:
        from softnet.sweep.search import Score

        planned = self.swept.planned
        assert planned.goal is not None
        if arm is None:
            return Score(math.nan, ())
        found = [self.journal.get(arm.run_id(seed)) for seed in self.swept.seeds]
        if any(run is None or run.failed for run in found):
            return Score(math.nan, ())
        named = {measure.name: measure for measure in planned.measures}
        excess = tuple(limit.excess(self._mean(arm, named[limit.measure])) for limit in planned.limits)
        return Score(planned.goal.sign * self._mean(arm, planned.goal.measure), excess)

    def _mean(self, arm: SweepArm, measure: Measure) -> float:
        figures = figures_of(arm, self.swept.seeds, self.journal, self.swept.planned.measures.index(measure))
        return interval(figures[figures == figures]).mean

    def _run(self, arms: Sequence[SweepArm], seeds: Sequence[int], total: int) -> None:
        """Run what is not in the journal. Equal runs of several arms run once."""
        # Arm by arm: a process boots an arm once and runs it with one seed after the other.
        missing: dict[str, tuple[SweepArm, int]] = {}
        for arm in arms:
            for seed in seeds:
                run_id = arm.run_id(seed)
                if run_id not in self.journal:
                    missing.setdefault(run_id, (arm, seed))
        ids = list(missing)
        there = len(arms) * len(seeds) - len(ids)
        self._there += there
        self._done += there
        self._tell(total)
        for number, found in self.runner.run(list(missing.values())):
            if isinstance(found, SoftnetError):
                self.swept.lost.append((*missing[ids[number]], found.found))
            else:
                self.journal.add(ids[number], found)
            self._done += 1
            self._tell(total)

    def _tell(self, total: int) -> None:
        if self.progress is not None:
            self.progress(self._done, total, self._there)
