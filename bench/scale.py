#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a simulated event costs when the machine grows: 1 to 256 CPUs, the load on each CPU being the same.

Two machines. In one, every CPU receives, steers to itself and reads: what grows is the event queue, the tables and
what the host must cache. In the other, RPS spreads every packet over all CPUs: a packet is then also more work.
An event is an interaction point of the model, also where native code need not look. The sizes take turns; speeds are the best of
the rounds in CPU time of this process. A machine that is shared is faster in one minute than in the next, so the growth of the cost
is taken within each round, and printed as the median of the rounds and the least and the most of them.
"""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

from engines import received
from softnet.lang.native.abi import RUN_WORDS
from softnet.lang.native.compile import Options
from softnet.scenario import Scenario, apply_kernel, scenario_from_dict
from softnet.simulate.arrivals import arrival_blocks
from softnet.simulate.native import NativeEngine
from softnet.simulate.simulation import Simulation

CPUS = (1, 2, 4, 8, 16, 64, 256)
ROUNDS = 7
PACKETS = 60_000
RATE_PER_CPU = 100_000


def scenario(cpus: int, *, spread: bool) -> Scenario:
    """The same load on every CPU, the same number of packets in all."""
    every = list(range(cpus))
    steer = {"rps_cpus": every} if spread else {}
    raw: dict[str, Any] = {
        "name": "scale",
        "machine": {"cpus": cpus},
        "nic": [{"name": "eth0", "queues": cpus, "irq_cpus": every, **steer}],
        "traffic": [{"kind": "poisson", "rate_pps": RATE_PER_CPU * cpus, "flows": 16 * cpus, "proto": "udp", "dst_ports": [53]}],
        "application": [{"name": "dns", "kind": "udp", "cpus": every, "dst_ports": [53]}],
        "measure": {"duration_ms": PACKETS / (RATE_PER_CPU * cpus / 1000), "warmup_ms": 0, "series_interval_us": 100_000},
    }
    return scenario_from_dict(apply_kernel(raw, "6.12"))


def once(cpus: int, *, spread: bool, counting: bool = False) -> tuple[float, int, int, int]:
    """CPU seconds, packets, changes of context, and events if they are counted."""
    simulation = Simulation(scenario(cpus, spread=spread), engine="native")
    memory = simulation.image.memory
    if counting:
        simulation.engine = NativeEngine(
            simulation.image,
            arrival_blocks(simulation.scenario),
            simulation.recorder.take,
            Options(count_points=True),
        )
    start = time.process_time()
    simulation.advance(simulation.scenario.measure.duration_ns)
    seconds = time.process_time() - start
    events = memory[RUN_WORDS["points"]]
    return seconds, received(simulation), memory[simulation.image.engine_word("switches")], events


def growths(cpus: int, rounds: list[dict[int, float]]) -> str:
    """The cost of an event over that with 2 CPUs in the same round, over the same of the logarithm: median, least and most."""
    found = sorted(cost[cpus] / cost[2] / math.log2(2 * cpus) * 2 for cost in rounds)
    return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"


def main() -> None:
    print(f"{'CPUs':>4} {'RPS':>4} {'packets/s':>10} {'events/packet':>14} {'switches/packet':>15} {'ns/event':>9}  to log2")
    for spread in (False, True):
        about = {cpus: once(cpus, spread=spread, counting=True)[1:] for cpus in CPUS}
        # CPUs -> ns per event, of every round.
        rounds = [{cpus: once(cpus, spread=spread)[0] / about[cpus][2] * 1e9 for cpus in CPUS} for _ in range(ROUNDS)]
        for cpus in CPUS:
            packets, switches, events = about[cpus]
            cost = min(found[cpus] for found in rounds)
            # One CPU alone changes contexts seldom; the rule is held against two.
            growth = growths(cpus, rounds) if cpus > 2 else ""
            print(
                f"{cpus:>4} {'all' if spread else '-':>4} {1e9 * packets / events / cost:>10,.0f} {events / packets:>14.0f} "
                f"{switches / packets:>15.1f} {cost:>9.1f}  {growth}".rstrip()
            )
    print(
        "to log2: the cost of an event over that with 2 CPUs in the same round, over the same of the logarithm of twice the CPUs:"
    )
    print("up to 1 it grows no faster than the logarithm. The median of the rounds, the least and the most.")


if __name__ == "__main__":
    main()
