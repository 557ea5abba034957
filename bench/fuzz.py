# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutated inputs for every reader and every option's text, from fixed seeds: a table that should be all zeros on its right.

    python bench/fuzz.py [--count 25000] [--only "lab frames,BTF"] [--jobs 1]

Each target runs in a process of its own, with bounded memory and CPU time an input (tests/mutating.py); one that dies goes on
behind the input that killed it. Kernels with a patch, which take a tenth of a second, are a tenth of the count. A failure ends it
with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fuzzing import ROOT, TARGETS
from tests.mutating import Target


class Found(NamedTuple):
    """What came of a target."""

    inputs: int
    taken: int
    refused: int
    exceptions: list[str]
    hangs: list[str]
    deaths: list[str]
    seconds: float


def fuzz(target: Target, count: int) -> Found:
    """Run a target's inputs, in as many processes as die."""
    begin, number, end = time.monotonic(), 0, max(count // target.share, 1)
    tally = {"inputs": 0, "taken": 0, "refused": 0}
    exceptions: list[str] = []
    hangs: list[str] = []
    deaths: list[str] = []
    place = tempfile.mkdtemp(prefix="softnet-fuzz-")
    environment = os.environ | {
        "SOFTNET_CACHE": f"{place}/cache",
        "TMPDIR": place,
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
    }
    while number < end:
        words = [sys.executable, "-m", "tests.fuzzing", target.name, str(number), str(end - number)]
        with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            at, done = number - 1, False
            for line in process.stdout:
                told = json.loads(line)
                if isinstance(told, dict):
                    done = True
                    for key in tally:
                        tally[key] += told[key]
                    continue
                at, failure = told
                if failure:
                    (hangs if "hangs" in failure else exceptions).append(f"{target.name} {at}: {failure}")
        if done:
            break
        deaths.append(f"{target.name} {at}: the process died with {process.returncode}")
        number = at + 1
    shutil.rmtree(place, ignore_errors=True)
    return Found(**tally, exceptions=exceptions, hangs=hangs, deaths=deaths, seconds=time.monotonic() - begin)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=25_000)
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    chosen = [target for target in TARGETS if not options.only or target.name in options.only.split(",")]
    wrong = 0
    print(f"{'':<20}{'inputs':>9}{'taken':>9}{'refused':>9}{'seconds':>9}{'exceptions':>12}{'hangs':>7}{'deaths':>8}", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        for target, found in zip(chosen, pool.map(lambda target: fuzz(target, options.count), chosen), strict=True):
            bad = [found.exceptions, found.hangs, found.deaths]
            wrong += sum(map(len, bad))
            print(
                f"{target.name:<20}{found.inputs:>9,}{found.taken:>9,}{found.refused:>9,}{found.seconds:>9.0f}"
                f"{len(bad[0]):>12}{len(bad[1]):>7}{len(bad[2]):>8}",
                flush=True,
            )
            for line in [line for lines in bad for line in lines][:10]:
                print(f"    {line[:220]}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
