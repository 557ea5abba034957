# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/sched/core.c, include/linux/preempt.h: what tasks call; the decisions themselves are the machine's (machine/sched.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc
from softnet.lang.intrinsics import smp_mb, suspend, work_ns

if TYPE_CHECKING:
    from softnet.linux.kernel.time.hrtimer import hrtimer_wakeup
    from softnet.machine.interrupts import *
    from softnet.machine.sched import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


CONFIG_PREEMPT_RT = 0
CONFIG_PREEMPT_MODEL = 1
TASK_NORMAL = 3


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
def sleep_for_ever() -> None:
    """A task that is done."""
    while True:
        set_current_state(TASK_UNINTERRUPTIBLE)
        schedule()
