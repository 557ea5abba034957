#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``--checks`` costs on the native engine: the same run with and without, in turn, the best of some rounds each.

CPU time of the engine alone: neither loading nor the look at the whole image at the end is in it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from softnet.scenario import Scenario, scenario_from_dict
from softnet.simulate.simulation import Simulation


def load(cpus: int, duration_ms: int) -> Scenario:
    """All CPUs busy: a queue for each, RPS over all, TCP to an application on each."""
    every = list(range(cpus))
    tables: dict[str, Any] = {
        "kernel": {"release": "6.12"},
        "machine": {"cpus": cpus},
        "nic": [{"name": "eth0", "queues": cpus, "rps_cpus": every}],
        "traffic": [{"kind": "poisson", "rate_pps": 400_000 * cpus, "flows": 64, "proto": "tcp"}],
        "application": [{"name": "server", "kind": "tcp", "cpus": every}],
        "measure": {"duration_ms": duration_ms},
    }
    return scenario_from_dict(tables, directory=Path())


def seconds(scenario: Scenario, *, checks: bool) -> tuple[float, int]:
    """CPU time of one run, and the packets it delivered."""
    simulation = Simulation(scenario, checks=checks, engine="native", trace="off")
    start = time.process_time()
    simulation.advance(scenario.measure.duration_ns)
    taken = time.process_time() - start
    return taken, simulation.result().counters["delivered"]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration-ms", type=int, default=40)
    options = parser.parse_args()
    print("| CPUs | packets | ns/packet | with checks | ratio |\n|---|---|---|---|---|")
    for cpus in (2, 4, 8):
        scenario = load(cpus, options.duration_ms)
        best = {False: float("inf"), True: float("inf")}
        packets = 0
        for _ in range(options.rounds):
            for checks in best:
                taken, packets = seconds(scenario, checks=checks)
                best[checks] = min(best[checks], taken)
        plain, checked = (best[key] * 1e9 / packets for key in (False, True))
        print(f"| {cpus} | {packets:,} | {plain:,.0f} | {checked:,.0f} | {checked / plain:.2f} |", flush=True)


if __name__ == "__main__":
    main()
