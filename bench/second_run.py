#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run costs beyond its engine's own time when the process has run the scenario before, as compare and sweep run it.

Runs scenarios with one seed after the other and prints CPU time: of the first run, which boots; of the later ones, whose memory
is put back, the median of all, of the engine, of drawing the arrivals, and of the rest; and of a run that is booted anew in the
same process, as ``softnet run`` would. ``--profile`` says where the later runs' time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from softnet.scenario import Scenario, load_scenario
from softnet.simulate import simulation
from softnet.simulate.arrivals import arrival_blocks
from softnet.simulate.native import NativeEngine
from softnet.simulate.repeated import Repeated
from softnet.simulate.simulation import Setup, Simulation

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = ("seed", "redis", "rps", "loopback")
RUNS = 15


class Spent:
    """CPU time of the engine and of drawing arrivals, in ns, of what runs while it is watched."""

    def __init__(self) -> None:
        self.engine = self.arrivals = 0

    def run(self, engine: NativeEngine, until_ns: int) -> int:
        """``NativeEngine.run()``, timed."""
        start, drawn = time.process_time_ns(), self.arrivals
        try:
            return _run(engine, until_ns)
        finally:
            self.engine += time.process_time_ns() - start - (self.arrivals - drawn)

    def blocks(self, *words: Any) -> Iterator[Any]:
        """``arrival_blocks()``, timed."""
        blocks = arrival_blocks(*words)
        while True:
            start = time.process_time_ns()
            block = next(blocks, None)
            self.arrivals += time.process_time_ns() - start
            if block is None:
                return
            yield block


_run = NativeEngine.run


def timed(function: Any, *words: Any) -> tuple[float, float, float]:
    """CPU time of a call, of the engine in it, and of drawing arrivals, in ms."""
    spent = Spent()
    with (
        mock.patch.object(NativeEngine, "run", lambda engine, until_ns: spent.run(engine, until_ns)),
        mock.patch.object(simulation, "arrival_blocks", spent.blocks),
    ):
        start = time.process_time_ns()
        function(*words)
        whole = time.process_time_ns() - start
    return whole / 1e6, spent.engine / 1e6, spent.arrivals / 1e6


def anew_with(scenario: Scenario, seed: int) -> None:
    """A run that boots its machine."""
    Simulation(scenario, seed=seed).finish()


def main() -> None:
    """Print a row for each scenario."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", type=Path, default=[EXAMPLES / f"{name}.toml" for name in NAMES])
    parser.add_argument("--profile", action="store_true", help="Print where the time of the later runs goes.")
    given = parser.parse_args()
    print("ms of CPU time, of runs of 20 ms\n")
    print("| scenario | first run | later run | engine | arrivals | the rest | booted anew, the rest |")
    print("|---" * 7 + "|")
    for path in given.scenarios:
        scenario = load_scenario(path, ["measure.duration_ms=20", "measure.warmup_ms=1"])
        setup = Setup(seed=1, trace="off")
        start = time.process_time_ns()
        repeated = Repeated(scenario, setup)
        repeated.finish()
        first = (time.process_time_ns() - start) / 1e6
        later = [timed(repeated.again, seed) for seed in range(2, 2 + RUNS)]
        anew = [timed(anew_with, scenario, seed) for seed in range(2, 2 + RUNS // 2)]
        whole, engine, arrivals = (median(column) for column in zip(*later, strict=True))
        rest, beyond = (median(w - e - a for w, e, a in rows) for rows in (later, anew))
        print(
            f"| {path.stem} | {first:.1f} | {whole:.1f} | {engine:.1f} | {arrivals:.1f} | {rest:.1f} | {beyond:.1f} |", flush=True
        )
        if given.profile:
            profile = cProfile.Profile(time.process_time)
            for seed in range(50, 70):
                profile.runcall(repeated.again, seed)
            pstats.Stats(profile).sort_stats("cumtime").print_stats(40)


if __name__ == "__main__":
    main()
