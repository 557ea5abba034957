#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a short run, and the comparison of the demo, take from the shell: from the cache; a run with an empty one, and part by part.

Whole processes, in turn with an empty Python and with the two libraries that every run imports: the best, the median and the
quartiles. The parts are of one process each, CPU time, the best of the rounds. Bytecode is there before anything is timed.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLD_ROUNDS, ROUNDS = 3, 11
SHORT = ["measure.duration_ms=5", "measure.warmup_ms=1"]
RUN = ["-m", "softnet", "run", "examples/rps.toml", "--quiet", *(f"--set={setting}" for setting in SHORT)]

COMMANDS = {
    "an empty Python": ["-c", "pass"],
    "import numpy, pydantic": ["-c", "import numpy, pydantic; pydantic.BaseModel"],
    "softnet --help": ["-m", "softnet", "--help"],
    "softnet run, cached": RUN,
    "softnet compare, cached": ["-m", "softnet", "compare", "examples/seed.toml", "--arm", "6.9-rt", "--arm", "6.10-rt", "--quiet"],
}

PARTS = f"""
import time
marks = [("Python itself", time.process_time())]
def mark(name): marks.append((name, time.process_time()))
import click, numpy, pydantic
pydantic.BaseModel
mark("imports: click, numpy, pydantic")
import softnet.cli.run, softnet.simulate.api
mark("imports: softnet")
from softnet.simulate.api import resolve
scenario = resolve("examples/rps.toml", "", {SHORT!r})
mark("the scenario")
from softnet.simulate import simulation as s
program = s.load_program(scenario)
mark("the kernel's modules and their check")
s.load_program = lambda scenario, patches=(), costs=None, *, checks=False: program
made = s.Simulation.__new__(s.Simulation)
engine = s.Simulation._engine
def timed(self, checks, run_ahead):
    mark("the image: laid out, linked, booted")
    return engine(self, checks, run_ahead)
s.Simulation._engine = timed
made.__init__(scenario, engine="native")
mark("native code from the cache, first arrivals")
done = made.finish()
mark("the run and its figures")
from softnet.report.terminal import render_result
render_result(done.result, width=100, color=False)
mark("the summary")
last = 0.0
for name, at in marks:
    print(f"{{at - last:.6f}} {{name}}")
    last = at
"""


def environment(cache: str) -> dict[str, str]:
    return {
        **os.environ,
        "SOFTNET_CACHE": cache,
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": f"{cache}/pyc",
    }


def elapsed_ms(arguments: list[str], cache: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, cwd=ROOT, env=environment(cache))
    return (time.perf_counter() - start) * 1e3


def row(name: str, samples: list[float], base: float) -> str:
    low, middle, high = (
        statistics.quantiles(samples, n=4) if len(samples) > 3 else (min(samples), statistics.median(samples), max(samples))
    )
    spread = f"{low:.0f} to {high:.0f}"
    return f"{name:<26}{min(samples):>9.0f} ms{middle:>9.0f} ms{spread:>16} ms{middle / base:>9.1f}"


def cold_start(cache: str) -> float:
    """Every native kernel and everything derived removed; bytecode stays."""
    for path in Path(cache, "native").glob("*"):
        path.unlink()
    return elapsed_ms(RUN, cache)


def parts(cache: str) -> dict[str, float]:
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", PARTS],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=environment(cache),
        )
        for line in done.stdout.splitlines():
            seconds, _, name = line.partition(" ")
            best[name] = min(best.get(name, 1e9), float(seconds) * 1e3)
    return best


def main() -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}; examples/rps.toml, 5 ms of traffic; {ROUNDS} rounds")
    with tempfile.TemporaryDirectory() as cache:
        elapsed_ms(RUN, cache)
        cold = [cold_start(cache) for _ in range(COLD_ROUNDS)]
        for arguments in COMMANDS.values():
            elapsed_ms(arguments, cache)
        times: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(ROUNDS):
            for name, arguments in COMMANDS.items():
                times[name].append(elapsed_ms(arguments, cache))
        base = statistics.median(times["an empty Python"])
        print(f"{'':<26}{'best':>12}{'median':>12}{'quartiles':>19}{'ratio':>9}")
        for name, samples in times.items():
            print(row(name, samples, base))
        print(row("softnet run, cold", cold, base))
        found = parts(cache)
    print(f"\nThe cached run in parts, CPU time, the best of {ROUNDS}: {sum(found.values()):.0f} ms")
    for name, ms in found.items():
        print(f"  {name:<44}{ms:>8.1f} ms")


if __name__ == "__main__":
    main()
