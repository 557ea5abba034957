# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/softirq.c (6.1): raising, running, handing over to ksoftirqd; bottom-half disabling on both flavours.

C has two versions of several functions, one under CONFIG_PREEMPT_RT; here they are the two branches of one function.
HI, TASKLET, TIMER, BLOCK, IRQ_POLL, SCHED, HRTIMER and RCU have no handler: nothing in this model raises them. To raise
a vector without a handler is a BUG, so none can be forgotten silently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, fnptr, kfunc, percpu, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.smpboot import kthread_should_park
    from softnet.linux.kernel.time.time import *
    from softnet.linux.net.core.dev import net_rx_action, net_tx_action
    from softnet.machine.interrupts import *
    from softnet.machine.sched import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


HI_SOFTIRQ = 0
TIMER_SOFTIRQ = 1
NET_TX_SOFTIRQ = 2
NET_RX_SOFTIRQ = 3
BLOCK_SOFTIRQ = 4
IRQ_POLL_SOFTIRQ = 5
TASKLET_SOFTIRQ = 6
SCHED_SOFTIRQ = 7
HRTIMER_SOFTIRQ = 8
RCU_SOFTIRQ = 9
NR_SOFTIRQS = 10

SOFTIRQ_NOW_MASK = 1 << 0 | 1 << 6
"""HI and TASKLET, softirq.c:88 (6.1)."""
MAX_SOFTIRQ_TIME_MS = 2
MAX_SOFTIRQ_RESTART = 10


class irq_cpustat_t(Struct, per_cpu=True):
    """arch/x86/include/asm/hardirq.h: the pending word, one per CPU; and softirq.c's per-CPU ksoftirqd."""

    softirq_pending: int = percpu()
    """__softirq_pending"""
    ksoftirqd: task_struct = private()


class softirq_ctrl(Struct, per_cpu=True):
    """softirq.c:132 (6.1), PREEMPT_RT: one per CPU."""

    lock: local_lock_t = embed(line=0)
    cnt: int = percpu(line=1)


class softirq_action(Struct):
    """include/linux/interrupt.h: softirq_vec[]."""

    action: fnptr = private()


@kfunc
def open_softirq(nr: int, action: fnptr) -> None:
    """softirq.c:745 (6.1)."""
    table(softirq_action, nr).action = action


@kfunc
def local_softirq_pending() -> int:
    """include/linux/interrupt.h."""
    return this_cpu_ptr(irq_cpustat_t).softirq_pending


@kfunc
def wakeup_softirqd() -> None:
    """softirq.c:75 (6.1), interrupts off: we cannot loop indefinitely here, so ksoftirqd goes on."""
    tsk = this_cpu_ptr(irq_cpustat_t).ksoftirqd
    if tsk:
        if wake_up_process(tsk):
            trace_wakeup_softirqd(smp_processor_id())


@kfunc
def ksoftirqd_running(pending: int) -> bool:
    """softirq.c:89 (6.1): while ksoftirqd is runnable nobody else processes softirqs (4cd13c21b207, v4.9).

    Reverted in v6.5 (d15121be7485).
    """
    if pending & SOFTIRQ_NOW_MASK:
        return False
    tsk = this_cpu_ptr(irq_cpustat_t).ksoftirqd
    if not tsk:
        return False
    return bool(task_state(tsk) == TASK_RUNNING and not kthread_should_park(tsk))


@kfunc
def __local_bh_disable_ip(cnt: int) -> None:
    """softirq.c:167 (6.1, RT), void __local_bh_disable_ip(unsigned long ip, unsigned int cnt).

    Take this CPU's BH lock on the task's first entry, and stay preemptible.

    Elsewhere include/linux/bottom_half.h: count. The caller's address, C's first argument, is not needed.
    """
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        WARN_ON_ONCE(in_hardirq())
        if not current().softirq_disable_cnt:
            if preemptible():
                # Stay on this CPU first: its lock must not be another CPU's by the time it is taken.
                migrate_disable()
                local_lock(this_cpu_ptr(softirq_ctrl).lock)
                migrate_enable()
                rcu_read_lock()
            else:
                WARN_ON_ONCE(this_cpu_ptr(softirq_ctrl).cnt)
        ctrl = this_cpu_ptr(softirq_ctrl)
        newcnt = ctrl.cnt + cnt
        ctrl.cnt = newcnt
        current().softirq_disable_cnt = newcnt
    else:
        preempt_count_add(cnt)


@kfunc
def __local_bh_enable(cnt: int, unlock: bool) -> None:
    """softirq.c:206 (6.1, RT), softirq.c:360 (else, where ``unlock`` does not exist)."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        ctrl = this_cpu_ptr(softirq_ctrl)
        WARN_ON_ONCE(current().softirq_disable_cnt != ctrl.cnt)
        newcnt = ctrl.cnt - cnt
        ctrl.cnt = newcnt
        current().softirq_disable_cnt = newcnt
        if not newcnt and unlock:
            rcu_read_unlock()
            local_unlock(ctrl.lock)
    else:
        preempt_count_sub(cnt)


@kfunc
def _local_bh_enable() -> None:
    """softirq.c:377 (6.1): without processing what is pending."""
    WARN_ON_ONCE(in_hardirq())
    __local_bh_enable(SOFTIRQ_DISABLE_OFFSET, False)


@kfunc
def __local_bh_enable_ip(cnt: int) -> None:
    """softirq.c:229 (6.1, RT), void __local_bh_enable_ip(unsigned long ip, unsigned int cnt).

    And softirq.c:384 (else). The outermost enable runs pending softirqs, in this task and at its priority.
    """
    WARN_ON_ONCE(in_hardirq())
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        __local_bh_enable_ip_rt(cnt)
        return
    # Preemption stays off until softirq processing is done.
    preempt_count_sub(cnt - 1)
    if not in_interrupt() and local_softirq_pending():
        do_softirq()
    preempt_count_sub(PREEMPT_OFFSET)
    preempt_check_resched()


@kfunc
def __local_bh_enable_ip_rt(cnt: int) -> None:
    """softirq.c:229 (6.1), PREEMPT_RT's __local_bh_enable_ip()."""
    preempt_on = preemptible()
    flags = local_irq_save()
    if this_cpu_ptr(softirq_ctrl).cnt == cnt:
        pending = local_softirq_pending()
        if pending and not softirq_left_to_ksoftirqd(pending):
            if not preempt_on:
                # Not preemptible here: a softirq handler would be.
                wakeup_softirqd()
            else:
                # in_serving_softirq() becomes true.
                cnt = SOFTIRQ_OFFSET
                __local_bh_enable(cnt, False)
                __do_softirq()
    # Interrupts stay off to the end: one that came while cnt is not 0 any more but the lock still held would wake
    # nobody for the softirq it raises.
    __local_bh_enable(cnt, preempt_on)
    local_irq_restore(flags)


@kfunc
def softirq_left_to_ksoftirqd(pending: int) -> bool:
    """softirq.c (6.1), the test ``ksoftirqd_running(pending)`` at its three places; gone since d15121be7485 (v6.5)."""
    return ksoftirqd_running(pending)


@kfunc
def ksoftirqd_run_begin() -> None:
    """softirq.c:276 (6.1, RT: take the BH lock first), 410."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        __local_bh_disable_ip(SOFTIRQ_OFFSET)
    local_irq_disable()


@kfunc
def ksoftirqd_run_end() -> None:
    """softirq.c:283 (6.1, RT), 415."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        __local_bh_enable(SOFTIRQ_OFFSET, True)
        WARN_ON_ONCE(in_interrupt())
    local_irq_enable()


@kfunc
def softirq_handle_begin() -> None:
    """softirq.c:399 (6.1); nothing on RT, where the caller counts."""
    if not IS_ENABLED(CONFIG_PREEMPT_RT):
        __local_bh_disable_ip(SOFTIRQ_OFFSET)


@kfunc
def softirq_handle_end() -> None:
    """softirq.c:404 (6.1)."""
    if not IS_ENABLED(CONFIG_PREEMPT_RT):
        __local_bh_enable(SOFTIRQ_OFFSET, False)
        WARN_ON_ONCE(in_interrupt())


@kfunc
def should_wake_ksoftirqd() -> bool:
    """softirq.c:296 (6.1, RT): not while a BH-off section is open here, whose end will run it; elsewhere always."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        return not this_cpu_ptr(softirq_ctrl).cnt
    return True


@kfunc
def force_irqthreads() -> bool:
    """include/linux/interrupt.h: PREEMPT_RT, or the boot argument threadirqs."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        return True
    return bool(table(net_hotdata, 0).force_irqthreads)


@kfunc
def invoke_softirq() -> None:
    """softirq.c:301 (6.1, RT: only ever wake ksoftirqd), 430: at the exit of a hard interrupt."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        if should_wake_ksoftirqd():
            wakeup_softirqd()
        return
    if softirq_left_to_ksoftirqd(local_softirq_pending()):
        return
    if not force_irqthreads() or not this_cpu_ptr(irq_cpustat_t).ksoftirqd:
        __do_softirq()
    else:
        wakeup_softirqd()


@kfunc
def do_softirq_post_smp_call_flush(was_pending: int) -> None:
    """softirq.c:317 (6.1, RT): the idle task's flush raised something: that is a WARN, and ksoftirqd runs it.

    Elsewhere include/linux/interrupt.h: do_softirq().
    """
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        is_pending = local_softirq_pending()
        if was_pending != is_pending:
            WARN_ON_ONCE(was_pending != is_pending & ~(1 << SCHED_SOFTIRQ))
            invoke_softirq()
    else:
        do_softirq()


@kfunc
def do_softirq() -> None:
    """softirq.c:458 (6.1), not on RT: from a task, with interrupts off inside."""
    if in_interrupt():
        return
    flags = local_irq_save()
    pending = local_softirq_pending()
    if pending and not softirq_left_to_ksoftirqd(pending):
        __do_softirq()
    local_irq_restore(flags)


@kfunc
def handle_softirqs(ksirqd: bool) -> None:
    """softirq.c:528 (6.1.192; __do_softirq() before): run what is pending, and again, within 2 ms and 10 passes.

    The 2 ms are jiffies: at HZ=250 that is one tick, anything between 0 and 4 ms. Called and left with interrupts off.
    """
    end = jiffies() + msecs_to_jiffies(MAX_SOFTIRQ_TIME_MS)
    max_restart = MAX_SOFTIRQ_RESTART

    pending = local_softirq_pending()
    softirq_handle_begin()
    was = vtime_softirq_enter()

    while True:
        # Reset the pending word before interrupts come on.
        this_cpu_ptr(irq_cpustat_t).softirq_pending = 0
        local_irq_enable()
        for vec_nr in range(NR_SOFTIRQS):
            if pending & (1 << vec_nr):
                h = table(softirq_action, vec_nr)
                trace_softirq_entry(vec_nr)
                work("softirq_entry")
                h.action()
                trace_softirq_exit(vec_nr)
        local_irq_disable()

        pending = local_softirq_pending()
        if not pending:
            break
        max_restart -= 1
        if jiffies() >= end or need_resched() or not max_restart:
            wakeup_softirqd()
            break

    vtime_softirq_exit(was)
    softirq_handle_end()


@kfunc
def __do_softirq() -> None:
    """softirq.c:607 (6.1.192)."""
    handle_softirqs(False)


@kfunc
def irq_enter_rcu() -> None:
    """softirq.c:615 (6.1)."""
    preempt_count_add(HARDIRQ_OFFSET)


@kfunc
def irq_exit_rcu() -> None:
    """softirq.c:673 (6.1), with __irq_exit_rcu() (651): softirqs that this interrupt raised run here."""
    preempt_count_sub(HARDIRQ_OFFSET)
    if not in_interrupt() and local_softirq_pending():
        invoke_softirq()


@kfunc
def raise_softirq_irqoff(nr: int) -> None:
    """softirq.c:700 (6.1), interrupts off: outside of interrupts and BH-off sections nobody would run it: ksoftirqd."""
    __raise_softirq_irqoff(nr)
    if not in_interrupt() and should_wake_ksoftirqd():
        wakeup_softirqd()


@kfunc
def raise_softirq(nr: int) -> None:
    """softirq.c:717 (6.1)."""
    flags = local_irq_save()
    raise_softirq_irqoff(nr)
    local_irq_restore(flags)


@kfunc
def __raise_softirq_irqoff(nr: int) -> None:
    """softirq.c:726 (6.1), interrupts off: set the bit, no more."""
    trace_softirq_raise(nr)
    if nr == NET_RX_SOFTIRQ:
        trace_net_rx_raise(smp_processor_id())
    stat = this_cpu_ptr(irq_cpustat_t)
    stat.softirq_pending |= 1 << nr


@kfunc(entry=True)
def ksoftirqd_should_run(cpu: int) -> bool:
    """softirq.c:911 (6.1)."""
    return bool(local_softirq_pending())


@kfunc(entry=True)
def run_ksoftirqd(cpu: int) -> None:
    """softirq.c:916 (6.1): one round; on RT under the BH lock, at ksoftirqd's priority."""
    ksoftirqd_run_begin()
    if local_softirq_pending():
        handle_softirqs(True)
        ksoftirqd_run_end()
        cond_resched()
        return
    ksoftirqd_run_end()


@kfunc
def softirq_init() -> None:
    """softirq.c:880 (6.1) and the open_softirq() calls of net_dev_init()."""
    open_softirq(NET_TX_SOFTIRQ, net_tx_action)
    open_softirq(NET_RX_SOFTIRQ, net_rx_action)
