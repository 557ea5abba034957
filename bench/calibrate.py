#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Doubt of softnet host calibrate: this machine's kernel against the model with the default table and with a calibrated one.

Packets over the loopback device of a network namespace of this program's own, in ways that no table was fitted to: other sizes and
gaps, RPS, a busy CPU, a flood. Times are those of the programs' own clock, without tracepoints: how long a send takes, how long a
recv(), and how long from the send's call to the end of the recv(). RPS needs root. The table is made here unless one is named.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softnet.host.calibrate.fit import HEADERS, Model
from softnet.host.calibrate.loops import loops
from softnet.host.calibrate.traced import flow, own_network
from softnet.host.calibrate.user import child
from softnet.machine.costtable import CostTable, load_cost_table
from softnet.scenario import apply_kernel, scenario_from_dict
from softnet.simulate.simulation import Simulation
from softnet.trace import EVENT_ID

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 0x40000


@dataclass(frozen=True)
class Case:
    """What is sent: ``apart``: the reader is on another CPU; ``busy``: beside a task that computes; ``rps``: onto that CPU."""

    name: str
    kind: str = "udp"
    size: int = 64
    gap_us: int = 1000
    apart: bool = True
    busy: bool = False
    rps: bool = False
    turns: int = 800


CASES = (
    Case("UDP, 1,400 bytes, one CPU", size=1400, apart=False),
    Case("UDP, 64 bytes each 50 us, one CPU", gap_us=50, apart=False),
    Case("TCP, 1,000 bytes, one CPU", "tcp", 1000, apart=False),
    Case("UDP, 1,400 bytes, to another CPU", size=1400),
    Case("UDP, 64 bytes each 3 ms, to another CPU", gap_us=3000, turns=400),
    Case("TCP, 1,000 bytes, to another CPU", "tcp", 1000),
    Case("UDP, 64 bytes, to a busy CPU", busy=True),
    Case("UDP, 64 bytes, RPS to the reader's CPU", rps=True),
    Case("UDP, 64 bytes, RPS to the reader's busy CPU", rps=True, busy=True),
    Case("UDP, 64 bytes, a flood to another CPU", gap_us=0, turns=60_000),
)


def quantile(values: list[int], permille: int) -> int:
    """Of ns; 0 of nothing."""
    return sorted(values)[min(len(values) * permille // 1000, len(values) - 1)] if values else 0


def figures(sends: list[tuple[int, int]], recvs: list[int], ways: list[int], flood: bool) -> dict[str, int]:
    """What is compared, in ns."""
    if flood:
        span = sends[-1][1] - sends[0][0] if sends else 0
        return {"a send's share of the time": span // max(len(sends), 1), "a read's share": span // max(len(ways), 1)}
    return {
        "send, p50": quantile([end - start for start, end in sends], 500),
        "recv, p50": quantile(recvs, 500),
        "call to read, p50": quantile(ways, 500),
        "call to read, p90": quantile(ways, 900),
        "call to read, p99": quantile(ways, 990),
    }


@contextmanager
def steered(case: Case, cpu: int) -> Iterator[None]:
    """RPS of lo, in a mount namespace where /sys shows this network namespace."""
    path = Path("/sys/class/net/lo/queues/rx-0/rps_cpus")
    if case.rps:
        path.write_text(f"{1 << cpu:x}")
    try:
        yield
    finally:
        if case.rps:
            path.write_text("0")


def measured(case: Case, cpus: tuple[int, int]) -> tuple[dict[str, int], int]:
    """The kernel's figures, and the mean time from send to send."""
    home, other = cpus
    with ExitStack() as kept:
        kept.enter_context(steered(case, other))
        if case.busy:
            kept.enter_context(child(lambda: loops()["nothing"](1_000_000), other))
        found = flow(case.kind, (home, other if case.apart else home), case.turns, None, size=case.size, gap_us=case.gap_us)
    sends = [send for send in found.sends if send[1]]
    starts = [start for start, _ in sends]
    recvs = [read - woke for _, woke, read in found.serves[:-1]]
    if case.gap_us:  # one packet is on its way at a time: each read belongs to the send before it
        ways = [read - starts[at - 1] for _, _, read in found.serves if (at := bisect_left(starts, read)) > 0]
    else:
        ways = [read for _, _, read in found.serves if read <= sends[-1][1]]
    gap = (starts[-1] - starts[0]) // max(len(starts) - 1, 1)
    return figures(sends, recvs, ways, not case.gap_us), gap


def modelled(case: Case, gap: int, table: CostTable, kernel: str) -> dict[str, int]:
    """The model's."""
    costs = {name: row.base for name, row in table.rows.items()}
    flood = not case.gap_us
    turns = 4000 if flood else 150
    raw: dict[str, Any] = {
        "machine": {"cpus": 2},
        "kernel": {"preempt": "none", "boot_args": ["idle=halt"]},
        "loopback": {"rps_cpus": [1] if case.rps else []},
        "application": [{"name": "reader", "kind": case.kind, "cpu": int(case.apart), "dst_ports": [9], "service_ns": 0,
                         "sched": "fifo:5" if case.apart else "other"}],
        "sender": [{"cpu": 0, "to": "reader", "interval_ns": 10 if flood else gap, "size": case.size + HEADERS[case.kind]}],
        "task": [{"kind": "hog", "cpu": 1}] if case.busy else [],
        "measure": {"duration_ms": 20 if flood else max(turns * gap // 1_000_000, 1), "warmup_ms": 0},
    }  # fmt: skip
    simulation = Simulation(scenario_from_dict(apply_kernel(raw, kernel)), costs=table, trace="full", engine="reference")
    simulation.finish()
    pids = {task.comm: task.pid for task in simulation.image.tasks}
    sender = next(pid for comm, pid in pids.items() if comm.startswith("send"))
    reader = pids["reader"]
    switch, netif_rx, deliver = (EVENT_ID[name] for name in ("sched_switch", "netif_rx", "deliver"))
    sends: list[tuple[int, int]] = []
    ways: list[int] = []
    recvs, called, switched, read = [], [], 0, 0
    for record in simulation.recorder.records:
        now = record.time_ns
        if record.event == switch and record.b == sender:
            called.append(now + costs["context_switch"])
        if record.event == switch and record.a == sender and called and not flood:
            sends.append((called[-1], now))
        if record.event == switch and record.b == reader:
            switched = now
        elif record.event == switch and record.a == reader and read:
            recvs.append(now - switched - costs["context_switch"] - costs["syscall"] - costs["ep_poll"])
            ways[-1] += recvs[-1] - (read - switched - costs["context_switch"])
            read = 0
        elif record.event == netif_rx and flood:
            sends.append((now, now))
        elif record.event == deliver:
            read = now
            before = bisect_left(called, now)
            if before:
                ways.append(now - called[before - 1])
    return figures(sends, recvs, ways, flood)


def own_sys() -> str:
    """A mount namespace whose /sys is of this network namespace; why not, or nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() or libc.unshare(CLONE_NEWNS):
        return "RPS needs root"
    libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    if libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None):
        return os.strerror(ctypes.get_errno())
    return ""


def calibrated(path: Path) -> None:
    """Make a table."""
    subprocess.run([sys.executable, "-m", "softnet", "host", "calibrate", "--quiet", "--json", "--out", str(path)], check=True,
                   stdout=subprocess.PIPE)  # fmt: skip


def main() -> int:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--costs", type=Path, help="a table of softnet host calibrate")
    parser.add_argument("--json", type=Path, help="write all figures into this file")
    args = parser.parse_args()
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        print("one CPU: nothing measured")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = args.costs or Path(folder) / "table.toml"
        if args.costs is None:
            calibrated(path)
        tables = {"default": load_cost_table("default"), "calibrated": load_cost_table(str(path))}
    why = own_network()
    no_rps = why or own_sys()
    kernel = Model(os.uname().release).release.name
    print(f"Linux {os.uname().release}, load {os.getloadavg()[0]:.1f}, beside the model's {kernel}; us"
          + (f"; not in a network namespace of its own: {why}" if why else ""))  # fmt: skip
    print(f"{'':<46}{'kernel':>9}{'default':>9}{'error':>8}{'calibrated':>12}{'error':>8}")
    rows: list[dict[str, Any]] = []
    for case in CASES:
        if case.rps and no_rps:
            print(f"{case.name}: {no_rps}")
            continue
        found, gap = measured(case, (allowed[0], allowed[-1]))
        answers = {name: modelled(case, gap, table, kernel) for name, table in tables.items()}
        print(case.name)
        for what, real in found.items():
            cells = f"  {what:<44}{real / 1000:>9.1f}"
            for name, width in (("default", 9), ("calibrated", 12)):
                value = answers[name][what]
                cells += f"{value / 1000:>{width}.1f}{(value - real) * 100 / max(real, 1):>+7.0f}%"
            print(cells, flush=True)
            rows.append({"case": case.name, "what": what, "kernel": real, **{name: answers[name][what] for name in tables}})
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    for what in ("send, p50", "recv, p50", "call to read, p50"):
        its = [row for row in rows if row["what"] == what]
        typical = {name: quantile([abs(row[name] - row["kernel"]) * 1000 // row["kernel"] for row in its], 500) for name in tables}
        print(
            f"{what}: median error {typical['default'] / 10:.0f} % with the default, {typical['calibrated'] / 10:.0f} % calibrated"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
