# SPDX-License-Identifier: GPL-2.0-or-later
"""Scheduling of the guest's tasks: ours and the kernel's own threads."""

from __future__ import annotations

import fnmatch
import os

from softnet.lab.guest.files import task_names

_POLICIES = {"other": os.SCHED_OTHER, "fifo": os.SCHED_FIFO, "rr": os.SCHED_RR}


def become(name: str, cpu: int, sched: str, nice: int) -> None:
    """Name the calling task, pin it to ``cpu`` and give it ``sched``, "other" or "fifo:50"."""
    with open("/proc/self/comm", "w") as stream:
        stream.write(name[:15])
    os.sched_setaffinity(0, {cpu})
    set_policy(0, sched)
    if nice:
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def set_policy(pid: int, sched: str) -> None:
    """Policy and priority of one task."""
    name, _, priority = sched.partition(":")
    number = int(priority or 0) if name != "other" else 0
    os.sched_setscheduler(pid, _POLICIES[name], os.sched_param(number))


def apply(wishes: list[list[str]]) -> list[list[object]]:
    """Give kernel threads their policy; each wish is [pattern of the name, sched]. Returns what was set."""
    names = task_names()
    done: list[list[object]] = []
    for pattern, sched in wishes:
        hits = [pid for pid, name in names.items() if fnmatch.fnmatchcase(name, pattern)]
        for pid in hits:
            set_policy(int(pid), sched)
        done.append([pattern, sched, len(hits)])
    return done
