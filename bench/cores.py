#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One search by one thread and by several, in turn: seconds of the search alone, processor seconds, and the ratio of the minima.

It ends with an error if they do not find the same. Processor seconds say how much more work several threads have; where something
else runs as well, they are the better figure.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from dataclasses import replace
from typing import Any
from unittest import mock

from softnet.verify import search
from softnet.verify.api import VerifyOptions, configurations
from softnet.verify.arena import Arena, Limits
from softnet.verify.inside import words

DRIVERS = {
    "RPS both ways": ("rps:1:1:0", "rps:0:1:1"),
    "RPS to CPU 0": ("free:1:2", "rps:1:1:0", "irq:0"),
}


def searched(machine: Arena) -> tuple[float, float, dict[str, int]]:
    """Search from where the machine has settled: seconds and processor seconds from the first state of the last attempt to the end,
    and figures.
    """
    begun, real = [0.0, 0.0], search._begin

    def begin(*given: Any) -> int:
        code = real(*given)
        begun[:] = time.perf_counter(), time.process_time()
        return code

    with mock.patch.object(search, "_begin", begin):
        code, _, _ = search.explored(machine)
    seconds, used = time.perf_counter() - begun[0], time.process_time() - begun[1]
    if code != words.VX_DONE:
        sys.exit(f"the search did not end: code {code}")
    return seconds, used, {name: machine.get(name) for name in ("states", "transitions", "terminals", "depth")}


def main() -> None:
    """Print a row for each configuration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", default="6.12")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    about = f"Python {platform.python_version()}, {platform.machine()}; {options.kernel}, 2 CPUs"
    print(f"{about}, hash compaction, best of {options.rounds}\n")
    print("| configuration | states | threads | seconds | processor seconds | ratio |\n|---|---|---|---|---|---|")
    for name, drivers in DRIVERS.items():
        (config,) = configurations([options.kernel], VerifyOptions(drivers=drivers, settings=("rps=1",), storage="compact"))
        best = {1: (float("inf"), float("inf")), options.cores: (float("inf"), float("inf"))}
        found: list[dict[str, int]] = []
        for _ in range(options.rounds):
            for cores, (seconds, used) in best.items():
                machine = Arena(config, replace(Limits(storage="compact", memory_bytes=2 << 30), cores=cores))
                machine.settle()
                now, now_used, figures = searched(machine)
                best[cores] = min(seconds, now), min(used, now_used)
                found.append(figures)
        if any(one != found[0] for one in found):
            sys.exit(f"{name}: not the same: {found}")
        for cores, (seconds, used) in best.items():
            ratio = best[1][0] / seconds
            print(f"| {name} | {found[0]['states']:,} | {cores} | {seconds:.2f} | {used:.2f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
