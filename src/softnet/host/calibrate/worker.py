# SPDX-License-Identifier: GPL-2.0-or-later
"""The process that measures: in a network namespace of its own, with a tracing instance of its own, both gone when it is.

It prints an object of JSON on a line: progress, and in the end what it measured. When its input ends, whoever started it is gone:
it removes its instance and ends. Should it be killed itself, its parent removes the instance; should both be, the next start does.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
from typing import Any, Final

from softnet.errors import HostError, SoftnetError
from softnet.host.calibrate import traced
from softnet.host.calibrate.estimate import estimate
from softnet.host.calibrate.user import Measure, Places
from softnet.host.tracefs import Instance, tracing_folder
from softnet.host.tree import Tree

TURNS: Final = 600
STRETCHES: Final = 4
EXPERIMENTS: Final = (("udp", False), ("udp", True), ("tcp", False), ("tcp", True), ("tun", False))
"""Kind of socket, and whether the reader is on the other CPU."""
PAUSES_US: Final = (50, 3000)
"""Between sends: what a packet costs when caches are warmer and when they are colder than in the experiments."""
STEPS: Final = 11 + 2 * len(EXPERIMENTS)


def say(row: dict[str, Any]) -> None:
    """A line to who started this."""
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def places(allowed: list[int], tree: Tree) -> Places:
    """Two CPUs that are not threads of one core, if there are, the first not CPU 0 if there are more; and one of another node."""
    usual = [cpu for cpu in allowed if cpu] if len(allowed) > 2 else allowed
    home = usual[0]

    def of(path: str, cpu: int) -> str:
        return (tree.text(f"/sys/devices/system/cpu/cpu{cpu}/{path}") or "").strip()

    nodes = {}
    for node in tree.names("/sys/devices/system/node"):
        if re.fullmatch(r"node[0-9]+", node):
            found = (re.fullmatch(r"cpu([0-9]+)", name) for name in tree.names(f"/sys/devices/system/node/{node}"))
            nodes.update({int(match[1]): node for match in found if match})
    rest = [cpu for cpu in usual if cpu != home]
    near = [cpu for cpu in rest if nodes.get(cpu) == nodes.get(home)]
    siblings = of("topology/thread_siblings_list", home)
    own_core = [cpu for cpu in near if siblings and of("topology/thread_siblings_list", cpu) != siblings]
    other = next(iter(own_core or near or rest), None)
    return Places(home, other, next((cpu for cpu in rest if nodes.get(cpu) != nodes.get(home)), None))


class _Watch:
    """Ends this process when its input does: the instance first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.instance: Instance | None = None
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with self.lock:
            for _ in range(3):  # the other thread may open a buffer again meanwhile
                with contextlib.suppress(HostError, OSError):
                    if self.instance is not None:
                        self.instance.close()
                    break
            os._exit(1)


@contextlib.contextmanager
def watched(watch: _Watch) -> Any:
    """A tracing instance that goes whatever ends this process, kill -9 of this process itself excepted."""
    with watch.lock:
        instance = Instance(tracing_folder())
        instance.__enter__()
        watch.instance = instance
    try:
        traced.prepare(instance)
        yield instance
    finally:
        with watch.lock:
            watch.instance = None
            instance.__exit__()


def told(found: dict[str, list[int]]) -> dict[str, dict[str, int]]:
    """Stage -> its estimate, of those that were seen often enough."""
    out = {}
    for name, times in sorted(found.items()):
        with contextlib.suppress(HostError):
            out[name] = estimate(times).to_dict()
    return out


def experiment(kind: str, at: tuple[int, int], turns: int, instance: Instance | None) -> dict[str, Any]:
    """One flow in stretches: bare, traced, bare, traced, ..."""
    bare, seen = [], []
    for _ in range(STRETCHES):
        bare.append(traced.flow(kind, at, turns // STRETCHES, None))
        if instance is not None:
            seen.append(traced.flow(kind, at, turns // STRETCHES, instance))
    sends = {"whole": [(end - start) * 1000 for found in bare for start, end in found.sends]}
    reads = {"recv": [(read - woke) * 1000 for found in bare for _, woke, read in found.serves[:-1]]}
    reads["way"] = [took for found in bare for took in traced.ways(found)]
    out: dict[str, Any] = {"kind": kind, "apart": at[0] != at[1], "bare": told({**sends, **reads})}
    if seen:
        close, added, taken = traced.event_cost(seen, bare)
        out["event"] = {"added": added.to_dict(), "close": close.to_dict() if close is not None else None, "taken_ps": taken}
        out["events"] = traced.events_per_send(seen[0])
        stages: dict[str, list[int]] = {}
        for one in seen:
            found = traced.all_polls(one, taken) if kind == "tun" else traced.all_sends(one, taken)
            for part in (found, traced.all_reads(one, taken), traced.all_runs(one, taken)):
                for name, times in part.items():
                    stages.setdefault(name, []).extend(times)
        out["traced"] = told(stages)
    return out


def measure(share: int, tracing: bool, watch: _Watch, network: str) -> dict[str, Any]:
    """All of it, as what is printed in the end."""
    allowed = sorted(os.sched_getaffinity(0))
    at = places(allowed, Tree("/"))
    measuring = Measure(at, share)
    number = 0
    for name, work, rows in measuring.steps():
        say({"step": number, "of": STEPS, "what": name})
        measuring.step(work, rows)
        number += 1
    out: dict[str, Any] = {
        "places": [at.home, at.other, at.far],
        "rows": {name: {"estimate": cost.to_dict(), "how": how} for name, (cost, how) in measuring.out.rows.items()},
        "figures": {name: cost.to_dict() for name, cost in measuring.out.figures.items()},
        "failed": measuring.out.failed, "flows": [], "pauses": [], "notes": [], "removed": [],
    }  # fmt: skip
    if network:
        out["notes"].append(f"no network namespace of its own ({network}): packets went over this machine's loopback")
    with contextlib.ExitStack() as kept:
        instance = None
        if tracing:
            try:
                instance = kept.enter_context(watched(watch))
                out["removed"] = instance.removed
            except (HostError, OSError) as error:
                out["notes"].append(f"nothing was traced: {error}")
        for kind, apart in EXPERIMENTS:
            say({"step": number, "of": STEPS, "what": f"{kind.upper()} {'to another CPU' if apart else 'on one CPU'}"})
            number += 2
            if (apart and at.other is None) or (kind == "tun" and instance is None):
                continue
            try:
                pair = (at.home, at.other if apart and at.other is not None else at.home)
                out["flows"].append(experiment(kind, pair, measuring.times(TURNS), instance))
            except (OSError, HostError) as error:
                out["notes"].append(f"{kind} {'to another CPU' if apart else 'on one CPU'} was not measured: {error}")
    say({"step": STEPS - 1, "of": STEPS, "what": "pauses"})
    for pause in PAUSES_US:
        with contextlib.suppress(OSError, HostError):
            found = traced.flow("udp", (at.home, at.home), measuring.times(TURNS // 4), None, gap_us=pause)
            out["pauses"].append([pause, estimate((end - start) * 1000 for start, end in found.sends).to_dict()])
    return out


def main(words: list[str]) -> int:
    """``share`` of 1000, and "trace" or not."""
    share, tracing = int(words[0]), "trace" in words[1:]
    network = traced.own_network()
    watch = _Watch()
    try:
        say({"done": measure(share, tracing, watch, network), "cpu_s": sum(os.times()[:4])})
    except SoftnetError as error:
        say({"error": [error.message, error.where, error.found, error.expected, error.hint]})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
