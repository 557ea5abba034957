# SPDX-License-Identifier: GPL-2.0-or-later
"""Several searches at once, each in a process of its own; what comes out is as if they had run one after the other."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from softnet.verify.search import TIMED_OUT, Limits, Outcome, search

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from softnet.verify.model import Config

_stop: Event | None = None


def _begin(stop: Event) -> None:
    """In each process: Ctrl-C is heard by the first process, which then stops all."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _one(config: Config, limits: Limits, max_seconds: float) -> tuple[Outcome, float]:
    """One search and how long it took."""
    begin = time.monotonic()

    def goes_on(*figures: int) -> bool:
        return time.monotonic() - begin < max_seconds and not (_stop is not None and _stop.is_set())

    outcome = search(config, limits, goes_on)
    return outcome, time.monotonic() - begin


def search_all(
    configs: Sequence[Config], limits: Limits, max_seconds: float, jobs: int
) -> Generator[tuple[Outcome, float], None, None]:
    """The outcomes in the order of the configurations, with seconds; close() stops the searches that still run.

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
        futures: list[Future[tuple[Outcome, float]]] = [pool.submit(_one, c, limits, max_seconds) for c in configs]
        for future in futures:
            outcome, seconds = future.result()
            if interrupted and outcome.why == TIMED_OUT:
                yield replace(outcome, why="interrupted"), seconds
                return
            yield outcome, seconds
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        signal.signal(signal.SIGINT, before)
