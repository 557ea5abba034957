# SPDX-License-Identifier: GPL-2.0-or-later
"""Several searches at once, each in a process of its own; what comes out is as if they had run one after the other."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from softnet.processes import Workers, asked_to_stop
from softnet.verify.search import TIMED_OUT, Limits, Outcome, search

if TYPE_CHECKING:
    from softnet.verify.model import Config

STOP_SECONDS = 0.7
"""How long a search that is asked to stop may take to say how far it came."""


def _one(config: Config, limits: Limits, max_seconds: float) -> tuple[Outcome, float]:
    """One search and how long it took."""
    begin = time.monotonic()

    def goes_on(*figures: int) -> bool:
        return time.monotonic() - begin < max_seconds and not asked_to_stop()

    outcome = search(config, limits, goes_on)
    return outcome, time.monotonic() - begin


def search_all(
    configs: Sequence[Config], limits: Limits, max_seconds: float, jobs: int
) -> Generator[tuple[Outcome, float], None, None]:
    """The outcomes in the order of the configurations, with seconds; close() stops the searches that still run.

    Limits are each search's own. After Ctrl-C the outcome that is waited for is inconclusive, as interrupted, and the last.
    """
    with Workers(min(jobs, len(configs))) as workers:
        results = workers.results(_one, [(config, limits, max_seconds) for config in configs])
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
        return Outcome(config, "inconclusive", "interrupted", 0, 0, 0, 0, 0, storage=limits.storage)
    return replace(outcome, why="interrupted") if outcome.why == TIMED_OUT else outcome
