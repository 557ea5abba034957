#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A UDP receiver beside a hog of its CPU: this machine's own kernel against the model, wakeup by wakeup.

A sender on one CPU sends a packet each 9.7 ms over loopback; the receiver, bound to another, works for so many microseconds on
each; a third task computes there for ever. How long the receiver waits for its CPU is read from the kernel's own tracepoints
(sched_wakeup, sched_switch), and from the model's trace of the same scenario. Who waits more than a millisecond has not preempted.

The three tasks are a session of their own. Where the machine is shared, --alone gives that session nearly the whole CPU (autogroup,
nice -20): other sessions still run now and then, and show in the maxima. Without the rights to trace it says so and leaves with 0.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TRACING = Path("/sys/kernel/tracing")
INTERVAL_NS = 9_700_000
LATE_NS = 1_000_000
LINE = re.compile(r"\[(\d+)\] +\S+ +(\d+)\.(\d+): (sched_wakeup|sched_switch): (.*)")
PRIORITY = 50
PORT = 20_909


def hog(cpu: int) -> None:
    """Compute."""
    os.sched_setaffinity(0, {cpu})
    while True:
        pass


def receiver(cpu: int, service_ns: int) -> None:
    """Receive, and work on each packet."""
    os.sched_setaffinity(0, {cpu})
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", PORT))
    while True:
        sock.recv(64)
        until = time.thread_time_ns() + service_ns
        while time.thread_time_ns() < until:
            pass


def send(cpu: int, packets: int) -> None:
    """A packet each interval, at real-time priority."""
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    at = time.monotonic_ns()
    for _ in range(packets):
        at += INTERVAL_NS
        time.sleep(max(at - time.monotonic_ns(), 0) / 1e9)
        sock.sendto(b"x" * 64, ("127.0.0.1", PORT))


def child(work: Any, *args: int) -> int:
    """The pid of a process that does this work."""
    pid = os.fork()
    if pid == 0:
        try:
            work(*args)
        finally:
            os._exit(0)
    return pid


@contextmanager
def instance() -> Iterator[Path]:
    """A tracing instance of this program's own."""
    path = TRACING / "instances" / f"softnet-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        (path / "tracing_on").write_text("0")
        path.rmdir()


def measured(packets: int, service_ns: int, beside: bool, alone: bool) -> list[int]:
    """How long the receiver waited after each wakeup, in ns."""
    receive_cpu, send_cpu = max(os.sched_getaffinity(0)), min(os.sched_getaffinity(0))
    with instance() as trace:
        os.setsid()
        if alone:
            Path("/proc/self/autogroup").write_text("-20")
        pids = [child(receiver, receive_cpu, service_ns)]
        if beside:
            pids.append(child(hog, receive_cpu))
        (trace / "buffer_size_kb").write_text("16384")
        for event, what in (("sched_wakeup", f"pid=={pids[0]}"), ("sched_switch", f"next_pid=={pids[0]}")):
            (trace / f"events/sched/{event}/filter").write_text(what)
            (trace / f"events/sched/{event}/enable").write_text("1")
        time.sleep(0.5)
        os.waitpid(child(send, send_cpu, packets), 0)
        text = (trace / "trace").read_text()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return list(waits(text))


def waits(text: str) -> Iterator[int]:
    """From each wakeup to the switch that follows."""
    woken = None
    for found in map(LINE.search, text.splitlines()):
        if found is None:
            continue
        at = int(found[2]) * 10**9 + int(found[3].ljust(9, "0"))
        if found[4] == "sched_wakeup":
            woken = at
        elif woken is not None:
            yield at - woken
            woken = None


def modelled(kernel: str, packets: int, service_ns: int, beside: bool, cpus: int, preempt: str) -> list[int]:
    """The same of the model."""
    from softnet.scenario import apply_kernel, scenario_from_dict
    from softnet.simulate.simulation import Simulation
    from softnet.trace import EVENT_ID

    raw: dict[str, Any] = {
        "machine": {"cpus": cpus},
        "kernel": {"hz": 250, "preempt": preempt},
        "application": [{"name": "sink", "kind": "udp", "cpu": cpus - 1, "dst_ports": [9], "service_ns": service_ns}],
        "sender": [{"cpu": 0, "to": "sink", "interval_ns": INTERVAL_NS, "size": 106, "sched": f"fifo:{PRIORITY}"}],
        "measure": {"duration_ms": packets * INTERVAL_NS // 1_000_000, "warmup_ms": 0},
    }
    if beside:
        raw["task"] = [{"kind": "hog", "cpu": cpus - 1}]
    simulation = Simulation(scenario_from_dict(apply_kernel(raw, kernel)), trace="full")
    simulation.finish()
    (pid,) = [task.pid for task in simulation.image.tasks if task.comm == "sink"]
    found, woken = [], None
    for r in simulation.recorder.records:
        if r.event == EVENT_ID["sched_wakeup"] and r.a == pid:
            woken = r.time_ns
        elif r.event == EVENT_ID["sched_switch"] and r.b == pid and woken is not None:
            found.append(r.time_ns - woken)
            woken = None
    return found


def row(name: str, found: list[int]) -> str:
    """A line of the table."""
    ordered = sorted(found) or [0]
    late = [ns for ns in ordered if ns > LATE_NS]
    picked = [ordered[min(int(len(ordered) * q), len(ordered) - 1)] / 1000 for q in (0.5, 0.9, 0.95, 0.99)]
    figures = "".join(f"{us:>10.1f}" for us in (*picked, ordered[-1] / 1000))
    return f"{name:<28}{len(found):>7}{100 * len(late) / max(len(found), 1):>7.1f} %{figures}"


def main() -> int:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="of each measurement")
    parser.add_argument("--kernel", default="6.18", help="the model's release")
    parser.add_argument("--preempt", default="none", help="the model's preemption; this machine's kernel says its own at boot")
    parser.add_argument("--alone", action="store_true", help="give the session nearly the whole CPU")
    args = parser.parse_args()
    if not os.access(TRACING / "instances", os.W_OK) or os.geteuid() != 0:
        print("no rights to trace this kernel (tracefs, root): nothing measured")
        return 0
    cpus = len(os.sched_getaffinity(0))
    if cpus < 2:
        print("one CPU: nothing measured")
        return 0
    packets = args.seconds * 10**9 // INTERVAL_NS
    print(f"{platform.release()}, {cpus} CPUs, beside the model's {args.kernel}; waits in us")
    print(f"{'':<28}{'wakeups':>7}{'> 1 ms':>9}{'p50':>10}{'p90':>10}{'p95':>10}{'p99':>10}{'max':>10}")
    for service_us, beside in ((200, True), (1000, True), (8, True), (200, False)):
        name = f"{service_us} us of work" + (", a hog" if beside else "")
        sys.stdout.flush()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            found = measured(packets, service_us * 1000, beside, args.alone)
            with os.fdopen(write, "w") as out:
                out.write(" ".join(map(str, found)))
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as source:
            found = [int(word) for word in source.read().split()]
        os.waitpid(pid, 0)
        print(row(f"{name}: kernel", found))
        print(row(f"{name}: model", modelled(args.kernel, packets, service_us * 1000, beside, cpus, args.preempt)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
