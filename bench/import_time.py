#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What `import softnet` and `softnet --help` take, beside an empty Python and beside what they must not load.

Prints medians and quartiles of whole processes, run in turn, each with its ratio to an empty Python.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time

ROUNDS = 15

COMMANDS = {
    "an empty Python": ["-c", "pass"],
    "import softnet": ["-c", "import softnet"],
    "softnet --help": ["-m", "softnet", "--help"],
    "import numpy": ["-c", "import numpy"],
    "import pydantic": ["-c", "import pydantic; pydantic.BaseModel"],
}


def elapsed_ns(arguments: list[str]) -> int:
    start_ns = time.perf_counter_ns()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter_ns() - start_ns


def main() -> None:
    times_ns: dict[str, list[int]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            times_ns[name].append(elapsed_ns(arguments))
    base_ns = statistics.median(times_ns["an empty Python"])
    print(f"Python {platform.python_version()}, {platform.machine()}, {ROUNDS} rounds, whole processes")
    print(f"{'':<18}{'median':>10}{'quartiles':>20}{'ratio':>8}")
    for name, samples in times_ns.items():
        low, middle, high = statistics.quantiles(samples, n=4)
        spread = f"{low / 1e6:.1f} to {high / 1e6:.1f}"
        print(f"{name:<18}{middle / 1e6:>7.1f} ms{spread:>17} ms{middle / base_ns:>8.2f}")


if __name__ == "__main__":
    main()
