# SPDX-License-Identifier: GPL-2.0-or-later
"""Scheduling of the guest's tasks: ours and the kernel's own threads."""

from __future__ import annotations

import fnmatch
import os
import time

from softnet.lab.guest.files import task_names
from softnet.lab.guest.plans import ThreadWish

_POLICIES = {"other": os.SCHED_OTHER, "fifo": os.SCHED_FIFO, "rr": os.SCHED_RR}


def become(name: str, cpu: int, sched: str, nice: int) -> None:
    """Name the calling task, pin it to ``cpu`` and give it ``sched``, "other" or "fifo:50"."""
    with open("/proc/self/comm", "w") as stream:
        stream.write(name[:15])
    os.sched_setaffinity(0, {cpu})
    set_policy(0, sched)
    if nice:
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def home(pid: int) -> int | None:
    """The one CPU that a task may run on; None if there are several, or no such task."""
    try:
        cpus = os.sched_getaffinity(pid)
    except ProcessLookupError:
        return None
    return next(iter(cpus)) if len(cpus) == 1 else None


def set_policy(pid: int, sched: str) -> None:
    """Policy of one task, and its priority or, of "other:5", its nice value."""
    name, _, text = sched.partition(":")
    number = int(text or 0)
    os.sched_setscheduler(pid, _POLICIES[name], os.sched_param(0 if name == "other" else number))
    if name == "other" and number:
        os.setpriority(os.PRIO_PROCESS, pid, number)


def apply(wishes: list[ThreadWish]) -> list[list[object]]:
    """Give kernel threads their policy; each wish is [pattern of the name, sched, CPUs or None].

    Returns [pattern, sched, number of threads] for each.
    """
    names = task_names()
    done: list[list[object]] = []
    for pattern, sched, cpus in wishes:
        hits = [pid for pid, name in names.items() if fnmatch.fnmatchcase(name, pattern)]
        for pid in hits:
            set_policy(int(pid), sched)
            if cpus is not None:
                os.sched_setaffinity(int(pid), set(cpus))
        done.append([pattern, sched, len(hits)])
    return done


def sleep_until(when_ns: int) -> None:
    """Sleep until a time of the monotonic clock, in ns; a time that has passed is no wait."""
    left = when_ns - time.monotonic_ns()
    if left > 0:
        time.sleep(left / 1e9)
