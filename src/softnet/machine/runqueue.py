# SPDX-License-Identifier: GPL-2.0-or-later
"""Run queues: lists of the real-time and of the fair tasks that wait for each CPU, and on which CPU a task shall wake.

In which order they stand, and who of them runs, is the kernel's to say (linux/kernel/sched). The kernel has trees and arrays where
here are lists: run queues are short, and the order is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.machine.globals import can_migrate_task, hw, move_queued_task
    from softnet.machine.state import (
        MAX_PRIO,
        MAX_RT_PRIO,
        cpu_hw,
        task_struct,
    )


@hwfunc
def is_rt(p: task_struct) -> bool:
    """Whether the task runs at a real-time priority now, by its policy or by inheritance."""
    return p.prio < MAX_RT_PRIO


@hwfunc
def rq_link(c: cpu_hw, before: task_struct, p: task_struct, rt: bool) -> None:
    """A task waits on the CPU's queue from now on: behind ``before``, or first where that is None."""
    p.on_rq = True
    p.cpu = c.id
    c.nr_running += 1
    if before is not None:
        p.rq_next = before.rq_next
        before.rq_next = p
    elif rt:
        p.rq_next = c.rt_head
        c.rt_head = p
    else:
        p.rq_next = c.fair_head
        c.fair_head = p


@hwfunc
def unlink_from(head: task_struct, p: task_struct) -> task_struct:
    """Take ``p`` out of the list that starts at ``head``; the new head."""
    if head == p:
        return p.rq_next
    q = head
    while q is not None and q.rq_next != p:
        q = q.rq_next
    if q is not None:
        q.rq_next = p.rq_next
    return head


@hwfunc
def rq_unlink(c: cpu_hw, p: task_struct, rt: bool) -> None:
    """A task waits no longer."""
    if rt:
        c.rt_head = unlink_from(c.rt_head, p)
    else:
        c.fair_head = unlink_from(c.fair_head, p)
    p.rq_next = None
    p.on_rq = False
    c.nr_running -= 1


@hwfunc
def cpu_allowed(p: task_struct, cpu: int) -> bool:
    """Whether the task's affinity admits the CPU."""
    return p.allowed[cpu >> 5] >> (cpu & 31) & 1 != 0


@hwfunc
def highest_prio(c: cpu_hw) -> int:
    """The priority of what the CPU runs: lower is more important, MAX_PRIO when it idles."""
    if c.task == c.idle:
        return MAX_PRIO
    return c.task.prio


@hwfunc
def idle_cpu(c: cpu_hw) -> bool:
    """Whether the CPU idles and nobody is on the way to it; kernel/sched/core.c idle_cpu()."""
    return bool(c.task == c.idle and c.nr_running == 0 and not c.ttwu_pending)


@hwfunc
def select_task_rq(p: task_struct) -> int:
    """The CPU on which a waking task shall run.

    Its previous CPU when that idles or the task is bound to it; else an idle CPU that it may use; else, for a real-time task,
    the allowed CPU that runs the least important work; else the previous one. kernel/sched/fair.c select_idle_sibling(),
    kernel/sched/rt.c select_task_rq_rt().
    """
    prev = p.cpu
    c = table(cpu_hw, prev)
    if not c.online:
        return select_fallback_rq(p)
    if p.nr_allowed == 1 or p.migrate_disabled:
        return prev
    if cpu_allowed(p, prev) and idle_cpu(c):
        return prev
    best = prev
    best_prio = highest_prio(c) if cpu_allowed(p, prev) else -1
    for i in range(hw.nr_cpus):
        if i != prev and cpu_allowed(p, i):
            other = table(cpu_hw, i)
            if other.online and idle_cpu(other):
                return i
            if not other.online:
                continue
            if is_rt(p) and highest_prio(other) > best_prio:
                best = i
                best_prio = highest_prio(other)
            elif best_prio < 0:
                best = i
                best_prio = highest_prio(other)
    if is_rt(p) and best_prio <= p.prio and cpu_allowed(p, prev):
        return prev
    return best


@hwfunc
def select_fallback_rq(p: task_struct) -> int:
    """The task's CPU is offline: an online one that it may use, else the first online one, affinity or not."""
    for i in range(hw.nr_cpus):
        if cpu_allowed(p, i) and table(cpu_hw, i).online:
            return i
    for i in range(hw.nr_cpus):
        if table(cpu_hw, i).online:
            return i
    return p.cpu


@hwfunc
def pull_task(c: cpu_hw) -> bool:
    """A CPU about to idle takes over a waiting task that it may run, if there is one; kernel/sched/fair.c sched_balance_newidle().

    Where every task is bound to a CPU nobody is asked: the cost of idling must not grow with the machine.
    """
    if c.isolated or hw.nr_movable == 0:
        return False
    for i in range(hw.nr_cpus):
        other = table(cpu_hw, i)
        if i != c.id and other.nr_running > 0:
            p = other.rt_head
            if p is None:
                p = other.fair_head
            while p is not None:
                if p.nr_allowed > 1 and p.migrate_disabled == 0 and cpu_allowed(p, c.id) and can_migrate_task(p):
                    move_queued_task(other, p, c)
                    return True
                p = p.rq_next
    return False


@hwfunc
def set_allowed(p: task_struct, cpu: int) -> None:
    """Admit one more CPU to the task's affinity."""
    if not cpu_allowed(p, cpu):
        p.allowed[cpu >> 5] |= 1 << (cpu & 31)
        p.nr_allowed += 1
        if p.nr_allowed == 2:
            hw.nr_movable += 1
