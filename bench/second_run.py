#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run costs beyond its engine's own time when the process has run the scenario before.

Runs scenarios (default: the shipped ones with a generator and with a capture) with one seed after the other and prints the CPU
time of the first run and, of the later ones, the median of all and of what was spent outside of ``Engine.run()``; then where that
went (``--profile``).
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from pathlib import Path
from statistics import median
from typing import Any

from softnet.scenario import load_scenario
from softnet.simulate.simulation import Simulation

EXAMPLES = Path(__file__).parent.parent / "examples"
RUNS = 7


class Timed:
    """An engine and the CPU time that it took."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.spent_ns = 0

    def run(self, until_ns: int) -> int:
        start_ns = time.process_time_ns()
        try:
            return int(self.engine.run(until_ns))
        finally:
            self.spent_ns += time.process_time_ns() - start_ns


def once(scenario: Any, seed: int) -> tuple[int, int]:
    """CPU time of a whole run and of its engine, in ns."""
    start_ns = time.process_time_ns()
    sim = Simulation(scenario, seed=seed)
    timed = Timed(sim.engine)
    sim.engine = timed
    sim.finish()
    return time.process_time_ns() - start_ns, timed.spent_ns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", type=Path, default=[EXAMPLES / "seed.toml", EXAMPLES / "redis.toml"])
    parser.add_argument("--profile", action="store_true", help="Print where the time of the later runs goes.")
    given = parser.parse_args()
    print(f"{'ms of CPU time':<24}{'first run':>11}{'later runs':>12}{'beyond the engine':>19}")
    for path in given.scenarios:
        scenario = load_scenario(path, ["measure.duration_ms=20", "measure.warmup_ms=1"])
        first, _ = once(scenario, 1)
        later = [once(scenario, seed) for seed in range(2, 2 + RUNS)]
        beyond = median(whole - engine for whole, engine in later)
        print(f"{path.name:<24}{first / 1e6:>11.1f}{median(whole for whole, _ in later) / 1e6:>12.1f}{beyond / 1e6:>19.1f}")
        if given.profile:
            profile = cProfile.Profile(time.process_time)
            profile.runcall(once, scenario, 50)
            pstats.Stats(profile).sort_stats("cumtime").print_stats(30)


if __name__ == "__main__":
    main()
