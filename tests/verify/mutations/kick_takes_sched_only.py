# SPDX-License-Identifier: GPL-2.0-or-later
"""The kick takes SCHED and schedules nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import (
        READ_ONCE,
        WARN_ON_ONCE,
        WRITE_ONCE,
        __test_and_set_bit,
        cmpxchg,
        per_cpu,
        raw_smp_processor_id,
        table,
        trace,
        work,
    )
    from softnet.linux.include.linux.netdevice import NAPI_STATE_SCHED, net_hotdata, softnet_data
    from softnet.linux.include.linux.skbuff import sk_buff
    from softnet.linux.kernel.locking.spinlock import spin_lock_bh, spin_unlock_bh
    from softnet.linux.kernel.smp import smp_call_function_single_async
    from softnet.linux.patches.backlog_lock_rename import backlog_lock_irq_save, backlog_unlock_irq_restore
    from softnet.linux.patches.backlog_napi_threads import use_backlog_threads
    from softnet.linux.patches.nodefer_napi_cache import kfree_skb_napi_cache
    from softnet.machine.interrupts import cpu_online, nr_cpu_ids


@kfunc
def kick_defer_list_purge(sd: softnet_data, cpu: int) -> None:
    """net/core/dev.c:4973 (6.12)."""
    if use_backlog_threads():
        flags = backlog_lock_irq_save(sd)
        if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
            trace("kick_defer_list_purge", cpu)
        else:
            trace("kick_coalesced", cpu)
        backlog_unlock_irq_restore(sd, flags)
    elif cmpxchg(sd.defer_ipi_scheduled, 0, 1) == 0:
        trace("kick_defer_list_purge", cpu)
        smp_call_function_single_async(cpu, sd.defer_csd)
    else:
        trace("kick_coalesced", cpu)


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c:7237 (6.12)."""
    cpu = skb.alloc_cpu
    if cpu == raw_smp_processor_id() or WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu):
        trace("skb_defer_nodefer", skb.id, cpu, 0)
        kfree_skb_napi_cache(skb)
        return

    sd = per_cpu(softnet_data, cpu)
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    if READ_ONCE(sd.defer_count) >= defer_max:
        trace("skb_defer_nodefer", skb.id, cpu, 1)
        kfree_skb_napi_cache(skb)
        return

    work("skb_attempt_defer_free")
    spin_lock_bh(sd.defer_lock)
    kick = sd.defer_count == 0
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    skb.next = sd.defer_list
    WRITE_ONCE(sd.defer_list, skb)
    trace("skb_attempt_defer_free", skb.id, cpu, sd.defer_count)
    spin_unlock_bh(sd.defer_lock)

    if kick:
        kick_defer_list_purge(sd, cpu)
