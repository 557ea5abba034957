#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a simulated event costs when the machine grows: 1 to 256 CPUs, the load on each CPU being the same.

Two machines. In one, every CPU receives, steers to itself and reads: what grows is the event queue, the tables and
what the host must cache. In the other, RPS spreads every packet over all CPUs: a packet is then also more work.
An event is an interaction point of the model, also where native code need not look. The sizes take turns, the figure is the
best of the rounds in CPU time of this process.
"""

from __future__ import annotations

import math
import time
from typing import Any

from engines import received
from softnet.lang.compile import Options
from softnet.lang.llvm_function import RUN_WORDS
from softnet.scenario import Scenario, apply_kernel, scenario_from_dict
from softnet.simulate.native import NativeEngine
from softnet.simulate.simulation import Simulation

CPUS = (1, 2, 4, 8, 16, 64, 256)
ROUNDS = 3
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
    }  # fmt: skip
    return scenario_from_dict(apply_kernel(raw, "6.12"))


def once(cpus: int, *, spread: bool, counting: bool = False) -> tuple[float, int, int, int]:
    """CPU seconds, packets, changes of context, and events if they are counted."""
    simulation = Simulation(scenario(cpus, spread=spread), engine="native")
    memory = simulation.image.memory
    if counting:
        simulation.engine = NativeEngine(
            simulation.image,
            simulation._arrival_blocks(),
            simulation.recorder.take,
            Options(count_points=True),
        )
    start = time.process_time()
    simulation.advance(simulation.scenario.measure.duration_ns)
    seconds = time.process_time() - start
    events = memory[RUN_WORDS["points"]]
    return seconds, received(simulation), memory[simulation.image.engine_word("switches")], events


def main() -> None:
    print(
        f"{'CPUs':>4} {'RPS':>4} {'packets/s':>10} {'events/packet':>14} {'switches/packet':>15} {'ns/event':>9} {'to log2':>8}"
    )
    for spread in (False, True):
        best: dict[int, float] = {}
        about: dict[int, tuple[int, int, int]] = {}
        for cpus in CPUS:
            about[cpus] = once(cpus, spread=spread, counting=True)[1:]
        for _ in range(ROUNDS):
            for cpus in CPUS:
                best[cpus] = min(best.get(cpus, math.inf), once(cpus, spread=spread)[0])
        base = 0.0
        for cpus in CPUS:
            packets, switches, events = about[cpus]
            cost = best[cpus] / events * 1e9
            # One CPU alone changes contexts seldom; the rule is held against two.
            growth = ""
            if cpus == 2:
                base = cost
            if cpus > 2:
                growth = f"{cost / base / math.log2(2 * cpus) * 2:.2f}"
            print(f"{cpus:>4} {'all' if spread else '-':>4} {packets / best[cpus]:>10,.0f} {events / packets:>14.0f} "
                  f"{switches / packets:>15.1f} {cost:>9.1f} {growth:>8}")  # fmt: skip
    print(
        "against log2: the cost of an event over that with 2 CPUs, divided by log2 of twice the CPUs over 2: up to 1 it grows no"
    )
    print("faster than the logarithm.")


if __name__ == "__main__":
    main()
