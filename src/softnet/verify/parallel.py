# SPDX-License-Identifier: GPL-2.0-or-later
"""Many searches, one after the other or several at once, each in a process of its own. The outcomes are the same.

The one module of this package that reads a clock: a search may be given so many seconds, and says how many it took. What a search
finds does not depend on it; a search without the time to finish is inconclusive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from softnet.processes import Workers, asked_to_stop
from softnet.verify.known import search_past_known
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.verdict import Verdict, Why

if TYPE_CHECKING:
    from softnet.verify.model import Config

Searches = Generator[tuple[Outcome, float], None, None]
"""Outcomes in the order of the configurations, each with its seconds; close() stops the searches that still run."""


@dataclass(frozen=True)
class Progress:
    """How far a search is."""

    config: Config
    seconds: float
    states: int
    transitions: int
    frontier: int
    """States that wait to be expanded."""


def search_in_turn(
    configs: Sequence[Config],
    limits: Limits,
    max_seconds: float,
    report: Callable[[Progress], None] | None = None,
    *,
    save: Path | None = None,
    resume: Path | None = None,
    strict: bool = False,
) -> Searches:
    """One search after the other, past what is known of the shipped kernel unless ``strict``.

    ``report`` is called between the slices of each. Limits are each search's own.
    """
    for config in configs:
        begin = time.monotonic()

        def goes_on(states: int, transitions: int, frontier: int, config: Config = config, begin: float = begin) -> bool:
            seconds = time.monotonic() - begin
            if report is not None:
                report(Progress(config, seconds, states, transitions, frontier))
            return seconds < max_seconds

        outcome = (search if strict else search_past_known)(config, limits, goes_on, save=save, resume=resume)
        yield outcome, time.monotonic() - begin


STOP_SECONDS = 0.4
"""How long a search that is asked to stop may take to say how far it came."""


def _one(config: Config, limits: Limits, max_seconds: float, strict: bool) -> tuple[Outcome, float]:
    """One search and how long it took."""
    begin = time.monotonic()

    def goes_on(*figures: int) -> bool:
        return time.monotonic() - begin < max_seconds and not asked_to_stop()

    outcome = (search if strict else search_past_known)(config, limits, goes_on)
    return outcome, time.monotonic() - begin


def search_all(configs: Sequence[Config], limits: Limits, max_seconds: float, jobs: int, *, strict: bool = False) -> Searches:
    """``jobs`` searches at once.

    Limits are each search's own. After Ctrl-C the outcome that is waited for is inconclusive, as interrupted, and the last.
    """
    with Workers(min(jobs, len(configs))) as workers:
        results = workers.results(_one, [(config, limits, max_seconds, strict) for config in configs])
        for number, config in enumerate(configs):
            begin = time.monotonic()
            try:
                found = next(results)
            except KeyboardInterrupt:
                outcome, seconds = workers.last(number, STOP_SECONDS) or (None, time.monotonic() - begin)
                yield _interrupted(config, limits, outcome), seconds
                return
            yield found


def _interrupted(config: Config, limits: Limits, outcome: Outcome | None) -> Outcome:
    """The outcome of a search that was asked to stop: what it says, or where it said nothing, that it was stopped."""
    if outcome is None:
        return Outcome(config, Verdict.INCONCLUSIVE, Why.INTERRUPTED, 0, 0, 0, 0, 0, storage=limits.storage)
    return replace(outcome, why=Why.INTERRUPTED) if outcome.why is Why.TIME_LIMIT else outcome
