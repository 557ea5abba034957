#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A task that sleeps on another CPU is woken: the events of this machine's own kernel beside the model's, in their order.

A task on one CPU writes to a pipe, another one, bound to a second CPU, reads it. The kernel's own tracepoints say what happens from
sched_waking to the switch to the reader, on the waker's CPU (w) and on the woken one (r), and whether that CPU was idle. The model
does the same with a sender and an application. Without the rights to trace it says so and leaves with 0.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TRACING = Path("/sys/kernel/tracing")
INTERVAL_S = 0.003
EVENTS = (
    "sched/sched_waking", "sched/sched_wakeup", "sched/sched_switch", "sched/sched_wake_idle_without_ipi", "csd/csd_queue_cpu",
    "csd/csd_function_entry", "csd/csd_function_exit", "ipi/ipi_send_cpu", "irq_vectors/call_function_single_entry",
    "irq_vectors/call_function_single_exit", "irq_vectors/reschedule_entry", "irq_vectors/reschedule_exit",
)  # fmt: skip
LINE = re.compile(r"-(\d+) +\[(\d+)\] +\S+ +\d+\.\d+: (\w+): (.*)")
Order = tuple[str, ...]


def unable() -> str:
    """Why nothing can be measured here; empty where it can."""
    if not os.access(TRACING / "instances", os.W_OK) or os.geteuid() != 0:
        return "no rights to trace this kernel (tracefs, root)"
    missing = [event for event in EVENTS if not (TRACING / "events" / event).is_dir()]
    if missing:
        return f"this kernel has no tracepoint {missing[0]}"
    if len(os.sched_getaffinity(0)) < 2:
        return "one CPU"
    if "PREEMPT_RT" in os.uname().version:
        return "PREEMPT_RT has no TTWU_QUEUE"
    return ""


@contextmanager
def instance() -> Iterator[Path]:
    """A tracing instance of this program's own."""
    path = TRACING / "instances" / f"softnet-wakelist-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        (path / "tracing_on").write_text("0")
        path.rmdir()


def recorded(wakeups: int) -> list[tuple[bool, Order]]:
    """Of each wakeup on this machine: whether the reader's CPU idled, and the events in their order."""
    waker_cpu, reader_cpu = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.sched_setaffinity(0, {reader_cpu})
        while os.read(read, 1):
            pass
        os._exit(0)
    try:
        os.sched_setaffinity(0, {waker_cpu})
        with instance() as trace:
            (trace / "buffer_size_kb").write_text("8192")
            (trace / "trace_clock").write_text("global")
            for event in EVENTS:
                (trace / "events" / event / "enable").write_text("1")
            for _ in range(wakeups):
                time.sleep(INTERVAL_S)
                os.write(write, b"x")
            time.sleep(INTERVAL_S)
            (trace / "tracing_on").write_text("0")
            text = (trace / "trace").read_text()
    finally:
        os.sched_setaffinity(0, before)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
        os.close(write)
    return list(orders(text, os.getpid(), pid, reader_cpu))


def orders(text: str, waker: int, reader: int, reader_cpu: int) -> Iterator[tuple[bool, Order]]:
    """From each sched_waking of the reader by the waker to the switch to it."""
    idle = False
    was_idle = False
    found: list[str] | None = None
    for line in map(LINE.search, text.splitlines()):
        if line is None:
            continue
        pid, cpu, event, what = int(line[1]), int(line[2]), line[3], line[4]
        if event == "sched_switch" and cpu == reader_cpu:
            idle = " next_pid=0 " in what
            if found is not None and f" next_pid={reader} " in what:
                yield was_idle, (*found, "r sched_switch")
                found = None
        elif event == "sched_waking":
            if pid == waker and f" pid={reader} " in what:
                found, was_idle = ["w sched_waking"], idle
        elif found is not None and (pid == waker or cpu == reader_cpu):
            if event == "sched_wakeup" and f" pid={reader} " not in what:
                continue
            if event.startswith("csd_") and "sched_ttwu_pending" not in what:
                continue
            if event == "sched_switch" or (event in ("ipi_send_cpu", "sched_wake_idle_without_ipi") and cpu == reader_cpu):
                continue
            found.append(("r " if cpu == reader_cpu else "w ") + event)


VECTORS = {2: "call_function_single", 3: "reschedule"}


def modelled(kernel: str, **tables: Any) -> list[Order]:
    """The same of the model, of packets that wake an application; CPUs idle by hlt. ``tables``: more of the scenario."""
    from softnet.scenario import apply_kernel, scenario_from_dict
    from softnet.simulate.simulation import Simulation
    from softnet.trace import EVENTS as NAMES

    raw: dict[str, Any] = {
        "machine": {"cpus": 2},
        "kernel": {"hz": 250, "preempt": "none", "boot_args": ["idle=halt"]},
        "application": [{"name": "sink", "kind": "udp", "cpu": 1, "dst_ports": [9]}],
        "sender": [{"cpu": 0, "to": "sink", "interval_ns": 700_000, "size": 106}],
        "measure": {"duration_ms": 12, "warmup_ms": 0},
    }
    simulation = Simulation(scenario_from_dict(apply_kernel(raw | tables, kernel)), trace="full", engine="reference")
    simulation.finish()
    (pid,) = [task.pid for task in simulation.image.tasks if task.comm == "sink"]
    out: list[Order] = []
    found: list[str] | None = None
    for record in simulation.recorder.records:
        event = NAMES[record.event].name
        if event == "sched_waking" and record.a == pid and record.cpu == 0:
            found = ["w sched_waking"]
        elif found is None:
            continue
        elif event == "sched_switch" and record.cpu == 1 and record.b == pid:
            out.append((*found, "r sched_switch"))
            found = None
        else:
            if event in ("irq_handler_entry", "irq_handler_exit"):
                event = f"{VECTORS.get(record.a, '')}{event.removeprefix('irq_handler')}"
            if event in {name.partition("/")[2] for name in EVENTS} and event != "sched_switch":
                found.append(("r " if record.cpu == 1 else "w ") + event)
    return out


def main() -> int:
    """The orders and how often each was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wakeups", type=int, default=2000)
    parser.add_argument("--kernel", default="6.18", help="the model's release")
    args = parser.parse_args()
    why = unable()
    if why:
        print(f"{why}: nothing measured")
        return 0
    found = recorded(args.wakeups)
    hog = [{"kind": "hog", "cpu": 1}]
    for idle, name in ((True, "idle"), (False, "busy")):
        seen = Counter(order for was_idle, order in found if was_idle == idle)
        print(f"{platform.release()}, the reader's CPU {name}: {sum(seen.values())} wakeups")
        for order, count in seen.most_common(4):
            print(f"{count:>7}  {', '.join(order)}")
        model = Counter(modelled(args.kernel, task=[] if idle else hog))
        print(f"  model  {', '.join(model.most_common(1)[0][0])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
