# SPDX-License-Identifier: GPL-2.0-or-later
"""Many searches, one after the other or several at once, each in a process of its own. The outcomes are the same.

The one module of this package that reads a clock: a search may be given so many seconds, and says how many it took. What a search
finds does not depend on it; a search without the time to finish is inconclusive.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from softnet.processes import Workers, asked_to_stop
from softnet.verify.known import search_past_known
from softnet.verify.model import shared_code
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.verdict import Verdict, Why

if TYPE_CHECKING:
    from softnet.verify.model import Config

Found = tuple[Outcome, float]
"""An outcome, and how many seconds it took."""
Searches = Generator[Found, None, None]
"""Outcomes in the order of the configurations, each with its seconds; close() stops the searches that still run."""


SECONDS: Final = 60.0
"""What one search may take, or all of the small ones together, unless told otherwise."""


@dataclass(frozen=True)
class Progress:
    """How far a search is."""

    config: Config
    seconds: float
    states: int
    transitions: int
    frontier: int
    """States that wait to be expanded."""


LARGEST_SHARE: Final = 8
"""Of what is left of the time that searches share, one takes this part at most, or as much as each would have."""


@dataclass(frozen=True)
class Time:
    """What a search may take: ``each``, or a share of what is left of the time that all have together.

    Most small searches end at once, so a larger one may have an eighth of what is left, and more where few are left: ``left``
    searches, this one with them, share what is left until ``ends_at`` on ``jobs`` CPUs.
    """

    each: float
    ends_at: float | None = None
    left: int = 1
    jobs: int = 1

    def seconds(self) -> float:
        """What a search that begins now may take."""
        if self.ends_at is None:
            return self.each
        share = max(min(self.jobs, self.left) / self.left, 1 / LARGEST_SHARE)
        return max(self.ends_at - time.monotonic(), 0.0) * share

    def later(self, searches: int) -> Time:
        """For the search that comes so many behind this one."""
        return replace(self, left=self.left - searches)

    def sent(self) -> Time:
        """As another machine can read it, whose clock has nothing to do with this one's: ``ends_at`` counts from now."""
        return self if self.ends_at is None else replace(self, ends_at=self.ends_at - time.monotonic())

    def received(self) -> Time:
        """There: by its own clock."""
        return self if self.ends_at is None else replace(self, ends_at=self.ends_at + time.monotonic())


def _time(configs: Sequence[Config], max_seconds: float, together: float | None, jobs: int = 1) -> Time:
    """For the first of these searches."""
    return Time(max_seconds, None if together is None else time.monotonic() + together, len(configs), jobs)


def each(limits: Limits | Sequence[Limits], searches: int) -> Sequence[Limits]:
    """The limits of each search, where one is given for all."""
    return [limits] * searches if isinstance(limits, Limits) else limits


def search_in_turn(
    configs: Sequence[Config],
    limits: Limits | Sequence[Limits],
    max_seconds: float,
    report: Callable[[Progress], None] | None = None,
    *,
    together: float | None = None,
    save: Path | None = None,
    resume: Path | None = None,
    strict: bool = False,
) -> Searches:
    """One search after the other, past what is known of the shipped kernel unless ``strict``.

    ``report`` is called between the slices of each. Limits are each search's own, but for the seconds that all have ``together``.
    """
    first = _time(configs, max_seconds, together)
    for number, (config, bounds) in enumerate(zip(configs, each(limits, len(configs)), strict=True)):
        begin = time.monotonic()

        def goes_on(
            states: int, transitions: int, frontier: int, config: Config = config, begin: float = begin,
            allowed: float = first.later(number).seconds(),
        ) -> bool:  # fmt: skip
            seconds = time.monotonic() - begin
            if report is not None:
                report(Progress(config, seconds, states, transitions, frontier))
            return seconds < allowed

        outcome = (search if strict else search_past_known)(config, bounds, goes_on, save=save, resume=resume)
        yield outcome, time.monotonic() - begin


STOP_SECONDS = 0.4
"""How long a search that is asked to stop may take to say how far it came."""


@dataclass(frozen=True)
class Work:
    """What one process gets: searches one after the other, up to a violation."""

    configs: tuple[Config, ...]
    limits: Limits
    time: Time
    """Of the first."""
    strict: bool


def work_of(
    configs: Sequence[Config],
    limits: Limits | Sequence[Limits],
    max_seconds: float,
    together: float | None,
    strict: bool,
    *,
    jobs: int,
) -> list[Work]:
    """Each search for itself; those that share time and code are one process's, with the limits of the first."""
    groups = [[config] for config in configs]
    if together is not None:
        groups = [list(group) for _, group in itertools.groupby(configs, shared_code)]
    first = _time(configs, max_seconds, together, jobs)
    begins = itertools.accumulate((len(group) for group in groups), initial=0)
    own = each(limits, len(configs))
    return [Work(tuple(group), own[begin], first.later(begin), strict) for group, begin in zip(groups, begins, strict=False)]


def several(work: Work, stopped: Callable[[], bool]) -> Searches:
    """The outcomes of the searches, up to a violation; ``stopped`` says whether nobody wants more."""
    for number, config in enumerate(work.configs):
        begin = time.monotonic()

        def goes_on(*figures: int, begin: float = begin, allowed: float = work.time.later(number).seconds()) -> bool:
            return time.monotonic() - begin < allowed and not stopped()

        if work.strict:
            outcome = search(config, work.limits, goes_on)
        else:
            outcome = search_past_known(config, work.limits, goes_on, stopped=stopped)
        yield outcome, time.monotonic() - begin
        if outcome.failure is not None or stopped():
            return


def _several(work: Work) -> list[Found]:
    """In a process of this machine."""
    return list(several(work, asked_to_stop))


def search_all(
    configs: Sequence[Config],
    limits: Limits | Sequence[Limits],
    max_seconds: float,
    jobs: int,
    *,
    together: float | None = None,
    strict: bool = False,
) -> Searches:
    """``jobs`` searches at once.

    Limits are each search's own, but for the seconds that all have ``together``: then those that share code are one process's, one
    after the other. After Ctrl-C the outcome that is waited for is inconclusive, as interrupted, and the last.
    """
    works = work_of(configs, limits, max_seconds, together, strict, jobs=jobs)
    with Workers(min(jobs, len(works))) as workers:
        results = workers.results(_several, [(work,) for work in works])
        for number, work in enumerate(works):
            begin = time.monotonic()
            try:
                found = next(results)
            except KeyboardInterrupt:
                told: list[Found | None] = workers.last(number, STOP_SECONDS) or []
                yield from stopped_outcomes(work.configs, work.limits, told, time.monotonic() - begin)
                return
            yield from found


def stopped_outcomes(configs: Sequence[Config], limits: Limits, told: Sequence[Found | None], seconds: float = 0.0) -> Searches:
    """After Ctrl-C: what searches said that came one after the other, the last as interrupted; if none said anything, the first."""
    said = [found for found in itertools.takewhile(lambda found: found is not None, told) if found is not None]
    yield from said[:-1]
    if said:
        yield _interrupted(configs[len(said) - 1], limits, said[-1][0]), said[-1][1]
    else:
        yield _interrupted(configs[0], limits, None), seconds


def _interrupted(config: Config, limits: Limits, outcome: Outcome | None) -> Outcome:
    """The outcome of a search that was asked to stop: what it says, or where it said nothing, that it was stopped."""
    if outcome is None:
        return Outcome(config, Verdict.INCONCLUSIVE, Why.INTERRUPTED, 0, 0, 0, 0, 0, storage=limits.storage)
    return replace(outcome, why=Why.INTERRUPTED) if outcome.why is Why.TIME_LIMIT else outcome
