# SPDX-License-Identifier: GPL-2.0-or-later
"""Run queues: a priority list of FIFO/RR tasks and a list of fair tasks by virtual runtime, per CPU.

The fair class follows kernel/sched/fair.c in its decisions (weights, sleeper placement, wakeup preemption, slices), not in its
data structure: run queues here are short, and a sorted list has the same order as the kernel's tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.machine.state import (
        MAX_PRIO,
        MAX_RT_PRIO,
        RESCHED_LAZY,
        RESCHED_NONE,
        RESCHED_NOW,
        SCHED_IDLE_TASK,
        cpu_hw,
        task_struct,
    )


@hwfunc
def is_rt(p: task_struct) -> bool:
    """Whether the task runs at a real-time priority now, by its policy or by inheritance."""
    return p.prio < MAX_RT_PRIO


@hwfunc
def enqueue_task(c: cpu_hw, p: task_struct, at_head: bool) -> None:
    """Put a runnable task on the CPU's queue; ``at_head``: before its equals (a preempted FIFO task keeps its turn)."""
    p.on_rq = True
    p.cpu = c.id
    c.nr_running += 1
    before: task_struct = None
    if is_rt(p):
        after = c.rt_head
        while after is not None and (after.prio < p.prio or (after.prio == p.prio and not at_head)):
            before = after
            after = after.rq_next
        p.rq_next = after
        if before is None:
            c.rt_head = p
        else:
            before.rq_next = p
        return
    after = c.fair_head
    while after is not None and after.vruntime <= p.vruntime:
        before = after
        after = after.rq_next
    p.rq_next = after
    if before is None:
        c.fair_head = p
    else:
        before.rq_next = p


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
def dequeue_task(c: cpu_hw, p: task_struct) -> None:
    """Take a queued task off the CPU's queue."""
    if is_rt(p):
        c.rt_head = unlink_from(c.rt_head, p)
    else:
        c.fair_head = unlink_from(c.fair_head, p)
    p.rq_next = None
    p.on_rq = False
    c.nr_running -= 1


@hwfunc(price_only=True)
def update_curr(c: cpu_hw) -> None:
    """Charge the running task for the time since it was last charged; kernel/sched/fair.c."""
    p = c.task
    delta = hw.now - p.exec_start
    if delta <= 0 or p.policy == SCHED_IDLE_TASK:
        return
    p.exec_start = hw.now
    p.slice_used += delta
    p.vruntime += delta * 1024 // p.weight
    floor = p.vruntime
    if c.fair_head is not None and c.fair_head.vruntime < floor:
        floor = c.fair_head.vruntime
    c.min_vruntime = max(c.min_vruntime, floor)


@hwfunc
def place_entity(c: cpu_hw, p: task_struct) -> None:
    """A task that slept does not bank more than half a slice of credit; kernel/sched/fair.c place_entity()."""
    floor = c.min_vruntime - hw.slice_ns // 2
    p.vruntime = max(p.vruntime, floor)


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
    if cpu_allowed(p, prev) and c.task == c.idle and c.nr_running == 0:
        return prev
    best = prev
    best_prio = highest_prio(c) if cpu_allowed(p, prev) else -1
    for i in range(hw.nr_cpus):
        if i != prev and cpu_allowed(p, i):
            other = table(cpu_hw, i)
            if other.online and other.task == other.idle and other.nr_running == 0:
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
def check_preempt(c: cpu_hw, p: task_struct) -> int:
    """What the arrival of ``p`` means for the running task: one of RESCHED_*, lazily if both are fair."""
    cur = c.task
    if cur == c.idle:
        return RESCHED_NOW
    if is_rt(p):
        return RESCHED_NOW if p.prio < cur.prio else RESCHED_NONE
    if is_rt(cur):
        return RESCHED_NONE
    update_curr(c)
    gran = hw.wakeup_gran_ns * 1024 // p.weight
    return RESCHED_LAZY if cur.vruntime - p.vruntime > gran else RESCHED_NONE


@hwfunc
def pick_next(c: cpu_hw) -> task_struct:
    """The task to run next, taken off the queue; the idle task when there is none."""
    p = c.rt_head
    if p is None:
        p = c.fair_head
    if p is None:
        p = pull_task(c)
    if p is None:
        return c.idle
    dequeue_task(c, p)
    return p


@hwfunc
def pull_task(c: cpu_hw) -> task_struct:
    """A CPU about to idle takes over a waiting task that it may run; kernel/sched/fair.c sched_balance_newidle().

    Where every task is bound to a CPU nobody is asked: the cost of idling must not grow with the machine.
    """
    if c.isolated or hw.nr_movable == 0:
        return None
    for i in range(hw.nr_cpus):
        other = table(cpu_hw, i)
        if i != c.id and other.nr_running > 0:
            p = other.rt_head
            if p is None:
                p = other.fair_head
            while p is not None:
                if p.nr_allowed > 1 and p.migrate_disabled == 0 and cpu_allowed(p, c.id):
                    dequeue_task(other, p)
                    if not is_rt(p):
                        p.vruntime = p.vruntime - other.min_vruntime + c.min_vruntime
                    enqueue_task(c, p, False)
                    return p
                p = p.rq_next
    return None


@hwfunc
def set_allowed(p: task_struct, cpu: int) -> None:
    """Admit one more CPU to the task's affinity."""
    if not cpu_allowed(p, cpu):
        p.allowed[cpu >> 5] |= 1 << (cpu & 31)
        p.nr_allowed += 1
        if p.nr_allowed == 2:
            hw.nr_movable += 1
