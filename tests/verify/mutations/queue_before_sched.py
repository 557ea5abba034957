# SPDX-License-Identifier: GPL-2.0-or-later
"""The packet is queued and the lock given up before SCHED is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import READ_ONCE, __test_and_set_bit, atomic_inc, per_cpu, table, trace, work
    from softnet.linux.include.linux.netdevice import (
        NAPI_STATE_SCHED,
        NET_RX_DROP,
        NET_RX_SUCCESS,
        net_hotdata,
        netif_running,
        rps_dev_flow,
    )
    from softnet.linux.include.linux.skbuff import (
        SKB_DROP_REASON_CPU_BACKLOG,
        SKB_DROP_REASON_DEV_READY,
        __skb_queue_tail,
        sk_buff,
        skb_queue_len_lockless,
    )
    from softnet.linux.net.core.dev_backlog import (
        dev_core_stats_rx_dropped_inc,
        napi_schedule_rps,
        skb_flow_limit,
    )
    from softnet.linux.net.core.skbuff import kfree_skb_reason
    from softnet.linux.patches.backlog_lock_rename import backlog_lock_irq_save, backlog_unlock_irq_restore
    from softnet.linux.patches.dropped_atomic import (
        rps_input_queue_tail_incr,
        rps_input_queue_tail_save,
        softnet_data,
    )


@kfunc
def enqueue_to_backlog(skb: sk_buff, cpu: int, rflow: rps_dev_flow) -> int:
    """net/core/dev.c:5034 (6.12.117)."""
    nh = table(net_hotdata, 0)
    reason = SKB_DROP_REASON_CPU_BACKLOG
    sd = per_cpu(softnet_data, cpu)

    work("enqueue_to_backlog")
    qlen = skb_queue_len_lockless(sd.input_pkt_queue)
    max_backlog = READ_ONCE(nh.max_backlog)
    if qlen <= max_backlog:
        flags = backlog_lock_irq_save(sd)
        qlen = sd.input_pkt_queue.qlen
        if qlen <= max_backlog and not skb_flow_limit(skb, qlen):
            if netif_running(skb.dev):
                __skb_queue_tail(sd.input_pkt_queue, skb)
                tail = rps_input_queue_tail_incr(sd)
                trace("enqueue_to_backlog", skb.id, cpu, qlen + 1)
                backlog_unlock_irq_restore(sd, flags)
                flags = backlog_lock_irq_save(sd)
                if qlen == 0:
                    if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
                        napi_schedule_rps(sd)
                backlog_unlock_irq_restore(sd, flags)
                rps_input_queue_tail_save(rflow, tail)
                return NET_RX_SUCCESS
            reason = SKB_DROP_REASON_DEV_READY
        backlog_unlock_irq_restore(sd, flags)

    if reason == SKB_DROP_REASON_CPU_BACKLOG:
        atomic_inc(sd.dropped)
    trace("backlog_drop", skb.id, cpu, reason)
    dev_core_stats_rx_dropped_inc(skb.dev)
    kfree_skb_reason(skb, reason)
    return NET_RX_DROP
