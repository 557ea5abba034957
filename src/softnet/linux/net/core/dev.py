# SPDX-License-Identifier: GPL-2.0-or-later
"""net/core/dev.c (6.1), NAPI and net_rx_action, threaded NAPI, the defer list's flush, CPU death, initialisation.

The backlog stands in dev_backlog.py, delivery to the protocols in dev_receive.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import fnptr, kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.drivers.net.softnet_nic import nic_vector
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.linux.skbuff import __skb_dequeue
    from softnet.linux.include.linux.spinlock import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.sched.core import __set_current_state
    from softnet.linux.kernel.softirq import *
    from softnet.linux.kernel.softirq import __raise_softirq_irqoff
    from softnet.linux.kernel.time.time import *
    from softnet.linux.net.core.dev_backlog import (
        net_rps_action_and_irq_enable,
        net_rps_send_ipi,
        netif_rx,
        process_backlog,
        rps_trigger_softirq,
        sd_has_rps_ipi_waiting,
        trigger_rx_softirq,
    )
    from softnet.linux.net.core.gro import gro_normal_list, napi_gro_flush
    from softnet.linux.net.core.skbuff import *
    from softnet.machine.sched import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


@kfunc
def ____napi_schedule(sd: softnet_data, napi: napi_struct) -> None:
    """dev.c:4490 (6.1), interrupts off: wake the NAPI's thread, or put it on this CPU's poll list."""
    trace_napi_schedule(napi, smp_processor_id())
    if test_bit(NAPI_STATE_THREADED, napi.state):
        thread = READ_ONCE(napi.thread)
        if thread:
            # A thread in INTERRUPTIBLE that is woken owns the NAPI by that alone (until 56364c910691, v6.10).
            if task_state(thread) != TASK_INTERRUPTIBLE:
                set_bit(NAPI_STATE_SCHED_THREADED, napi.state)
            wake_up_process(thread)
            return

    list_add_tail(napi.poll_list, sd.poll_list)
    raise_softirq_irqoff(NET_RX_SOFTIRQ)


@kfunc
def __napi_schedule(n: napi_struct) -> None:
    """dev.c:6117 (6.1)."""
    flags = local_irq_save()
    ____napi_schedule(this_cpu_ptr(softnet_data), n)
    local_irq_restore(flags)


@kfunc
def napi_schedule_prep(n: napi_struct) -> bool:
    """dev.c:6136 (6.1): take SCHED; if somebody has it, tell them by MISSED. Not while DISABLE is set."""
    while True:
        val = READ_ONCE(n.state)
        if val & NAPIF_STATE_DISABLE:
            return False
        new = val | NAPIF_STATE_SCHED
        new |= (val & NAPIF_STATE_SCHED) // NAPIF_STATE_SCHED * NAPIF_STATE_MISSED
        if cmpxchg(n.state, val, new) == val:
            break
    return not (val & NAPIF_STATE_SCHED)


@kfunc
def __napi_schedule_irqoff(n: napi_struct) -> None:
    """dev.c:6170 (6.1). PREEMPT_RT runs callers with interrupts on where this name promises them off."""
    if not IS_ENABLED(CONFIG_PREEMPT_RT):
        ____napi_schedule(this_cpu_ptr(softnet_data), n)
    else:
        __napi_schedule(n)


@kfunc
def napi_complete_done(n: napi_struct, work_done: int) -> bool:
    """dev.c:6179 (6.1): give SCHED up. Whether the driver may unmask its interrupt."""
    timeout = 0
    ret = True
    # Netpoll and busy polling own the NAPI: its poll must not end it.
    if n.state & (NAPIF_STATE_NPSVC | NAPIF_STATE_IN_BUSY_POLL):
        return False

    work("napi_complete_done")
    if work_done:
        if n.gro_bitmask:
            timeout = READ_ONCE(n.dev.gro_flush_timeout)
        n.defer_hard_irqs_count = READ_ONCE(n.dev.napi_defer_hard_irqs)
    if n.defer_hard_irqs_count > 0:
        n.defer_hard_irqs_count -= 1
        timeout = READ_ONCE(n.dev.gro_flush_timeout)
        if timeout:
            ret = False
    if n.gro_bitmask:
        # With a timer armed young packets may stay; without one nothing would ever flush them.
        napi_gro_flush(n, bool(timeout))

    gro_normal_list(n)

    if not list_empty(n.poll_list):
        flags = local_irq_save()
        list_del_init(n.poll_list)
        local_irq_restore(flags)

    while True:
        val = READ_ONCE(n.state)
        WARN_ON_ONCE(not (val & NAPIF_STATE_SCHED))
        new = val & ~(NAPIF_STATE_MISSED | NAPIF_STATE_SCHED | NAPIF_STATE_SCHED_THREADED | NAPIF_STATE_PREFER_BUSY_POLL)
        # An interrupt came while we polled: keep SCHED and poll once more.
        new |= (val & NAPIF_STATE_MISSED) // NAPIF_STATE_MISSED * NAPIF_STATE_SCHED
        if cmpxchg(n.state, val, new) == val:
            break

    if val & NAPIF_STATE_MISSED:
        __napi_schedule(n)
        trace_napi_complete_done(n, work_done, False)
        return False

    if timeout:
        hrtimer_start(n.timer, ktime_get() + timeout)
    trace_napi_complete_done(n, work_done, ret)
    return ret


@kfunc
def napi_watchdog(timer: hrtimer) -> None:
    """dev.c:6441 (6.1): the poll that gro_flush_timeout promised. No MISSED: no device interrupt is behind it.

    On PREEMPT_RT this timer expires in HRTIMER_SOFTIRQ; here it expires in the hard interrupt and raises NET_RX from
    there, which wakes ksoftirqd just as HRTIMER_SOFTIRQ would have.
    """
    napi = container_of(timer, napi_struct, "timer")
    if not napi_disable_pending(napi):
        if not test_and_set_bit(NAPI_STATE_SCHED, napi.state):
            clear_bit(NAPI_STATE_PREFER_BUSY_POLL, napi.state)
            __napi_schedule_irqoff(napi)


@kfunc
def init_gro_hash(napi: napi_struct) -> None:
    """dev.c:6460 (6.1)."""
    for i in range(GRO_HASH_BUCKETS):
        INIT_LIST_HEAD(napi.gro_hash[i].list)
        napi.gro_hash[i].count = 0
    napi.gro_bitmask = 0


@kfunc
def netif_napi_add_weight(dev: net_device, napi: napi_struct, poll: fnptr, weight: int) -> None:
    """dev.c:6514 (6.1), with napi_enable() (6583): the device is up when the run begins."""
    INIT_LIST_HEAD(napi.poll_list)
    napi.timer.function = napi_watchdog
    init_gro_hash(napi)
    INIT_LIST_HEAD(napi.rx_list)
    INIT_LIST_HEAD(napi.rx_sublist)
    napi.rx_count = 0
    napi.poll = poll
    napi.weight = weight
    napi.dev = dev
    napi.list_owner = -1
    napi.state = NAPIF_STATE_LISTED
    if dev.threaded:
        napi.state = NAPIF_STATE_LISTED | NAPIF_STATE_THREADED


@kfunc
def napi_disable(n: napi_struct) -> None:
    """dev.c:6551 (6.1): wait until nobody owns the NAPI, and own it. A poll that is under way ends because DISABLE is set.

    From 6.18 on its settings are kept or its id is unhashed besides; 6.12 tries again with what the cmpxchg found. Neither is
    seen here.
    """
    set_bit(NAPI_STATE_DISABLE, n.state)
    while True:
        val = READ_ONCE(n.state)
        if val & (NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC):
            usleep_range(20, 200)
            continue
        new = (val | NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC) & ~(NAPIF_STATE_THREADED | NAPIF_STATE_PREFER_BUSY_POLL)
        if cmpxchg(n.state, val, new) == val:
            break
    hrtimer_cancel(n.timer)
    clear_bit(NAPI_STATE_DISABLE, n.state)


@kfunc
def napi_enable(n: napi_struct) -> None:
    """dev.c:6583 (6.1): give the NAPI up again. In one step (3765996e4f0b, v5.15): THREADED is there when SCHED is free."""
    while True:
        val = READ_ONCE(n.state)
        BUG_ON(not (val & NAPIF_STATE_SCHED))
        new = val & ~(NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC)
        if n.dev.threaded and n.thread is not None:
            new |= NAPIF_STATE_THREADED
        if cmpxchg(n.state, val, new) == val:
            break


@kfunc
def __napi_poll(n: napi_struct) -> int:
    """dev.c:6633 (6.1), int __napi_poll(struct napi_struct *n, bool *repoll); ``*repoll`` is the CPU's do_repoll."""
    sd = this_cpu_ptr(softnet_data)
    weight = n.weight
    sd.do_repoll = False

    # Netpoll may poll as well; only who sees SCHED under its lock makes the call.
    work_done = 0
    if test_bit(NAPI_STATE_SCHED, n.state):
        work("napi_poll")
        work_done = n.poll(n, weight)
        trace_napi_poll(n, work_done, weight)
    BUG_ON(work_done > weight)

    if work_done < weight:
        return work_done

    # A driver that used its whole weight must have left the state alone: we still own the NAPI.
    if napi_disable_pending(n):
        napi_complete_done(n, 0)
        return work_done
    if napi_prefer_busy_poll(n):
        if napi_complete_done(n, work_done):
            napi_schedule(n)
        return work_done
    if n.gro_bitmask:
        # Flush what is older than this jiffy; below 1000 Hz a jiffy is too long, so everything.
        napi_gro_flush(n, HZ >= 1000)
    gro_normal_list(n)
    if not list_empty(n.poll_list):
        return work_done
    sd.do_repoll = True
    return work_done


@kfunc
def napi_poll(n: napi_struct, repoll: list_head) -> int:
    """dev.c:6704 (6.1), without netpoll's lock."""
    list_del_init(n.poll_list)
    work_done = __napi_poll(n)
    if this_cpu_ptr(softnet_data).do_repoll:
        list_add_tail(n.poll_list, repoll)
    return work_done


@kfunc
def napi_thread_wait(napi: napi_struct) -> int:
    """dev.c:6724 (6.1): sleep until this thread owns the NAPI: by SCHED_THREADED, or by having been woken."""
    woken = False
    set_current_state(TASK_INTERRUPTIBLE)
    while True:
        if test_bit(NAPI_STATE_SCHED_THREADED, napi.state) or woken:
            WARN_ON_ONCE(not list_empty(napi.poll_list))
            __set_current_state(TASK_RUNNING)
            return 0
        schedule()
        # Being woken means owning the NAPI: ____napi_schedule() skipped the bit for a sleeper.
        woken = True
        set_current_state(TASK_INTERRUPTIBLE)


@kfunc(entry=True)
def napi_threaded_poll(data: int) -> None:
    """dev.c:6752 (6.1): the body of napi/NIC-QUEUE; ``data`` is the row of table(nic_vector, ...).

    It never flushes the defer list (until a1aaee7f8f79, v6.4).
    """
    napi = table(nic_vector, data).napi
    while True:
        napi_thread_wait(napi)
        while True:
            local_bh_disable()
            __napi_poll(napi)
            repoll = this_cpu_ptr(softnet_data).do_repoll
            local_bh_enable()
            if not repoll:
                break
            cond_resched()


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    """dev.c:6781 (6.1): free what other CPUs sent home (68822bdf76f1, v5.19)."""
    if not READ_ONCE(sd.defer_list):
        return

    flags = spin_lock_irqsave(sd.defer_lock)
    skb = sd.defer_list
    sd.defer_list = None
    count = sd.defer_count
    sd.defer_count = 0
    spin_unlock_irqrestore(sd.defer_lock, flags)

    trace_skb_defer_free_flush(count)
    while skb:
        next = skb.next
        napi_consume_skb(skb, 1)
        skb = next


@kfunc
def net_rx_action() -> None:
    """dev.c:6803 (6.1): the NET_RX softirq.

    ``list`` and ``repoll``, on the stack in C, stand in softnet_data: this cannot run twice at once on a CPU.
    """
    nh = table(net_hotdata, 0)
    sd = this_cpu_ptr(softnet_data)
    time_limit = jiffies() + usecs_to_jiffies(READ_ONCE(nh.netdev_budget_usecs))
    budget = READ_ONCE(nh.netdev_budget)
    list = sd.local_list
    repoll = sd.local_repoll
    INIT_LIST_HEAD(list)
    INIT_LIST_HEAD(repoll)

    work("net_rx_action")
    local_irq_disable()
    list_splice_init(sd.poll_list, list)
    local_irq_enable()

    while True:
        skb_defer_free_flush(sd)

        if list_empty(list):
            if not sd_has_rps_ipi_waiting(sd) and list_empty(repoll):
                trace_net_rx_action(READ_ONCE(nh.netdev_budget) - budget)
                return
            break

        n = container_of(list.next, napi_struct, "poll_list")
        budget -= napi_poll(n, repoll)

        # The window is two jiffies: an average of 1.5 / HZ.
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

    trace_net_rx_action(READ_ONCE(nh.netdev_budget) - budget)
    net_rps_action_and_irq_enable(sd)


@kfunc
def net_tx_action() -> None:
    """dev.c:4990 (6.1), the completion queue only: there are no qdiscs in this model."""
    sd = this_cpu_ptr(softnet_data)
    if sd.completion_queue:
        local_irq_disable()
        clist = sd.completion_queue
        sd.completion_queue = None
        local_irq_enable()
        while clist:
            skb = clist
            clist = clist.next
            consume_skb(skb)


@kfunc
def dev_cpu_dead(oldcpu: int) -> int:
    """dev.c:11277 (6.1), a CPU hotplug callback on a surviving CPU. The defer list is not touched."""
    local_irq_disable()
    sd = this_cpu_ptr(softnet_data)
    oldsd = per_cpu(softnet_data, oldcpu)

    skb = oldsd.completion_queue
    oldsd.completion_queue = None
    while skb:
        next = skb.next
        skb.next = sd.completion_queue
        sd.completion_queue = skb
        skb = next

    # The backlog must be polled by the CPU that owns it; its packets are taken below.
    while not list_empty(oldsd.poll_list):
        napi = container_of(oldsd.poll_list.next, napi_struct, "poll_list")
        list_del_init(napi.poll_list)
        if napi == oldsd.backlog:
            dev_cpu_dead_backlog(napi)
        else:
            ____napi_schedule(sd, napi)

    raise_softirq_irqoff(NET_TX_SOFTIRQ)
    local_irq_enable()

    dev_cpu_dead_send_ipi(oldsd)

    while skb := __skb_dequeue(oldsd.process_queue):
        netif_rx(skb)
        input_queue_head_incr(oldsd)
    while skb := skb_dequeue(oldsd.input_pkt_queue):
        netif_rx(skb)
        input_queue_head_incr(oldsd)
    return 0


@kfunc
def dev_cpu_dead_backlog(napi: napi_struct) -> None:
    """dev.c:11315 (6.1), the branch of dev_cpu_dead() for process_backlog."""
    napi.state = 0


@kfunc
def dev_cpu_dead_send_ipi(oldsd: softnet_data) -> None:
    """dev.c:11323 (6.1), in dev_cpu_dead(): the dead CPU's pending IPIs go out from here."""
    if IS_ENABLED(CONFIG_RPS):
        remsd = oldsd.rps_ipi_list
        oldsd.rps_ipi_list = None
        net_rps_send_ipi(remsd)


@kfunc
def net_dev_init(cpu: int) -> None:
    """dev.c:11592 (6.1), the body of its for_each_possible_cpu(); boot() makes the loop."""
    sd = per_cpu(softnet_data, cpu)
    skb_queue_head_init(sd.input_pkt_queue)
    skb_queue_head_init(sd.process_queue)
    INIT_LIST_HEAD(sd.poll_list)
    INIT_LIST_HEAD(sd.local_list)
    INIT_LIST_HEAD(sd.local_repoll)
    sd.csd.func = rps_trigger_softirq
    sd.csd.info = sd
    sd.cpu = cpu
    sd.defer_csd.func = trigger_rx_softirq
    sd.defer_csd.info = sd
    spin_lock_init(sd.defer_lock)
    init_gro_hash(sd.backlog)
    INIT_LIST_HEAD(sd.backlog.rx_list)
    INIT_LIST_HEAD(sd.backlog.rx_sublist)
    sd.backlog.poll = process_backlog
    sd.backlog.weight = NAPI_POLL_WEIGHT
    INIT_LIST_HEAD(sd.backlog.poll_list)
