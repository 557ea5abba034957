# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/sched/core.c, include/linux/preempt.h: what tasks call, and what does not depend on the scheduling class.

The machine switches, keeps the queues and wakes (machine/sched.py); it asks the functions at the end of this file who is to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc, kfunc
from softnet.lang.intrinsics import smp_mb, suspend, table, table_len, work_ns

if TYPE_CHECKING:
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.sched.fair import *
    from softnet.linux.kernel.sched.rt import *
    from softnet.linux.kernel.sched.sched import *
    from softnet.linux.kernel.time.hrtimer import hrtimer_wakeup
    from softnet.machine.interrupts import *
    from softnet.machine.sched import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


CONFIG_PREEMPT_RT = 0
CONFIG_PREEMPT_MODEL = 1
TASK_NORMAL = 3

# fmt: off
sched_prio_to_weight = (
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916,
    9548, 7620, 6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277,
    1024, 820, 655, 526, 423, 335, 272, 215, 172, 137,
    110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
)
"""core.c:11311 (6.1): the weight of each nice value, -20 to 19; a step is about a tenth of the CPU's time."""

sched_prio_to_wmult = (
    48388, 59856, 76040, 92818, 118348, 147320, 184698, 229616, 287308, 360437,
    449829, 563644, 704093, 875809, 1099582, 1376151, 1717300, 2157191, 2708050, 3363326,
    4194304, 5237765, 6557202, 8165337, 10153587, 12820798, 15790321, 19976592, 24970740, 31350126,
    39045157, 49367440, 61356676, 76695844, 95443717, 119304647, 148102320, 186737708, 238609294, 286331153,
)
"""core.c:11329 (6.1): 2**32 by those."""
# fmt: on


@kfunc
def schedule() -> None:
    """kernel/sched/core.c schedule(): another task runs until this one is runnable and chosen."""
    while True:
        if schedule_now():
            suspend()
        if not need_resched():
            break


@kfunc
def schedule_idle() -> None:
    """kernel/sched/core.c schedule_idle()."""
    if schedule_now():
        suspend()


@kfunc
def schedule_preempt_disabled() -> None:
    """kernel/sched/core.c: called with preemption off, returns with preemption off."""
    preempt_count_sub(PREEMPT_OFFSET)
    schedule()
    preempt_count_add(PREEMPT_OFFSET)


@kfunc
def preempt_schedule() -> None:
    """kernel/sched/core.c: preemption was enabled and a switch is due."""
    while preempt_enable_due():
        if schedule_preempt():
            suspend()


@kfunc(exclusion=True)
def preempt_disable() -> None:
    """include/linux/preempt.h."""
    preempt_count_add(PREEMPT_OFFSET)


@kfunc(exclusion=True)
def preempt_enable() -> None:
    """include/linux/preempt.h: the outermost one switches if that is due and the model allows it."""
    preempt_count_sub(PREEMPT_OFFSET)
    if preempt_enable_due():
        preempt_schedule()


@kfunc
def preempt_enable_no_resched() -> None:
    """include/linux/preempt.h."""
    preempt_count_sub(PREEMPT_OFFSET)


@kfunc
def migrate_disable() -> None:
    """kernel/sched/core.c: the task stays on its CPU, preemptible."""
    migrate_count(1)


@kfunc
def migrate_enable() -> None:
    """kernel/sched/core.c."""
    migrate_count(-1)


@kfunc
def cond_resched() -> bool:
    """kernel/sched/core.c: a point where models without kernel preemption switch; whether it did."""
    if CONFIG_PREEMPT_MODEL == PREEMPT_MODEL_NONE or CONFIG_PREEMPT_MODEL == PREEMPT_MODEL_VOLUNTARY:
        if need_resched() and preempt_count() == 0:
            if schedule_preempt():
                suspend()
            return True
    return False


@kfunc
def might_sleep() -> None:
    """include/linux/kernel.h: under the voluntary model also a point where the kernel switches."""
    if CONFIG_PREEMPT_MODEL == PREEMPT_MODEL_VOLUNTARY:
        cond_resched()


@kfunc
def set_current_state(state: int) -> None:
    """include/linux/sched.h: smp_store_mb(): what is waited for is looked at after the state has been seen by wakers."""
    set_task_state(state)
    smp_mb()


@kfunc
def __set_current_state(state: int) -> None:
    """include/linux/sched.h: WRITE_ONCE() alone."""
    set_task_state(state)


@kfunc
def wake_up_process(p: task_struct) -> int:
    """kernel/sched/core.c: 1 if the task was asleep."""
    return try_to_wake_up(p, TASK_NORMAL)


@kfunc
def wake_up_state(p: task_struct, state: int) -> int:
    """kernel/sched/core.c: wake if the task's state is in ``state``."""
    return try_to_wake_up(p, state)


@kfunc(exclusion=True)
def rcu_read_lock() -> None:
    """include/linux/rcupdate.h: readers cost nothing here; grace periods are not modelled."""


@kfunc(exclusion=True)
def rcu_read_unlock() -> None:
    """include/linux/rcupdate.h."""


@kfunc
def exit_to_user_mode() -> None:
    """kernel/entry/common.c exit_to_user_mode_loop(): reschedule first if that is due."""
    while user_return_due():
        if schedule_now():
            suspend()


@kfunc
def user_work_ns(ns: int) -> None:
    """Run ``ns`` nanoseconds in user mode: after the exit work of kernel/entry/common.c, preemptible on every model."""
    exit_to_user_mode()
    vtime_user_enter()
    work_ns(ns)
    vtime_user_exit()


@kfunc
def schedule_hrtimeout_abs(expires: int) -> None:
    """kernel/time/hrtimer.c schedule_hrtimeout_range_clock(): sleep until ``expires`` or until woken.

    The caller has set its state. The timer wakes the task from hard interrupt context.
    """
    p: task_struct = current()
    p.sleep_timer.function = hrtimer_wakeup
    p.sleep_timer.data = p.pid
    hrtimer_start(p.sleep_timer, expires)
    schedule()
    hrtimer_cancel(p.sleep_timer)
    set_task_state(0)


@kfunc
def usleep_range(min_us: int, max_us: int) -> None:
    """kernel/time/timer.c usleep_range_state() (6.1). Nothing else expires between the two, so the timer is set for the first."""
    set_current_state(TASK_UNINTERRUPTIBLE)
    schedule_hrtimeout_abs(ktime_get() + min_us * 1000)


@kfunc
def sleep_for_ever() -> None:
    """A task that is done."""
    while True:
        set_current_state(TASK_UNINTERRUPTIBLE)
        schedule()


@kfunc
def sched_init(nr_online: int) -> None:
    """core.c sched_init(), fair.c sched_init_granularity() (6.1), and of every task the quantum that __sched_fork() gives it."""
    update_sysctl(nr_online)
    table(rt_bandwidth, 0).rt_period_timer.function = sched_rt_period_timer
    for i in range(table_len(task_struct)):
        table(task_struct, i).rt.time_slice = sched_rr_timeslice()


@hwfunc
def enqueue_task(rq: cpu_hw, p: task_struct, flags: int) -> None:
    """core.c:2065 (6.1), p->sched_class->enqueue_task()."""
    if rt_class(p):
        enqueue_task_rt(rq, p, flags)
    else:
        enqueue_task_fair(rq, p, flags)


@hwfunc
def dequeue_task(rq: cpu_hw, p: task_struct, flags: int) -> bool:
    """core.c:2082 (6.1), p->sched_class->dequeue_task(): whether the task is off the queue."""
    if rt_class(p):
        return dequeue_task_rt(rq, p, flags)
    return dequeue_task_fair(rq, p, flags)


@hwfunc
def put_prev_task(rq: cpu_hw, prev: task_struct) -> None:
    """kernel/sched/sched.h (6.1): what ran goes back to its queue, unless it blocked."""
    if rt_class(prev):
        put_prev_task_rt(rq, prev)
    elif fair_class(prev):
        put_prev_task_fair(rq, prev)


@hwfunc
def set_next_task(rq: cpu_hw, next: task_struct) -> None:
    """kernel/sched/sched.h (6.1): the running task, of another class or priority now."""
    if rt_class(next):
        set_next_task_rt(rq, next)
    else:
        set_next_task_fair(rq, next)


@hwfunc
def set_next_task_idle(rq: cpu_hw, next: task_struct) -> None:
    """kernel/sched/idle.c:449 (6.1): nobody waits."""
    next.se.exec_start = rq_clock_task()


@hwfunc
def check_preempt_curr(rq: cpu_hw, p: task_struct, flags: int) -> None:
    """core.c:2200 (6.1); wakeup_preempt() since 6.7: within a class that decides, else the higher class preempts."""
    curr = rq.task
    if rt_class(p):
        if rt_class(curr):
            check_preempt_curr_rt(rq, p, flags)
        else:
            resched_curr(rq)
    elif fair_class(curr):
        check_preempt_wakeup(rq, p, flags)
    elif not rt_class(curr):
        resched_curr(rq)


@hwfunc
def ttwu_do_activate(rq: cpu_hw, p: task_struct, migrated: bool) -> None:
    """core.c:3737 (6.1): the woken task joins the queue of the CPU that was chosen for it."""
    flags = ENQUEUE_WAKEUP
    if migrated:
        flags |= ENQUEUE_MIGRATED
    enqueue_task(rq, p, flags)
    check_preempt_curr(rq, p, 0)


@hwfunc
def ttwu_runnable(rq: cpu_hw, p: task_struct) -> None:
    """core.c:3776 (6.1): woken before it had left the queue: was preempted on its way to sleep, or has not got there yet."""
    check_preempt_curr(rq, p, 0)


@hwfunc
def try_to_block_task(rq: cpu_hw, p: task_struct) -> None:
    """core.c __schedule() (6.1), a function of its own since 6.12: the running task sleeps."""
    dequeue_task(rq, p, DEQUEUE_SLEEP)


@hwfunc
def pick_next_task(rq: cpu_hw, prev: task_struct) -> task_struct:
    """core.c:5806 __pick_next_task() (6.1): the task to run, ``prev`` put away; None when nobody waits here."""
    if not rt_class(prev) and not sched_rt_runnable(rq):
        p = pick_next_task_fair(rq, prev)
        if p is None:
            put_prev_task(rq, prev)
        return p
    put_prev_task(rq, prev)
    p = pick_next_task_rt(rq)
    if p is not None:
        return p
    return pick_next_task_fair(rq, None)


@hwfunc
def scheduler_tick(rq: cpu_hw) -> None:
    """core.c:5429 (6.1), sched_tick() since 6.10. A lazy request becomes a real one (6.13, where a kernel has those)."""
    curr = rq.task
    if rq.need_resched_lazy:
        resched_curr(rq)
    if rt_class(curr):
        task_tick_rt(rq, curr)
    elif fair_class(curr):
        task_tick_fair(rq, curr)


@hwfunc
def set_task_cpu(p: task_struct, new_cpu: int) -> None:
    """core.c:3140 (6.1), of a task that wakes on another CPU than its last."""
    if fair_class(p):
        migrate_task_rq_fair(p, new_cpu)
    p.cpu = new_cpu


@hwfunc
def move_queued_task(rq: cpu_hw, p: task_struct, new_rq: cpu_hw) -> None:
    """core.c:2390 (6.1): from queue to queue."""
    dequeue_task(rq, p, 0)
    p.cpu = new_rq.id
    enqueue_task(new_rq, p, 0)


@hwfunc
def can_migrate_task(p: task_struct) -> bool:
    """kernel/sched/fair.c:8114 (6.1): what besides affinity forbids a pull; nothing here."""
    return True


@hwfunc
def check_class_changed(rq: cpu_hw, p: task_struct, was_rt: bool, oldprio: int) -> None:
    """core.c:2182 (6.1)."""
    if was_rt != rt_class(p):
        if was_rt:
            switched_to_fair(rq, p)
        else:
            switched_from_fair(rq, p)
            switched_to_rt(rq, p)
    elif oldprio != p.prio:
        if was_rt:
            prio_changed_rt(rq, p, oldprio)
        else:
            prio_changed_fair(rq, p, oldprio)


@hwfunc
def rt_mutex_setprio(p: task_struct, prio: int) -> None:
    """core.c:6866 (6.1): lend or take back a priority; the task keeps its weight."""
    oldprio = p.prio
    if oldprio == prio:
        return
    trace_sched_pi_setprio(p.pid, oldprio, prio)
    rq = table(cpu_hw, p.cpu)
    was_rt = rt_class(p)
    queue_flag = DEQUEUE_SAVE | DEQUEUE_MOVE
    queued = task_on_rq_queued(p)
    running = rq.task == p
    if queued:
        dequeue_task(rq, p, queue_flag)
    if running:
        put_prev_task(rq, p)
    if prio < MAX_RT_PRIO and oldprio < prio:
        queue_flag |= ENQUEUE_HEAD
    p.prio = prio
    if queued:
        enqueue_task(rq, p, queue_flag)
    if running:
        set_next_task(rq, p)
    check_class_changed(rq, p, was_rt, oldprio)
