# SPDX-License-Identifier: GPL-2.0-or-later
"""net: Use backlog-NAPI to clean up the defer_list. The series, 3/4.

A full defer list wakes its CPU's backlog thread, where there is one, instead of raising NET_RX through an IPI: on
PREEMPT_RT that raise could only wake ksoftirqd. The thread's NAPI state is written by other CPUs then, so
input_pkt_queue.lock must be a lock with RPS off, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.lang.intrinsics import __test_and_set_bit
    from softnet.linux.config import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.smp import *
    from softnet.linux.net.core.dev import __napi_schedule_irqoff
    from softnet.linux.net.core.skbuff import __kfree_skb
    from softnet.linux.patches.backlog_napi_threads import use_backlog_threads
    from softnet.machine.interrupts import *


PATCH = {
    "commit": "80d2eefcb4c8",
    "subject": "net: Use backlog-NAPI to clean up the defer_list.",
    "since": "6.10",
    "link": "https://lore.kernel.org/r/20240325074943.289909-4-bigeasy@linutronix.de",
}


@kfunc
def rps_lock_irqsave(sd: softnet_data) -> int:
    """net/core/dev.c, void rps_lock_irqsave(struct softnet_data *sd, unsigned long *flags)."""
    if IS_ENABLED(CONFIG_RPS) or use_backlog_threads():
        return spin_lock_irqsave(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        return local_irq_save()
    return 0


@kfunc
def rps_lock_irq_disable(sd: softnet_data) -> None:
    """net/core/dev.c."""
    if IS_ENABLED(CONFIG_RPS) or use_backlog_threads():
        spin_lock_irq(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_disable()


@kfunc
def rps_unlock_irq_restore(sd: softnet_data, flags: int) -> None:
    """net/core/dev.c, void rps_unlock_irq_restore(struct softnet_data *sd, unsigned long *flags)."""
    if IS_ENABLED(CONFIG_RPS) or use_backlog_threads():
        spin_unlock_irqrestore(sd.input_pkt_queue.lock, flags)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_restore(flags)


@kfunc
def rps_unlock_irq_enable(sd: softnet_data) -> None:
    """net/core/dev.c."""
    if IS_ENABLED(CONFIG_RPS) or use_backlog_threads():
        spin_unlock_irq(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_enable()


@kfunc
def kick_defer_list_purge(sd: softnet_data, cpu: int) -> None:
    """net/core/dev.c:4973 (6.12): make ``cpu`` empty its defer list, by its backlog thread or by an IPI."""
    if use_backlog_threads():
        flags = rps_lock_irqsave(sd)
        if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
            trace_kick_defer_list_purge(cpu)
            __napi_schedule_irqoff(sd.backlog)
        else:
            trace_kick_coalesced(cpu)
        rps_unlock_irq_restore(sd, flags)
    elif not cmpxchg(sd.defer_ipi_scheduled, 0, 1):
        trace_kick_defer_list_purge(cpu)
        smp_call_function_single_async(cpu, sd.defer_csd)
    else:
        trace_kick_coalesced(cpu)


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c."""
    cpu = skb.alloc_cpu
    if WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu) or cpu == raw_smp_processor_id():
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_CPU)
        __kfree_skb(skb)
        return

    sd = per_cpu(softnet_data, cpu)
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    if READ_ONCE(sd.defer_count) >= defer_max:
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
        __kfree_skb(skb)
        return

    work("skb_attempt_defer_free")
    spin_lock_bh(sd.defer_lock)
    kick = sd.defer_count == defer_max >> 1
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    skb.next = sd.defer_list
    WRITE_ONCE(sd.defer_list, skb)
    trace_skb_attempt_defer_free(skb, cpu, sd.defer_count)
    spin_unlock_bh(sd.defer_lock)

    if kick:
        kick_defer_list_purge(sd, cpu)
