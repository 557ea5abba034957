# SPDX-License-Identifier: GPL-2.0-or-later
"""softirq: Allow to drop the softirq-BKL lock on PREEMPT_RT.

On PREEMPT_RT local_bh_disable() no longer takes a lock: it only keeps the task on its CPU. So several tasks of a CPU may be in
BH-off sections, and even serve softirqs, at once; what they share is under the nested-BH locks. softirq_ctrl.cnt becomes the sum
over the CPU's tasks. CONFIG_PREEMPT_RT_NEEDS_BH_LOCK, off by default, brings the lock back; it is not in the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.softirq import (
        NET_RX_SOFTIRQ,
        __do_softirq,
        __raise_softirq_irqoff,
        local_softirq_pending,
        softirq_ctrl,
        wakeup_softirqd,
    )
    from softnet.linux.kernel.time.time import *
    from softnet.linux.net.core.dev import napi_complete_done, skb_defer_free_flush
    from softnet.linux.net.core.dev_backlog import net_rps_action_and_irq_enable, sd_has_rps_ipi_waiting
    from softnet.linux.net.core.gro import gro_normal_list, napi_gro_flush
    from softnet.machine.interrupts import *
    from softnet.machine.sched import *
    from softnet.machine.timers import *


PATCH = {
    "commit": "3253cb49cbad",
    "subject": "softirq: Allow to drop the softirq-BKL lock on PREEMPT_RT",
    "since": "6.18",
    "link": "https://git.kernel.org/torvalds/c/3253cb49cbad",
}


class net_rx_stack(Struct):
    """The stack of net_rx_action() and napi_threaded_poll_loop(), for each task: two of a CPU may be inside at once."""

    list: list_head = embed(line=0)
    repoll: list_head = embed(line=0)
    do_repoll: bool = private()
    """Where __napi_poll() leaves its ``bool *repoll``."""


@kfunc
def __local_bh_disable_ip(cnt: int) -> None:
    """kernel/softirq.c:156 (6.18, RT). this_cpu_add() is one instruction: an atomic_add() here, since the CPU's tasks share cnt."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        WARN_ON_ONCE(in_hardirq())
        if not current().softirq_disable_cnt:
            if preemptible():
                migrate_disable()
                rcu_read_lock()
            else:
                WARN_ON_ONCE(this_cpu_ptr(softirq_ctrl).cnt)
        atomic_add(cnt, this_cpu_ptr(softirq_ctrl).cnt)
        current().softirq_disable_cnt += cnt
    else:
        preempt_count_add(cnt)


@kfunc
def __local_bh_enable(cnt: int, unlock: bool) -> None:
    """kernel/softirq.c:216 (6.18, RT)."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        current().softirq_disable_cnt -= cnt
        atomic_add(-cnt, this_cpu_ptr(softirq_ctrl).cnt)
        if unlock and not current().softirq_disable_cnt:
            migrate_enable()
            rcu_read_unlock()
        else:
            WARN_ON_ONCE(current().softirq_disable_cnt < 0)
    else:
        preempt_count_sub(cnt)


@kfunc
def __local_bh_enable_ip_rt(cnt: int) -> None:
    """kernel/softirq.c:258 (6.18), PREEMPT_RT's __local_bh_enable_ip(): the task's own outermost enable runs what is pending."""
    preempt_on = preemptible()
    flags = local_irq_save()
    if current().softirq_disable_cnt == cnt:
        if local_softirq_pending():
            if not preempt_on:
                wakeup_softirqd()
            else:
                cnt = SOFTIRQ_OFFSET
                __local_bh_enable(cnt, False)
                __do_softirq()
    __local_bh_enable(cnt, preempt_on)
    local_irq_restore(flags)


@kfunc
def __napi_poll(n: napi_struct) -> int:
    """net/core/dev.c:7593 (6.18), as before, but for where ``*repoll`` is."""
    weight = n.weight
    stack = table(net_rx_stack, index_of(current()))
    stack.do_repoll = False

    work_done = 0
    if test_bit(NAPI_STATE_SCHED, n.state):
        work("napi_poll")
        work_done = n.poll(n, weight)
        trace_napi_poll(n, work_done, weight)
    BUG_ON(work_done > weight)

    if work_done < weight:
        return work_done

    if napi_disable_pending(n):
        napi_complete_done(n, 0)
        return work_done
    if napi_prefer_busy_poll(n):
        if napi_complete_done(n, work_done):
            napi_schedule(n)
        return work_done
    if n.gro_bitmask:
        napi_gro_flush(n, HZ >= 1000)
    gro_normal_list(n)
    if not list_empty(n.poll_list):
        return work_done
    stack.do_repoll = True
    return work_done


@kfunc
def napi_poll(n: napi_struct, repoll: list_head) -> int:
    """net/core/dev.c:7660 (6.18)."""
    list_del_init(n.poll_list)
    work_done = __napi_poll(n)
    if table(net_rx_stack, index_of(current())).do_repoll:
        list_add_tail(n.poll_list, repoll)
    return work_done


@kfunc
def napi_threaded_poll_loop(napi: napi_struct) -> None:
    """net/core/dev.c:7709 (6.18)."""
    while True:
        local_bh_disable()
        sd = this_cpu_ptr(softnet_data)
        sd.in_napi_threaded_poll = True
        __napi_poll(napi)
        repoll = table(net_rx_stack, index_of(current())).do_repoll
        sd.in_napi_threaded_poll = False
        barrier()

        if sd_has_rps_ipi_waiting(sd):
            local_irq_disable()
            net_rps_action_and_irq_enable(sd)
        skb_defer_free_flush(sd)
        local_bh_enable()
        if not repoll:
            break
        cond_resched()


@kfunc
def net_rx_action() -> None:
    """net/core/dev.c:7758 (6.18), as before, with its lists where no other task of the CPU has them."""
    nh = table(net_hotdata, 0)
    sd = this_cpu_ptr(softnet_data)
    time_limit = jiffies() + usecs_to_jiffies(READ_ONCE(nh.netdev_budget_usecs))
    budget = READ_ONCE(nh.netdev_budget)
    stack = table(net_rx_stack, index_of(current()))
    list = stack.list
    repoll = stack.repoll
    INIT_LIST_HEAD(list)
    INIT_LIST_HEAD(repoll)

    work("net_rx_action")
    sd.in_net_rx_action = True
    local_irq_disable()
    list_splice_init(sd.poll_list, list)
    local_irq_enable()

    while True:
        skb_defer_free_flush(sd)

        if list_empty(list):
            if list_empty(repoll):
                sd.in_net_rx_action = False
                barrier()
                # ____napi_schedule() may have filled poll_list without a raise while the flag was true.
                if not list_empty(sd.poll_list):
                    sd.in_net_rx_action = True
                    local_irq_disable()
                    list_splice_init(sd.poll_list, list)
                    local_irq_enable()
                    continue
                if not sd_has_rps_ipi_waiting(sd):
                    trace_net_rx_action(READ_ONCE(nh.netdev_budget) - budget)
                    return
            break

        n = container_of(list.next, napi_struct, "poll_list")
        budget -= napi_poll(n, repoll)

        if budget <= 0 or jiffies() >= time_limit:
            sd.time_squeeze += 1
            trace_time_squeeze(READ_ONCE(nh.netdev_budget) - budget)
            break

    local_irq_disable()

    list_splice_tail_init(sd.poll_list, list)
    list_splice_tail(repoll, list)
    list_splice(list, sd.poll_list)
    if not list_empty(sd.poll_list):
        __raise_softirq_irqoff(NET_RX_SOFTIRQ)
    else:
        sd.in_net_rx_action = False

    trace_net_rx_action(READ_ONCE(nh.netdev_budget) - budget)
    net_rps_action_and_irq_enable(sd)
