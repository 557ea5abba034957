#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast a scenario's traffic becomes arrivals: each generator alone, two merged, and the shipped capture in a loop.

Prints packets a second of the whole stream (times, flows, sizes, hashes, sockets, merging, even chunks) and the most
memory that Python and numpy held while it ran.
"""

from __future__ import annotations

import platform
import time
import tracemalloc
from pathlib import Path

from softnet.scenario import (
    Application,
    CaptureTraffic,
    ConstantTraffic,
    Measure,
    Nic,
    OnOffTraffic,
    PoissonTraffic,
    Scenario,
    Traffic,
)
from softnet.scenario.traffic import arrivals

PACKETS = 4_000_000
CAPTURE = Path(__file__).parent.parent / "examples" / "captures" / "web.pcap"

POISSON = PoissonTraffic(rate_pps=1_000_000, flows=1000, proto="tcp", sizes=((66, 1.0), (1514, 2.0)), train=4)
CASES: dict[str, tuple[Traffic, ...]] = {
    "constant, 100 flows": (ConstantTraffic(rate_pps=1_000_000, flows=100),),
    "poisson, 1000 flows, 2 sizes": (POISSON,),
    "on/off, exponential": (OnOffTraffic(rate_pps=2_000_000, on_us=100, off_us=100, exponential=True, flows=16),),
    "two merged": (POISSON, ConstantTraffic(rate_pps=1_000_000, flows=1000)),
    "capture, looped": (CaptureTraffic(file=str(CAPTURE), loop=True, speed=8.0),),
}


def stream(traffic: tuple[Traffic, ...]) -> tuple[int, float]:
    """Packets made, and the seconds it took."""
    scenario = Scenario(
        nic=(Nic(queues=4),),
        traffic=traffic,
        application=(Application(name="tcp", cpus=(1, 2)), Application(name="udp", kind="udp")),
        measure=Measure(duration_ms=60_000),
    )
    start_ns = time.perf_counter_ns()
    count = 0
    for chunk in arrivals(scenario):
        count += len(chunk)
        if count >= PACKETS:
            break
    return count, (time.perf_counter_ns() - start_ns) / 1e9


def main() -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}, {PACKETS:,} packets each")
    print(f"{'':<32}{'packets/s':>14}{'peak memory':>14}")
    for name, traffic in CASES.items():
        count, seconds = stream(traffic)
        tracemalloc.start()
        stream(traffic)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"{name:<32}{count / seconds:>14,.0f}{peak / 2**20:>10.1f} MiB")


if __name__ == "__main__":
    main()
