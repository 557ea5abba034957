# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/smpboot.c (6.1): the loop of per-CPU kernel threads, and parking (kernel/kthread.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, fnptr, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.sched.core import __set_current_state
    from softnet.machine.sched import *
    from softnet.machine.state import *


HP_THREAD_NONE = 0
HP_THREAD_ACTIVE = 1
HP_THREAD_PARKED = 2
KTHREAD_SHOULD_PARK = 2


class smp_hotplug_thread(Struct):
    """include/linux/smpboot.h: what a family of per-CPU threads does; 0 is ksoftirqd, 1 backlog_napi."""

    thread_should_run: fnptr = private()
    thread_fn: fnptr = private()
    setup: fnptr = private()
    park: fnptr = private()
    unpark: fnptr = private()


class smpboot_thread_data(Struct):
    """smpboot.c:83 (6.1): one thread of a family."""

    cpu: int = private()
    status: int = private()
    ht: smp_hotplug_thread = private()
    task: task_struct = private()


@kfunc
def kthread_should_park(p: task_struct) -> bool:
    """kernel/kthread.c __kthread_should_park(): test_bit(KTHREAD_SHOULD_PARK, ...)."""
    return test_bit(KTHREAD_SHOULD_PARK, p.kthread_flags)


@kfunc
def kthread_parkme() -> None:
    """kernel/kthread.c __kthread_parkme(): sleep until unparked; an ordinary wake_up_process() does nothing."""
    set_current_state(TASK_PARKED)
    while kthread_should_park(current()):
        schedule()
        set_current_state(TASK_PARKED)
    __set_current_state(TASK_RUNNING)


@kfunc
def kthread_park(p: task_struct) -> None:
    """kernel/kthread.c: ask the thread to park. C waits for it, and until it is off its CPU; here the caller does."""
    set_bit(KTHREAD_SHOULD_PARK, p.kthread_flags)
    wake_up_process(p)


@kfunc
def kthread_unpark(p: task_struct) -> None:
    """kernel/kthread.c."""
    clear_bit(KTHREAD_SHOULD_PARK, p.kthread_flags)
    wake_up_state(p, TASK_PARKED)


@kfunc(entry=True)
def smpboot_thread_fn(data: int) -> None:
    """smpboot.c:105 (6.1); ``data`` is the row of table(smpboot_thread_data, ...)."""
    td = table(smpboot_thread_data, data)
    ht = td.ht
    while True:
        set_current_state(TASK_INTERRUPTIBLE)
        preempt_disable()
        if kthread_should_park(current()):
            __set_current_state(TASK_RUNNING)
            preempt_enable()
            if ht.park and td.status == HP_THREAD_ACTIVE:
                BUG_ON(td.cpu != smp_processor_id())
                ht.park(td.cpu)
                td.status = HP_THREAD_PARKED
            kthread_parkme()
            continue

        BUG_ON(td.cpu != smp_processor_id())

        if td.status == HP_THREAD_NONE:
            __set_current_state(TASK_RUNNING)
            preempt_enable()
            if ht.setup:
                ht.setup(td.cpu)
            td.status = HP_THREAD_ACTIVE
            continue
        if td.status == HP_THREAD_PARKED:
            __set_current_state(TASK_RUNNING)
            preempt_enable()
            if ht.unpark:
                ht.unpark(td.cpu)
            td.status = HP_THREAD_ACTIVE
            continue

        if not ht.thread_should_run(td.cpu):
            preempt_enable_no_resched()
            schedule()
        else:
            __set_current_state(TASK_RUNNING)
            preempt_enable()
            ht.thread_fn(td.cpu)
