# SPDX-License-Identifier: GPL-2.0-or-later
"""A search: which combination is tried next, from what those before it came to.

Optuna's TPE proposes combinations where the good ones were; beside it those are tried that a surface through all figures so far
promises to be the best (softnet.sweep.surface), or, where there is none yet, the neighbours of the best one. Proposals come in
rounds of four, whatever the number of processes, and from a fixed seed: the same experiment tries the same combinations.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from softnet.errors import SoftnetError
from softnet.sweep.design import DESIGN_SEED, LHS, Point, unit_cube
from softnet.sweep.factors import Factor, level_value
from softnet.sweep.surface import best_first, simplex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROUND: Final = 4
"""Combinations that are tried at the same time."""
PROMISED: Final = 3
"""Of them, those that the surface promises to be the best."""
SURFACE_MAX: Final = 500
"""Combinations that the surface goes through, the best ones: its time grows with their cube."""
CANDIDATES_MAX: Final = 4096
"""Combinations that the surface is asked about."""
FIRST: Final = 8
"""Combinations that spread over all before any is preferred."""
ASKED_MAX: Final = 40
"""Rounds without a new combination, after which there is none."""
STEPS: Final = (0.125, 0.03)
"""Of a range, as parts of the whole way."""


class Score(NamedTuple):
    """What a combination came to: how far it breaks each limit, and its figure, of which less is better; NaN if it failed."""

    value: float
    excess: tuple[float, ...]

    @property
    def rank(self) -> tuple[float, float]:
        """Less is better: what keeps the limits first, then the figure."""
        beyond = sum(max(excess, 0.0) for excess in self.excess)
        if math.isnan(self.value):
            return math.inf, math.inf
        return (beyond, 0.0) if beyond > 0 else (0.0, self.value)


class _Axis:
    """A factor as the search sees it: a number of level, of which neighbours are alike or not, or a part of a range's way."""

    def __init__(self, factor: Factor) -> None:
        self.factor = factor
        self.name = factor.column
        values = [level_value(level) for level in factor.levels]
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        self.ordered = len(numbers) == len(values) and numbers in (sorted(numbers), sorted(numbers, reverse=True))

    def suggest(self, trial: Any) -> float:
        """Where on this axis a trial is."""
        if self.factor.range is not None:
            return float(trial.suggest_float(self.name, 0.0, 1 - 1e-9))
        count = len(self.factor.levels)
        if self.ordered:
            return float(trial.suggest_int(self.name, 0, count - 1))
        return float(trial.suggest_categorical(self.name, list(range(count))))

    def level(self, at: float) -> str:
        """The level there."""
        return self.factor.range.at(at) if self.factor.range is not None else self.factor.levels[int(at)]

    def near(self, at: float) -> list[float]:
        """The places a step away."""
        if self.factor.range is not None:
            return [place for step in STEPS for place in (at - step, at + step) if 0 <= place < 1]
        if self.ordered:
            return [place for place in (at - 1, at + 1) if 0 <= place < len(self.factor.levels)]
        return [float(place) for place in range(len(self.factor.levels)) if place != at]

    def coordinates(self) -> NDArray[np.float64] | None:
        """Of each level, where it is for a surface, a row each; None for a range, whose place is itself."""
        import numpy as np

        count = len(self.factor.levels)
        if self.factor.range is not None:
            return None
        return np.arange(count).reshape(-1, 1) / max(count - 1, 1) if self.ordered else simplex(count)

    def parameter(self, at: float) -> float | int:
        """The place as Optuna takes it."""
        return at if self.factor.range is not None else int(at)


def needed_optuna() -> Any:
    """Optuna, which says nothing by itself. Raises SoftnetError where it is missing."""
    try:
        import optuna
    except ImportError:
        raise SoftnetError("a search needs one more library", found="no module optuna", expected="the extra 'search'",
                           hint="pip install 'softnet[search]'")  from None  # fmt: skip
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Search:
    """Proposes combinations until so many were tried that are not the base, or there are no more."""

    def __init__(self, factors: Sequence[Factor], runs: int) -> None:
        optuna = needed_optuna()
        self.axes = [_Axis(factor) for factor in factors]
        self.runs = runs
        first = min(FIRST, max(runs // 2, 1))
        self._first = first
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that something is experimental is nothing that a user can act on
            sampler = optuna.samplers.TPESampler(seed=DESIGN_SEED, n_startup_trials=first, multivariate=True, n_ei_candidates=64)
        self._study = optuna.create_study(direction="minimize", sampler=sampler)
        self._fail = optuna.trial.TrialState.FAIL
        self._scores: dict[Point, Score] = {}
        self._places: dict[Point, tuple[float, ...]] = {}

    def go(self, base: Point, tried: Callable[[Sequence[Point]], Sequence[Score]]) -> None:
        """Search. ``tried`` runs combinations that are new and says what each came to; the first call is for the base."""
        self._study.enqueue_trial({axis.name: axis.parameter(self._place_of(axis, level))
                                   for axis, level in zip(self.axes, base, strict=True)})  # fmt: skip
        self._round([self._study.ask()], tried, len(self._scores) + 1)
        idle = 0
        while len(self._scores) <= self.runs and idle < ASKED_MAX:
            before = len(self._scores)
            for place in self._promised() or self._neighbours():
                named = {axis.name: axis.parameter(at) for axis, at in zip(self.axes, place, strict=True)}
                self._study.enqueue_trial(named)
            self._round([self._study.ask() for _ in range(ROUND)], tried, self.runs + 1)
            idle = idle + 1 if len(self._scores) == before else 0

    @staticmethod
    def _place_of(axis: _Axis, level: str) -> float:
        return 0.5 if axis.factor.range is not None else float(axis.factor.levels.index(level))

    def _round(self, trials: Sequence[Any], tried: Callable[[Sequence[Point]], Sequence[Score]], most: int) -> None:
        places = [tuple(axis.suggest(trial) for axis in self.axes) for trial in trials]
        points = [tuple(axis.level(at) for axis, at in zip(self.axes, place, strict=True)) for place in places]
        new = [point for point in dict.fromkeys(points) if point not in self._scores][: most - len(self._scores)]
        self._scores.update(zip(new, tried(new) if new else (), strict=True))
        for trial, place, point in zip(trials, places, points, strict=True):
            score = self._scores.get(point)
            if score is None or math.isnan(score.value):
                self._study.tell(trial, state=self._fail)
                continue
            self._places.setdefault(point, place)
            for number, excess in enumerate(score.excess):
                trial.set_constraint(str(number), min(excess, 1e300))
            self._study.tell(trial, score.value)

    def _promised(self) -> list[tuple[float, ...]]:
        """Places that were not tried and should be the best ones, by a surface; none where there is no surface."""
        import numpy as np

        places = self._candidates() if len(self._scores) >= self._first else []
        if not places:
            return []
        axes = [axis.coordinates() for axis in self.axes]

        def scaled(places: Iterable[tuple[float, ...]]) -> NDArray[np.float64]:
            rows = np.array(list(places))
            columns = [rows[:, [at]] if of is None else of[rows[:, at].astype(int)] for at, of in enumerate(axes)]
            return np.concatenate(columns, axis=1)

        tried = sorted(self._places, key=lambda point: self._scores[point].rank)[:SURFACE_MAX]
        scores = [self._scores[point] for point in tried]
        order = best_first(
            scaled(self._places[point] for point in tried), [s.value for s in scores], [s.excess for s in scores], scaled(places)
        )
        return [] if order is None else [places[at] for at in order[:PROMISED]]

    def _candidates(self) -> list[tuple[float, ...]]:
        """Places that were not tried: all of a small grid; else some everywhere, and what is a step or two from the best."""
        sizes = [len(axis.factor.levels) if axis.factor.range is None else 0 for axis in self.axes]
        if 0 < math.prod(sizes) <= CANDIDATES_MAX:
            places: Iterable[tuple[float, ...]] = itertools.product(*(map(float, range(size)) for size in sizes))
        elif self._places:
            draws = unit_cube(len(sizes), LHS, CANDIDATES_MAX // 2)
            spread = (tuple(float(int(x * n)) if n else float(x) for x, n in zip(row, sizes, strict=True)) for row in draws)
            best = self._best()
            near = itertools.chain(self._steps(best, 1), self._steps(best, min(2, len(sizes))))
            places = itertools.chain(itertools.islice(near, CANDIDATES_MAX // 2), spread)
        else:
            places = ()
        found: dict[Point, tuple[float, ...]] = {}
        for place in places:
            point = tuple(axis.level(at) for axis, at in zip(self.axes, place, strict=True))
            if point not in self._scores:
                found.setdefault(point, place)
        return list(found.values())

    def _best(self) -> tuple[float, ...]:
        return self._places[min(self._places, key=lambda point: self._scores[point].rank)]

    def _neighbours(self) -> list[tuple[float, ...]]:
        """Places beside the best one that were not tried; none as long as there are few to be best of."""
        if len(self._scores) < self._first or not self._places:
            return []
        best = self._best()
        found: dict[Point, tuple[float, ...]] = {}
        for place in itertools.chain(self._steps(best, 1), self._steps(best, 2)):
            point = tuple(axis.level(at) for axis, at in zip(self.axes, place, strict=True))
            if point not in self._scores:
                found.setdefault(point, place)
            if len(found) == PROMISED:
                break
        return list(found.values())

    def _steps(self, place: tuple[float, ...], factors: int) -> Iterator[tuple[float, ...]]:
        """The places that are a step away in so many factors; of each choice of factors one after the other."""

        def of(chosen: tuple[int, ...]) -> Iterator[tuple[float, ...]]:
            for steps in itertools.product(*(self.axes[at].near(place[at]) for at in chosen)):
                moved = list(place)
                for at, step in zip(chosen, steps, strict=True):
                    moved[at] = step
                yield tuple(moved)

        in_turn = itertools.zip_longest(*map(of, itertools.combinations(range(len(self.axes)), factors)))
        return (moved for row in in_turn for moved in row if moved is not None)
