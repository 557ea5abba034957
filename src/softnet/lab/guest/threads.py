# SPDX-License-Identifier: GPL-2.0-or-later
"""Scheduling of the guest's tasks: ours and the kernel's own threads."""

from __future__ import annotations

import fnmatch
import os

POLICIES = {"other": os.SCHED_OTHER, "fifo": os.SCHED_FIFO, "rr": os.SCHED_RR, "batch": os.SCHED_BATCH}


def become(cpu, sched: str, nice: int = 0) -> None:
    """Pin the calling task to ``cpu`` and give it ``sched``, "other" or "fifo:50"."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    set_policy(0, sched)
    if nice:
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def set_policy(pid: int, sched: str) -> None:
    name, _, priority = sched.partition(":")
    os.sched_setscheduler(pid, POLICIES[name], os.sched_param(int(priority or 0)))


def apply(wishes: list) -> list:
    """Give kernel threads their policy; each wish is [pattern of the name, sched]. Returns what was set."""
    done = []
    for pattern, sched in wishes:
        hits = 0
        for entry in sorted(os.listdir("/proc")):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/comm") as stream:
                    name = stream.read().strip()
            except OSError:
                continue
            if fnmatch.fnmatch(name, pattern):
                set_policy(int(entry), sched)
                hits += 1
        done.append([pattern, sched, hits])
    return done
