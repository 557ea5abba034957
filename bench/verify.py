#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet's explorer beside SPIN on the exported model: transitions a second, memory, and that both count the same.

Each line is the median of processor seconds of the search alone (compiling and booting are not in it), the engines in turn;
`ratio` is how many times SPIN's (as it comes, -DNOREDUCE) transitions a second that is. Needs spin and gcc.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from softnet.report.verify import verdict_text, why_text
from softnet.verify.arena import Arena, Limits
from softnet.verify.inside import words
from softnet.verify.model import Config
from softnet.verify.parallel import search_all
from softnet.verify.promela import Export, export, vector_bytes_max
from softnet.verify.search import search
from softnet.verify.standard import standard

SPIN_OPTIONS = {"SPIN": (), "SPIN -DCOLLAPSE": ("-DCOLLAPSE",), "SPIN -DHC4": ("-DHC4",)}
"""-DHC4: SPIN's hash compaction with 4 + 4 bytes, as many as softnet's."""


@dataclass
class Run:
    """One search."""

    states: int
    transitions: int
    seconds: float
    megabytes: float


def softnet(config: Config, storage: str) -> Run:
    """The explorer, its code compiled and loaded before the clock starts."""
    machine = Arena(replace(config, owned=False), Limits(storage=storage))
    machine.settle()
    begin = time.process_time()
    code = machine.start()
    while code == words.VX_MORE:
        code = machine.explore(1_000_000)
    seconds = time.process_time() - begin
    if code != words.VX_DONE:
        sys.exit(f"{config.name}: the search ended with {code}")
    return Run(machine.get("states"), machine.get("transitions"), seconds, machine.bytes_used() / 1e6)


def spin(written: Export, folder: Path, program: str) -> Run:
    """SPIN's search, its table of the size that suits the number of states."""
    before = os.times()
    bits = max(written.states.bit_length() + 1, 16)
    ran = subprocess.run([f"./{program}", "-m1000000", f"-w{bits}"], cwd=folder, check=True, capture_output=True, text=True)
    after = os.times()
    states, transitions = (int(re.findall(rf"(\d+) {what}", ran.stdout)[0]) for what in ("states, stored", "transitions"))
    memory = float(re.findall(r"([\d.]+)\s+total actual memory", ran.stdout)[0])
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    if "errors: 0" not in ran.stdout:
        sys.exit(ran.stdout)
    return Run(states, transitions, seconds, memory)


def bench(config: Config, rounds: int) -> None:
    """All engines on one configuration."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = export(config, folder / "model.pml")
        subprocess.run(["spin", "-a", "model.pml"], cwd=folder, check=True, capture_output=True)
        common = ["gcc", "-O2", "-w", "-DSAFETY", "-DNOREDUCE", f"-DVECTORSZ={vector_bytes_max(written.vector_bytes)}"]
        for number, options in enumerate(SPIN_OPTIONS.values()):
            subprocess.run([*common, *options, "-o", f"pan{number}", "pan.c"], cwd=folder, check=True)
        runs: dict[str, list[Run]] = {}
        for _ in range(rounds):
            for storage in ("exact", "compact"):
                runs.setdefault(f"softnet {storage}", []).append(softnet(config, storage))
            for number, label in enumerate(SPIN_OPTIONS):
                runs.setdefault(label, []).append(spin(written, folder, f"pan{number}"))
    for label, found in runs.items():
        expected = (written.spin_states, written.spin_transitions) if "SPIN" in label else (written.states, written.transitions)
        if {(r.states, r.transitions) for r in found} != {expected} and "HC" not in label:
            sys.exit(f"{label} counts {found[0]} where {expected} was expected")
    rate = {label: found[0].transitions / statistics.median(r.seconds for r in found) for label, found in runs.items()}
    print(f"\n{config.kernel}, {config.cpus} CPUs, {config.name}: {written.states:,} states, {written.vector_bytes} bytes each")
    for label, found in runs.items():
        seconds = statistics.median(r.seconds for r in found)
        print(
            f"  {label:<16}{found[0].states / seconds / 1e6:>7.2f} M states/s{rate[label] / 1e6:>7.2f} M transitions/s"
            f"{rate[label] / rate['SPIN']:>7.1f} ratio{found[0].megabytes:>9.0f} MB"
        )


def owners(rounds: int) -> None:
    """Hash compaction at 3 CPUs as `softnet verify` runs it: with ownership, runs by chance and restarts in its time."""
    print("\nhash compaction at 3 CPUs with ownership")
    for kernel, number in (("6.12", 4), ("6.12-threads", 4)):
        config = standard(kernel, 3)[number]
        seconds = []
        for _ in range(rounds):
            begin = time.process_time()
            outcome = search(config, Limits(storage="compact"))
            seconds.append(time.process_time() - begin)
        if not outcome.holds:
            sys.exit(f"{config.name}: {verdict_text(outcome)} {why_text(outcome)}")
        taken = statistics.median(seconds)
        print(
            f"  {kernel:<14}{config.name:<16}{outcome.states:>12,} states{outcome.states / taken / 1e6:>7.2f} M states/s"
            f"{outcome.transitions / taken / 1e6:>7.2f} M transitions/s{outcome.bytes_used / outcome.states:>6.0f} bytes a state"
        )


def cores(rounds: int) -> None:
    """What a second core brings: two searches at once against one after the other, by the clock on the wall."""
    config = standard("6.12-threads")[5]
    limits = Limits(storage="compact", memory_bytes=1 << 30)
    list(search_all([config], limits, 3600, 1))  # The code is compiled from here on.
    ratios = []
    for _ in range(rounds):
        alone = max(seconds for _, seconds in search_all([config], limits, 3600, 1))
        both = max(seconds for _, seconds in search_all([config, config], limits, 3600, 2))
        ratios.append(2 * alone / both)
    print(f"\ntwo searches at once: {statistics.median(ratios):.2f} times as much as one after the other")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {rounds} rounds")
    for kernel, number, cpus in (("6.12", 5, 2), ("6.12-threads", 5, 2), ("6.12-rt", 3, 2), ("6.12", 1, 3), ("6.12-threads", 1, 3)):
        config = standard(kernel, cpus)[number]
        bench(config, rounds)
    owners(rounds)
    cores(rounds)


if __name__ == "__main__":
    main()
