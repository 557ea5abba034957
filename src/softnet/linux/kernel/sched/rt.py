# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/sched/rt.c (6.1): SCHED_FIFO and SCHED_RR. The waiting tasks are the machine's list cpu_hw.rt_head, by priority.

Left out: pushing to and pulling from other CPUs beyond what machine/runqueue.py does, task groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc, kfunc
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.linux.config import HZ
    from softnet.linux.kernel.sched.fair import rt_class, task_on_rq_queued
    from softnet.linux.kernel.sched.sched import *
    from softnet.machine.interrupts import nr_cpu_ids
    from softnet.machine.runqueue import rq_link, rq_unlink
    from softnet.machine.sched import resched_curr
    from softnet.machine.state import SCHED_RR, cpu_hw, hrtimer, task_struct
    from softnet.machine.timers import hrtimer_start, rq_clock_task


@hwfunc(visible="own context", x86="none")
def sched_rr_timeslice() -> int:
    """rt.c:7, include/linux/sched/rt.h:57 (6.1): RR_TIMESLICE, 100 ms in ticks."""
    return 100 * HZ // 1000


@hwfunc
def sched_rt_runnable(rq: cpu_hw) -> bool:
    """kernel/sched/sched.h (6.1): somebody waits, and may run."""
    return bool(rq.rt_head is not None and not rq.rt.rt_throttled)


@hwfunc
def do_start_rt_bandwidth(rt_b: rt_bandwidth) -> None:
    """rt.c:106 (6.1): the period's timer, due at once; for all CPUs on the one that starts it."""
    if not rt_b.rt_period_active:
        rt_b.rt_period_active = True
        hrtimer_start(rt_b.rt_period_timer, rq_clock_task())


@hwfunc
def start_rt_bandwidth() -> None:
    """rt.c:126 (6.1), by inc_rt_group() for every task that is enqueued."""
    do_start_rt_bandwidth(table(rt_bandwidth, 0))


@hwfunc
def sched_rt_runtime_exceeded(rt_rq: rt_rq) -> bool:
    """rt.c:1002 (6.1). RT_RUNTIME_SHARE is off: nothing is borrowed from other CPUs."""
    if rt_rq.rt_throttled:
        return True
    if rt_rq.rt_time > table(rt_bandwidth, 0).rt_runtime:
        rt_rq.rt_throttled = True
        return True
    return False


@hwfunc
def account_rt_time(rq: cpu_hw, delta_exec: int) -> None:
    """rt.c:1049 update_curr_rt() (6.1), its second half: no more than 950 ms of each second."""
    rq.rt.rt_time += delta_exec
    if sched_rt_runtime_exceeded(rq.rt):
        resched_curr(rq)
        do_start_rt_bandwidth(table(rt_bandwidth, 0))


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
    account_rt_time(rq, delta_exec)


@hwfunc(visible="all", x86="locked")
def do_sched_rt_period_timer(overrun: int) -> bool:
    """rt.c:905 (6.1): a new period on every CPU; whether the timer may stop, since nobody ran or runs."""
    rt_b = table(rt_bandwidth, 0)
    idle = True
    for i in range(nr_cpu_ids()):
        rq = table(cpu_hw, i)
        rt = rq.rt
        enqueue = False
        if rq.online and (rt.rt_time or rt.rt_nr_running):
            if rt.rt_time:
                rt.rt_time -= min(rt.rt_time, overrun * rt_b.rt_runtime)
                if rt.rt_throttled and rt.rt_time < rt_b.rt_runtime:
                    rt.rt_throttled = False
                    enqueue = True
                if rt.rt_time or rt.rt_nr_running:
                    idle = False
            else:
                idle = False
                enqueue = not rt.rt_throttled
            # sched_rt_rq_enqueue()
            if enqueue and rt.rt_nr_running:
                resched_curr(rq)
    return idle


@hwfunc(visible="all", x86="locked")
def rt_period_restart(timer: hrtimer) -> None:
    """rt.c:70 sched_rt_period_timer() (6.1): a whole number of periods on, while anybody needs it."""
    rt_b = table(rt_bandwidth, 0)
    now = rq_clock_task()
    overrun = (now - timer.expires) // rt_b.rt_period + 1
    if do_sched_rt_period_timer(overrun):
        rt_b.rt_period_active = False
    else:
        hrtimer_start(timer, timer.expires + overrun * rt_b.rt_period)


@kfunc(entry=True)
def sched_rt_period_timer(timer: hrtimer) -> None:
    """rt.c:70 (6.1)."""
    rt_period_restart(timer)


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
    start_rt_bandwidth()
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
    if not sched_rt_runnable(rq):
        return None
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
