#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets a second: the native engine, the reference engine and a hand-written SimPy model, on the same arrivals.

The full model of 6.12, statistics on: a card with a queue per CPU, RPS over all CPUs, an application on each, arrivals
of a Poisson process. Each engine runs the same scenario, the slow ones its beginning; engines take turns, the figure is
the best of the rounds in CPU time of this process, since the machine may be shared.
"""

from __future__ import annotations

import platform
import time
from typing import Any

import simpy_path
from softnet.lang.compile import Options
from softnet.lang.llvm_function import RUN_WORDS
from softnet.scenario import Scenario, apply_kernel, scenario_from_dict
from softnet.scenario.traffic import arrivals
from softnet.simulate.native import NativeEngine
from softnet.simulate.simulation import Simulation

CPUS = (4, 8)
ROUNDS = 3
RATE_PER_CPU = 150_000
NATIVE_MS, SLOW_MS = 400, 12


def scenario(cpus: int, duration_ms: int) -> Scenario:
    """All CPUs busy, jittered arrivals."""
    every = list(range(cpus))
    raw: dict[str, Any] = {
        "name": "engines",
        "machine": {"cpus": cpus},
        "nic": [{"name": "eth0", "queues": cpus, "irq_cpus": every, "rps_cpus": every}],
        "traffic": [
            {"kind": "poisson", "rate_pps": RATE_PER_CPU * cpus, "flows": 16 * cpus, "proto": "tcp", "dst_ports": [80],
             "sizes": [[66, 1], [1514, 1]]},
        ],
        "application": [{"name": "web", "kind": "tcp", "cpus": every, "dst_ports": [80]}],
        "measure": {"duration_ms": duration_ms, "warmup_ms": 0},
    }  # fmt: skip
    return scenario_from_dict(apply_kernel(raw, "6.12"))


def received(simulation: Simulation) -> int:
    """Frames that reached the card."""
    image = simulation.image
    return sum(
        image.word("nic_queue", q, "received") + image.word("nic_queue", q, "dropped")
        for q in range(image.nr_queues)
    )


def engine_seconds(cpus: int, engine: str, duration_ms: int) -> tuple[float, int]:
    """CPU seconds and packets of a run; building the image and compiling stay outside."""
    simulation = Simulation(scenario(cpus, duration_ms), engine=engine)
    start = time.process_time()
    simulation.finish()
    return time.process_time() - start, received(simulation)


def simpy_seconds(cpus: int, duration_ms: int) -> tuple[float, int, int]:
    """The same of the SimPy model, on the same arrivals, and the events that SimPy processed."""
    times: list[int] = []
    queues: list[int] = []
    flows: list[int] = []
    for chunk in arrivals(scenario(cpus, duration_ms), 0):
        times += chunk.time_ns.tolist()
        queues += chunk.nic_queue.tolist()
        flows += chunk.flow.tolist()
    start = time.process_time()
    events = simpy_path.run(cpus, times, queues, flows)
    return time.process_time() - start, len(times), events


def interactions_per_packet(cpus: int) -> float:
    """Interaction points that a packet passes, counted in a build of its own."""
    simulation = Simulation(scenario(cpus, SLOW_MS), engine="native")
    engine = NativeEngine(
        simulation.image, simulation._arrival_blocks(), simulation.recorder.take, Options(count_points=True)
    )
    simulation.engine = engine
    simulation.finish()
    return int(engine.memory[RUN_WORDS["points"]]) / received(simulation)


def measure(cpus: int) -> dict[str, tuple[float, float]]:
    """Engine -> packets a second, the best of the rounds, and events per packet."""
    points = interactions_per_packet(cpus)
    best: dict[str, tuple[float, float]] = {}

    def note(name: str, seconds: float, packets: int, events: float) -> None:
        best[name] = max(best.get(name, (0.0, 0.0)), (packets / seconds, events))

    for _ in range(ROUNDS):
        note("native", *engine_seconds(cpus, "native", NATIVE_MS), points)
        note("reference", *engine_seconds(cpus, "reference", SLOW_MS), points)
        seconds, packets, events = simpy_seconds(cpus, SLOW_MS)
        note("SimPy", seconds, packets, events / packets)
    return best


def main() -> None:
    print(
        f"Python {platform.python_version()}, {platform.machine()}; 6.12, the full model, best of {ROUNDS} rounds, CPU time"
    )
    print(
        f"{'CPUs':>4} {'engine':<10} {'packets/s':>11} {'events/packet':>14} {'ns/event':>9} {'events of SimPy':>16}"
    )
    for cpus in CPUS:
        found = measure(cpus)
        base = found["SimPy"][0] * found["SimPy"][1]
        for name, (speed, events) in found.items():
            rate = speed * events
            print(
                f"{cpus:>4} {name:<10} {speed:>11,.0f} {events:>14.0f} {1e9 / rate:>9.1f} {rate / base:>15.2f}x"
            )
    print(
        "An event of softnet is an interaction point: a shared access, a call into the machine, a record; of SimPy,"
    )
    print(
        "an entry of its queue. The SimPy model leaves out most of the path, so packets a second favour it."
    )


if __name__ == "__main__":
    main()
