#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run of a sweep takes over the engine's own time, and a question over many result rows.

The engine's own time is what the native engine spends in ``run()`` and in drawing the arrivals; all else is the sweep's:
booting, putting memory back, reading the figures, the journal, Parquet. Both as CPU time of one process, in one go.
"""

from __future__ import annotations

import argparse
import gc
import platform
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from softnet.simulate import simulation
from softnet.simulate.arrivals import arrival_blocks
from softnet.simulate.native import NativeEngine
from softnet.sweep import api
from softnet.sweep.api import sweep
from softnet.sweep.experiment import asked_on_command_line
from softnet.sweep.plan import plan
from softnet.sweep.reading import query
from softnet.sweep.store import Finished, arrow

SCENARIO = Path(__file__).resolve().parents[1] / "examples" / "rps.toml"


class Clock:
    """Seconds of CPU in what it wraps; what is nested counts once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.inside = False

    def around(self, function: Any) -> Any:
        """The function, timed."""

        def timed(*words: Any) -> Any:
            if self.inside:
                return function(*words)
            self.inside, start = True, time.process_time()
            try:
                return function(*words)
            finally:
                self.inside, self.seconds = False, self.seconds + time.process_time() - start

        return timed

    def blocks(self, function: Any) -> Any:
        """A generator, each of its steps timed."""

        def timed(*words: Any) -> Iterator[Any]:
            steps = function(*words)
            step = self.around(lambda: next(steps, None))
            while (block := step()) is not None:
                yield block

        return timed


def overhead(runs: int, seeds: int, *, shown: bool = True) -> None:
    """Print the row of one sweep with so many runs of 2 ms."""
    clock = Clock()
    budgets = ",".join(str(16 + i) for i in range(runs // seeds))
    given: dict[str, Any] = {"seeds": seeds, "settings": ("measure.duration_ms=2", "measure.warmup_ms=0")}
    asked = asked_on_command_line(str(SCENARIO), [f"sysctl.netdev_budget={budgets}"], **given)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(NativeEngine, "run", clock.around(NativeEngine.run)),
        mock.patch.object(simulation, "arrival_blocks", clock.blocks(arrival_blocks)),
    ):
        start = time.process_time()
        done = sweep(asked, Path(folder), processes=1, engine="native")
        taken = time.process_time() - start
    count = done.finished
    if shown:
        print(f"| {count:,} | {seeds} | {1e3 * taken / count:.2f} | {1e3 * clock.seconds / count:.2f}", end="")
        print(f" | {1e3 * (taken - clock.seconds) / count:.2f} |", flush=True)


def rows(count: int) -> None:
    """Print how long a grouped question over so many rows takes."""
    import numpy as np

    pa = arrow()
    rng = np.random.default_rng(1)
    columns = {f"m{i}": rng.integers(0, 10**6, count) for i in range(20)}
    columns |= {"arm": np.arange(count) // 5, "budget": np.arange(count) // 5 % 100}
    with tempfile.TemporaryDirectory() as folder:
        pa.parquet.write_table(pa.table(columns), Path(folder) / "runs.parquet", compression="zstd")
        start, used = time.perf_counter(), time.process_time()
        query(Path(folder), "select budget, avg(m0), quantile_cont(m1, 0.99), count(*) from runs group by 1 order by 2 limit 10")
        wall, cpu = time.perf_counter() - start, time.process_time() - used
        print(f"\n{count:,} rows of {len(columns)} columns asked in {wall:.2f} s, {cpu:.2f} s of CPU; DuckDB's start included")


def memory(runs: int, seeds: int) -> None:
    """Print what of each run stays in memory while a sweep goes on: Python's own allocations, before the results are written."""
    budgets = ",".join(str(16 + i) for i in range(runs // seeds))
    held: list[int] = []
    columns = 0

    def weighed(*_: Any) -> int:
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
        return 0

    def played(job: Any) -> Finished:
        return Finished([job.seed * 1_000_003 + i for i in range(columns)], "")

    with mock.patch.object(api, "run_once", played), mock.patch.object(api, "write_results", weighed):
        for count in (2, seeds, 2 * seeds):  # the first imports what is needed
            asked = asked_on_command_line(str(SCENARIO), [f"sysctl.netdev_budget={budgets}"], seeds=count)
            columns = len(plan(asked).measures)
            with tempfile.TemporaryDirectory() as folder:
                tracemalloc.start()
                sweep(asked, Path(folder), processes=1, yes=True)
                tracemalloc.stop()
    print(f"\n{(held[2] - held[1]) / runs:,.0f} bytes of memory for each run more, of {columns} figures")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}; ms of CPU for each run of 2 ms of examples/rps.toml\n")
    print("| runs | seeds of an arm | all | engine and arrivals | the sweep's |\n|---|---|---|---|---|")
    overhead(2, 2, shown=False)  # imports, and the kernel's code from the cache
    for seeds in (5, 20):
        overhead(options.runs, seeds)
    rows(options.rows)
    memory(1000, 10)


if __name__ == "__main__":
    main()
