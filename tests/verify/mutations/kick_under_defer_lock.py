# SPDX-License-Identifier: GPL-2.0-or-later
"""The kick is sent under defer_lock, and process_backlog() takes defer_lock under the backlog's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import (
        READ_ONCE,
        WARN_ON_ONCE,
        WRITE_ONCE,
        container_of,
        per_cpu,
        raw_smp_processor_id,
        table,
        trace,
        work,
    )
    from softnet.linux.include.linux.netdevice import napi_struct, net_hotdata, softnet_data
    from softnet.linux.include.linux.skbuff import (
        __skb_dequeue,
        sk_buff,
        skb_queue_empty,
        skb_queue_splice_tail_init,
    )
    from softnet.linux.kernel.locking.spinlock import (
        local_irq_disable,
        local_lock_nested_bh,
        local_unlock_nested_bh,
        spin_lock,
        spin_lock_bh,
        spin_unlock,
        spin_unlock_bh,
    )
    from softnet.linux.kernel.sched.core import rcu_read_lock, rcu_read_unlock
    from softnet.linux.net.core.dev_backlog import (
        net_rps_action_and_irq_enable,
        process_backlog_retire_sched,
        sd_has_rps_ipi_waiting,
    )
    from softnet.linux.net.core.dev_receive import __netif_receive_skb
    from softnet.linux.patches.backlog_lock_rename import backlog_lock_irq_disable, backlog_unlock_irq_enable
    from softnet.linux.patches.backlog_napi_defer_list import kick_defer_list_purge
    from softnet.linux.patches.nodefer_napi_cache import kfree_skb_napi_cache
    from softnet.linux.patches.process_queue_bh_lock import softnet_data
    from softnet.linux.patches.rps_input_queue_head_add import rps_input_queue_head_add
    from softnet.machine.interrupts import cpu_online, nr_cpu_ids


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
    kick = sd.defer_count == defer_max >> 1
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    skb.next = sd.defer_list
    WRITE_ONCE(sd.defer_list, skb)
    trace("skb_attempt_defer_free", skb.id, cpu, sd.defer_count)
    if kick:
        kick_defer_list_purge(sd, cpu)
    spin_unlock_bh(sd.defer_lock)


@kfunc
def process_backlog(napi: napi_struct, quota: int) -> int:
    """net/core/dev.c:6279 (6.12)."""
    sd = container_of(napi, softnet_data, "backlog")
    again = True
    work_done = 0

    if sd_has_rps_ipi_waiting(sd):
        local_irq_disable()
        net_rps_action_and_irq_enable(sd)

    work("process_backlog")
    napi.weight = READ_ONCE(table(net_hotdata, 0).dev_rx_weight)
    while again:
        local_lock_nested_bh(sd.process_queue_bh_lock)
        skb = __skb_dequeue(sd.process_queue)
        while skb is not None:
            local_unlock_nested_bh(sd.process_queue_bh_lock)
            rcu_read_lock()
            __netif_receive_skb(skb)
            rcu_read_unlock()
            work_done += 1
            if work_done >= quota:
                rps_input_queue_head_add(sd, work_done)
                trace("process_backlog", work_done, quota)
                return work_done
            local_lock_nested_bh(sd.process_queue_bh_lock)
            skb = __skb_dequeue(sd.process_queue)
        local_unlock_nested_bh(sd.process_queue_bh_lock)

        backlog_lock_irq_disable(sd)
        spin_lock(sd.defer_lock)
        spin_unlock(sd.defer_lock)
        if skb_queue_empty(sd.input_pkt_queue):
            process_backlog_retire_sched(napi)
            again = False
        else:
            local_lock_nested_bh(sd.process_queue_bh_lock)
            skb_queue_splice_tail_init(sd.input_pkt_queue, sd.process_queue)
            local_unlock_nested_bh(sd.process_queue_bh_lock)
        backlog_unlock_irq_enable(sd)

    if work_done != 0:
        rps_input_queue_head_add(sd, work_done)
    trace("process_backlog", work_done, quota)
    return work_done
