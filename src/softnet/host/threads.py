# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel threads of the receive path, and whatever else runs at a real-time priority: /proc/PID/stat."""

from __future__ import annotations

import re
from typing import Final, Literal

from softnet.host.cpusets import cpu_list
from softnet.host.model import Thread
from softnet.host.tree import Tree

RECEIVE_PATH: Final = re.compile(r"(ksoftirqd|backlog_napi|ktimers|rcuc)/\d+|napi/.+|irq/.+")
THREADS_MAX: Final = 5000
_Policy = Literal["other", "fifo", "rr", "batch", "idle", "deadline"]
POLICIES: Final[dict[int, _Policy]] = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline"}
"""SCHED_* of include/uapi/linux/sched.h."""
UTIME, STIME, NICE, RT_PRIORITY, POLICY = 11, 12, 16, 37, 38
"""Fields of /proc/PID/stat behind the comm, from 0: fs/proc/array.c, do_task_stat()."""


def thread_fields(tree: Tree, pid: str) -> tuple[str, list[str]]:
    """A process's comm, and the fields behind it; nothing for one that is gone."""
    text = tree.line(f"/proc/{pid}/stat")
    head, closing, tail = text.rpartition(")")
    comm = head.partition("(")[2]
    fields = tail.split()
    if not closing or len(fields) <= POLICY or not all(re.fullmatch(r"-?[0-9]{1,20}", field) for field in fields[1:]):
        return "", []
    return comm[:100], fields


def read_threads(tree: Tree) -> list[Thread]:
    """The threads, by process number."""
    found: list[Thread] = []
    for pid in tree.names("/proc"):
        if not (pid.isascii() and pid.isdecimal()) or len(pid) > 10 or len(found) >= THREADS_MAX:
            continue
        comm, fields = thread_fields(tree, pid)
        if not fields:
            continue
        policy = POLICIES.get(int(fields[POLICY]), "other")
        realtime = policy in ("fifo", "rr", "deadline")
        if not realtime and not RECEIVE_PATH.fullmatch(comm):
            continue
        thread = Thread(pid=int(pid), comm=comm, policy=policy, nice=int(fields[NICE]))
        thread.priority = int(fields[RT_PRIORITY]) if policy in ("fifo", "rr") else 0
        status = tree.text(f"/proc/{pid}/status") or ""
        allowed = re.search(r"^Cpus_allowed_list:\s*(\S*)", status, re.MULTILINE)
        if allowed:
            thread.cpus = cpu_list(allowed[1], tree.place(f"/proc/{pid}/status"))
        found.append(thread)
    return found


def thread_ticks(tree: Tree, threads: list[Thread]) -> dict[str, int]:
    """CPU time of each thread so far, in USER_HZ."""
    found = {}
    for thread in threads:
        comm, fields = thread_fields(tree, str(thread.pid))
        if comm == thread.comm and min(int(fields[UTIME]), int(fields[STIME])) >= 0:
            found[f"{thread.pid}/{comm}"] = min(int(fields[UTIME]) + int(fields[STIME]), 2**63)
    return found
