# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/sched/rt.c (6.1): SCHED_FIFO and SCHED_RR. The waiting tasks are the machine's list cpu_hw.rt_head, by priority.

Left out: pushing to and pulling from other CPUs beyond what machine/runqueue.py does, task groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc

if TYPE_CHECKING:
    from softnet.linux.config import HZ
    from softnet.linux.kernel.sched.fair import rt_class, task_on_rq_queued
    from softnet.linux.kernel.sched.sched import *
    from softnet.machine.runqueue import rq_link, rq_unlink
    from softnet.machine.sched import resched_curr
    from softnet.machine.state import SCHED_RR, cpu_hw, task_struct
    from softnet.machine.timers import rq_clock_task


@hwfunc
def sched_rr_timeslice() -> int:
    """rt.c:7, include/linux/sched/rt.h:57 (6.1): RR_TIMESLICE, 100 ms in ticks."""
    return 100 * HZ // 1000


@hwfunc
def update_curr_rt(rq: cpu_hw) -> None:
    """rt.c:1049 (6.1): charge the running real-time task."""
    curr = rq.task
    if not rt_class(curr):
        return
    now = rq_clock_task()
    delta_exec = now - curr.se.exec_start
    if delta_exec <= 0:
        return
    curr.se.exec_start = now
    curr.se.sum_exec_runtime += delta_exec


@hwfunc
def __enqueue_rt_entity(rq: cpu_hw, p: task_struct, head: bool) -> None:
    """rt.c:1434 (6.1): at the head or the tail of its priority's list."""
    before: task_struct = None
    after = rq.rt_head
    while after is not None and (after.prio < p.prio or (after.prio == p.prio and not head)):
        before = after
        after = after.rq_next
    rq_link(rq, before, p, True)


@hwfunc
def enqueue_task_rt(rq: cpu_hw, p: task_struct, flags: int) -> None:
    """rt.c:1539 (6.1). The task that runs is not among those who wait."""
    if rq.task != p:
        __enqueue_rt_entity(rq, p, bool(flags & ENQUEUE_HEAD))
    p.rt.on_rq = True
    rq.rt.rt_nr_running += 1


@hwfunc
def dequeue_task_rt(rq: cpu_hw, p: task_struct, flags: int) -> bool:
    """rt.c:1555 (6.1)."""
    update_curr_rt(rq)
    if p.on_rq:
        rq_unlink(rq, p, True)
    p.rt.on_rq = False
    rq.rt.rt_nr_running -= 1
    return True


@hwfunc
def check_preempt_curr_rt(rq: cpu_hw, p: task_struct, flags: int) -> None:
    """rt.c:1722 (6.1). check_preempt_equal_prio() would push an equal away: not modelled."""
    if p.prio < rq.task.prio:
        resched_curr(rq)


@hwfunc
def set_next_task_rt(rq: cpu_hw, p: task_struct) -> None:
    """rt.c:1747 (6.1)."""
    p.se.exec_start = rq_clock_task()
    if p.on_rq:
        rq_unlink(rq, p, True)


@hwfunc
def pick_next_task_rt(rq: cpu_hw) -> task_struct:
    """rt.c:1818 (6.1): the most important that waits, None when there is none."""
    p = rq.rt_head
    if p is not None:
        set_next_task_rt(rq, p)
    return p


@hwfunc
def put_prev_task_rt(rq: cpu_hw, p: task_struct) -> None:
    """rt.c:1828 (6.1): it stays the first of its equals, unless its quantum ended."""
    update_curr_rt(rq)
    if p.rt.on_rq:
        __enqueue_rt_entity(rq, p, not p.rt.requeued)
    p.rt.requeued = False


@hwfunc
def task_tick_rt(rq: cpu_hw, p: task_struct) -> None:
    """rt.c:2650 (6.1): SCHED_RR's quantum, in ticks."""
    update_curr_rt(rq)
    if p.policy != SCHED_RR:
        return
    p.rt.time_slice -= 1
    if p.rt.time_slice:
        return
    p.rt.time_slice = sched_rr_timeslice()
    # Behind its equals, if it has any.
    if rq.rt_head is not None and rq.rt_head.prio == p.prio:
        p.rt.requeued = True
        resched_curr(rq)


@hwfunc
def prio_changed_rt(rq: cpu_hw, p: task_struct, oldprio: int) -> None:
    """rt.c:2578 (6.1)."""
    if not task_on_rq_queued(p):
        return
    if rq.task == p:
        if rq.rt_head is not None and p.prio > rq.rt_head.prio:
            resched_curr(rq)
    elif p.prio < rq.task.prio:
        resched_curr(rq)


@hwfunc
def switched_to_rt(rq: cpu_hw, p: task_struct) -> None:
    """rt.c:2547 (6.1)."""
    if task_on_rq_queued(p) and rq.task != p and p.prio < rq.task.prio:
        resched_curr(rq)
