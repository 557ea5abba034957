#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An hour of simulated time at 200,000 packets a second in bounded memory; ``--minutes N`` runs less of it.

Prints, for every simulated minute, how long it took, what memory the process holds then, and the samples kept. With ``--trace
FILE`` every event goes into a compressed file as well (some 13 events a packet: an hour is 700 million packets).
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from pathlib import Path
from typing import Any

from softnet.scenario import Scenario, apply_kernel, scenario_from_dict
from softnet.simulate.simulation import Simulation

CPUS = 4
RATE_PPS = 200_000
MINUTE_NS = 60 * 10**9


def scenario(minutes: float) -> Scenario:
    """A card with a queue per CPU, RPS over all, an application on each, a sample of the queues every 10 ms."""
    every = list(range(CPUS))
    raw: dict[str, Any] = {
        "name": "hour",
        "machine": {"cpus": CPUS},
        "nic": [{"name": "eth0", "queues": CPUS, "irq_cpus": every, "rps_cpus": every}],
        "traffic": [{"kind": "poisson", "rate_pps": RATE_PPS, "flows": 64, "proto": "tcp", "dst_ports": [80]}],
        "application": [{"name": "web", "kind": "tcp", "cpus": every, "dst_ports": [80]}],
        "measure": {"duration_ms": int(minutes * 60_000), "warmup_ms": 0, "series_interval_us": 10_000},
    }
    return scenario_from_dict(apply_kernel(raw, "6.12"))


def resident_mib() -> float:
    """What of the process is in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


class Watch:
    """Prints a line for each simulated minute."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.next_ns = MINUTE_NS
        self.last_ns = -1
        self.last = self.start = time.perf_counter()
        self.most_mib = 0.0

    def __call__(self, now_ns: int, duration_ns: int) -> None:
        if now_ns < min(self.next_ns, duration_ns) or now_ns == self.last_ns:
            return
        now, mib = time.perf_counter(), resident_mib()
        self.most_mib = max(self.most_mib, mib)
        samples = len(self.simulation.sampler.columns["time_ns"])
        print(
            f"{now_ns / MINUTE_NS:>8.2f} min{now - self.last:>10.1f} s{mib:>10.1f} MiB{samples:>9} samples",
            flush=True,
        )
        self.last, self.last_ns = now, now_ns
        self.next_ns += MINUTE_NS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="simulated minutes, 60 if not given")
    parser.add_argument("--trace", metavar="FILE", help="record every event into this file (.gz)")
    args = parser.parse_args()
    made = scenario(args.minutes)
    simulation = Simulation(made, engine="native", trace="full" if args.trace else "off", trace_file=args.trace)
    print(f"Python {platform.python_version()}, {platform.machine()}; 6.12, {CPUS} CPUs, {RATE_PPS:,} packets a second")
    print(f"{'start':>12}{'':>12}{resident_mib():>10.1f} MiB", flush=True)
    watch = Watch(simulation)
    done = simulation.finish(watch)
    seconds = time.perf_counter() - watch.start
    where = done.result.conservation
    print(
        f"{where.arrived:,} packets in {seconds:.0f} s: {where.arrived / seconds:,.0f} a second;"
        f" {where.delivered:,} delivered, balance {where.balance}"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"most memory at a minute's end {watch.most_mib:.1f} MiB, peak {peak:.1f} MiB"
        + (", interrupted" if done.result.partial else "")
    )
    if args.trace:
        print(f"{len(done.trace.records):,} events in {Path(args.trace).stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
