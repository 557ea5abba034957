#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets a second: the native engine, the reference engine and a hand-written SimPy model, on the same arrivals.

The full model of 6.12, statistics on: a card with a queue per CPU, RPS over all CPUs, an application on each, arrivals
of a Poisson process, so many that the CPUs are busy and nothing is dropped (both are printed). Each engine runs the same scenario,
the slow ones its beginning; engines take turns, the figure is the best of the rounds in CPU time of this process, since the
machine may be shared. One more line gives the native engine at a lower load, where CPUs go idle and wake each other more often.
"""

from __future__ import annotations

import platform
import time
from typing import Any

import simpy_path
from softnet.image.readout import drops
from softnet.lang.native.abi import RUN_WORDS
from softnet.lang.native.compile import Options
from softnet.machine.state import TIME_IDLE
from softnet.scenario import Scenario, apply_kernel, scenario_from_dict
from softnet.scenario.traffic import arrivals
from softnet.simulate.arrivals import arrival_blocks
from softnet.simulate.measure import cpu_times
from softnet.simulate.native import NativeEngine
from softnet.simulate.simulation import Simulation

CPUS = (4, 8)
ROUNDS = 3
BUSY, CALM = 200_000, 150_000
"""Packets a second for each CPU."""
NATIVE_MS, SLOW_MS = 400, 12


def scenario(cpus: int, duration_ms: int, rate: int = BUSY) -> Scenario:
    """All CPUs busy, jittered arrivals."""
    every = list(range(cpus))
    raw: dict[str, Any] = {
        "name": "engines",
        "machine": {"cpus": cpus},
        "nic": [{"name": "eth0", "queues": cpus, "irq_cpus": every, "rps_cpus": every}],
        "traffic": [
            {"kind": "poisson", "rate_pps": rate * cpus, "flows": 16 * cpus, "proto": "tcp", "dst_ports": [80],
             "sizes": [[66, 1], [1514, 1]]},
        ],
        "application": [{"name": "web", "kind": "tcp", "cpus": every, "dst_ports": [80]}],
        "measure": {"duration_ms": duration_ms, "warmup_ms": 0},
    }  # fmt: skip
    return scenario_from_dict(apply_kernel(raw, "6.12"))


def received(simulation: Simulation) -> int:
    """Frames that reached the card."""
    image = simulation.image
    return sum(image.word("nic_queue", q, "received") + image.word("nic_queue", q, "dropped") for q in range(image.nr_queues))


def engine_seconds(cpus: int, engine: str, duration_ms: int, rate: int = BUSY) -> tuple[float, int]:
    """CPU seconds and packets of a run; building the image and compiling stay outside."""
    simulation = Simulation(scenario(cpus, duration_ms, rate), engine=engine)
    start = time.process_time()
    simulation.finish()
    return time.process_time() - start, received(simulation)


def simpy_seconds(cpus: int, duration_ms: int, parts: int = 1) -> tuple[float, int, int, int]:
    """The same of the SimPy model, on the same arrivals, the events that SimPy processed, and the stretches of work."""
    times: list[int] = []
    queues: list[int] = []
    flows: list[int] = []
    for chunk in arrivals(scenario(cpus, duration_ms), 0):
        times += chunk.time_ns.tolist()
        queues += chunk.nic_queue.tolist()
        flows += chunk.flow.tolist()
    start = time.process_time()
    events, stretches = simpy_path.run(cpus, times, queues, flows, parts)
    return time.process_time() - start, len(times), events, stretches


def interactions_per_packet(cpus: int, rate: int = BUSY) -> tuple[float, float]:
    """Interaction points that a packet passes, counted in a build of its own, and changes of context."""
    simulation = Simulation(scenario(cpus, SLOW_MS, rate), engine="native")
    engine = NativeEngine(
        simulation.image, arrival_blocks(simulation.scenario), simulation.recorder.take, Options(count_points=True)
    )
    simulation.engine = engine
    simulation.finish()
    packets = received(simulation)
    switches = int(engine.memory[simulation.image.engine_word("switches")])
    return int(engine.memory[RUN_WORDS["points"]]) / packets, switches / packets


def idle_and_dropped(cpus: int, rate: int) -> tuple[float, int]:
    """Share of the simulated CPUs' time that is idle, and packets dropped, anywhere."""
    simulation = Simulation(scenario(cpus, NATIVE_MS, rate), engine="native")
    simulation.finish()
    times = cpu_times(simulation.image)
    return sum(row[TIME_IDLE] for row in times) / sum(map(sum, times)), sum(drops(simulation.image).values())


def measure(cpus: int) -> dict[str, tuple[float, float]]:
    """Engine -> packets a second, the best of the rounds, and events per packet."""
    points, switches = interactions_per_packet(cpus)
    _, packets, events, stretches = simpy_seconds(cpus, SLOW_MS)
    parts = 1 + round((points * packets - events) / stretches)
    idle, dropped = idle_and_dropped(cpus, BUSY)
    print(
        f"{cpus} CPUs: a packet passes {points:.0f} interaction points and changes contexts {switches:.1f} times; simulated CPUs"
        f" idle {idle:.1%}, {dropped} packets dropped"
    )
    calm, _ = interactions_per_packet(cpus, CALM)
    best: dict[str, tuple[float, float]] = {}

    def note(name: str, seconds: float, packets: int, events: float) -> None:
        best[name] = max(best.get(name, (0.0, 0.0)), (packets / seconds, events))

    for _ in range(ROUNDS):
        note("native", *engine_seconds(cpus, "native", NATIVE_MS), points)
        note("native, calm", *engine_seconds(cpus, "native", NATIVE_MS, CALM), calm)
        note("reference", *engine_seconds(cpus, "reference", SLOW_MS), points)
        for name, pieces in (("SimPy", 1), ("SimPy, as fine", parts)):
            seconds, packets, events, _ = simpy_seconds(cpus, SLOW_MS, pieces)
            note(name, seconds, packets, events / packets)
    return best


def main() -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}; 6.12, the full model, best of {ROUNDS} rounds, CPU time")
    for cpus in CPUS:
        found = measure(cpus)
        print(f"{'engine':<15} {'packets/s':>10} {'events/packet':>14} {'ns/event':>9} {'to SimPy':>9} {'as fine':>8}")
        coarse, fine = found["SimPy"][0], found["SimPy, as fine"][0]
        for name, (speed, events) in found.items():
            ratios = f"{speed / coarse:>8.2f}x {speed / fine:>7.2f}x"
            print(f"{name:<15} {speed:>10,.0f} {events:>14.0f} {1e9 / speed / events:>9.1f} {ratios}")
    print(
        "An event of softnet is an interaction point of the model, also where native code need not look: a shared access,\n"
        "a call into the machine, a record; of SimPy, an entry of "
        "its queue. The SimPy model leaves out most of the path. 'as fine' cuts its work into as many waits as softnet has points."
    )


if __name__ == "__main__":
    main()
