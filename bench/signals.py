# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left when a command is ended by SIGTERM, SIGHUP, SIGINT or SIGKILL, at twenty moments of its life each.

    python bench/signals.py [--moments 20] [--only run,compare,verify,cold,lab] [--signals TERM,HUP,INT,KILL]

Each command is run once undisturbed, which gives its length; then the signal comes at evenly spaced moments of it, to the first
process alone, and for SIGINT to all of its process group, as from a terminal. Within five seconds nothing may be left: no process
(each carries a mark in its environment), no temporary file or folder, no half of a result, no half of an entry in the cache; and
after SIGINT the command must have ended within a second. Prints a table; ends with 1 if a figure of it is not 0.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.leftovers import half_results, marked, temporary

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL)
GONE_SECONDS, ANSWER_SECONDS = 5.0, 1.0

COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "examples/seed.toml", "--out", "OUT", "--quiet"),
    "compare": ("compare", "examples/seed.toml", "--arm", "6.9-rt", "--arm", "6.10-rt", "--seeds", "4", "--jobs", "2",
                "--out", "OUT", "--quiet"),
    "verify": ("verify", "--kernel", "6.12", "--kernel", "6.12-rt", "--jobs", "2", "--quiet", "--max-seconds", "5",
               "--driver", "free:1:2", "--driver", "netif_rx:0:2"),
    "cold": ("run", "examples/loopback.toml", "--out", "OUT", "--quiet"),
    "lab": ("lab", "run", "examples/loopback.toml", "--kernel", "6.12", "--out", "OUT", "--quiet"),
}  # fmt: skip


class Ending(NamedTuple):
    """What came of one signal."""

    ended: bool
    """Whether the command was still there when it came."""
    seconds: float
    """Until it had gone."""
    left: list[str]


class Place:
    """A folder of its own for a command: what is temporary, cached and written."""

    def __init__(self, command: str, cache: Path | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="softnet-signals-"))
        self.out = self.folder / "out"
        self.tmp = self.folder / "tmp"
        self.tmp.mkdir()
        self.cache = self.folder / "cache"
        if cache is not None and command != "cold":
            shutil.copytree(cache, self.cache, symlinks=True)
        self.mark = f"{self.folder.name}-{time.monotonic_ns()}"
        self.words = [str(self.out) if word == "OUT" else word for word in COMMANDS[command]]

    def start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "TMPDIR": str(self.tmp), "SOFTNET_CACHE": str(self.cache), "SOFTNET_MARK": self.mark, "PYTHONPATH": str(ROOT / "src"),
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "softnet", *self.words], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def left(self) -> list[str]:
        """Everything that should not be there."""
        found = [f"process {words}" for words in marked("SOFTNET_MARK", self.mark)]
        found += temporary(self.tmp, self.out.parent, self.cache)
        return found + half_results(self.out)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def end(command: str, number: signal.Signals, after_seconds: float, cache: Path | None) -> Ending:
    """Run the command, send the signal at that moment, and look at what is left."""
    place = Place(command, cache)
    process = place.start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after_seconds)
    begin = time.monotonic()
    ended = process.poll() is None
    if ended and number is signal.SIGINT:
        os.killpg(process.pid, number)
    elif ended:
        process.send_signal(number)
    process.wait()
    seconds = time.monotonic() - begin
    left = place.left()
    while left and time.monotonic() - begin < GONE_SECONDS:
        time.sleep(0.05)
        left = place.left()
    place.remove()
    return Ending(ended, seconds, left)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--only", default=",".join(COMMANDS))
    parser.add_argument("--signals", default=",".join(number.name.removeprefix("SIG") for number in SIGNALS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wrong, rows = 0, []
    print(
        f"{'command':<10}{'seconds':>8} {'signal':<9}{'moments':>8}{'something left':>15}{'longest to end, s':>19}{'too long':>9}"
    )
    for command in options.only.split(","):
        place = Place(command, None)
        warm = place.start()
        warm.wait()
        begin = time.monotonic()
        if command != "cold":
            again = Place(command, place.cache)
            again.start().wait()
            length = time.monotonic() - begin
            again.remove()
        else:
            again = Place(command, None)
            again.start().wait()
            length = time.monotonic() - begin
            again.remove()
        for number in (signal.Signals[f"SIG{name}"] for name in options.signals.split(",")):
            found = [end(command, number, length * (n + 0.5) / options.moments, place.cache) for n in range(options.moments)]
            hit = [one for one in found if one.ended]
            left = [one for one in hit if one.left]
            longest = max((one.seconds for one in hit), default=0.0)
            late = sum(one.seconds > (ANSWER_SECONDS if number is signal.SIGINT else GONE_SECONDS) for one in hit)
            wrong += len(left) + late
            rows.append({"command": command, "signal": number.name, "moments": len(hit), "left": [one.left for one in left],
                         "seconds": [round(one.seconds, 3) for one in hit]})  # fmt: skip
            print(f"{command:<10}{length:>8.1f} {number.name:<9}{len(hit):>8}{len(left):>15}{longest:>19.2f}{late:>9}", flush=True)
            for one in left:
                print("    " + "; ".join(one.left)[:300], flush=True)
        place.remove()
    if options.json:
        print(json.dumps(rows, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
