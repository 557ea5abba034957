# SPDX-License-Identifier: GPL-2.0-or-later
"""Many searches, one after the other or several at once, each in a process of its own. The outcomes are the same.

The one module of this package that reads a clock: a search may be given so many seconds, and says how many it took. What a search
finds does not depend on it; a search without the time to finish is inconclusive.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softnet.verify.known import search_past_known
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.verdict import Why

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

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


_stop: Event | None = None


def _begin(stop: Event) -> None:
    """In each process: Ctrl-C is heard by the first process, which then stops all."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _one(config: Config, limits: Limits, max_seconds: float, strict: bool) -> tuple[Outcome, float]:
    """One search and how long it took."""
    begin = time.monotonic()

    def goes_on(*figures: int) -> bool:
        return time.monotonic() - begin < max_seconds and not (_stop is not None and _stop.is_set())

    outcome = (search if strict else search_past_known)(config, limits, goes_on)
    return outcome, time.monotonic() - begin


def search_all(configs: Sequence[Config], limits: Limits, max_seconds: float, jobs: int, *, strict: bool = False) -> Searches:
    """``jobs`` searches at once.

    Limits are each search's own. After Ctrl-C the outcome that is waited for is inconclusive, as interrupted, and the last.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    interrupted: list[int] = []

    def hear(number: int, frame: Any) -> None:
        interrupted.append(number)
        stop.set()

    before = signal.signal(signal.SIGINT, hear)
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(stop,))
    try:
        futures: list[Future[tuple[Outcome, float]]] = [pool.submit(_one, c, limits, max_seconds, strict) for c in configs]
        for future in futures:
            outcome, seconds = future.result()
            if interrupted and outcome.why is Why.TIME_LIMIT:
                yield replace(outcome, why=Why.INTERRUPTED), seconds
                return
            yield outcome, seconds
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        signal.signal(signal.SIGINT, before)
