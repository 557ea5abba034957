# SPDX-License-Identifier: GPL-2.0-or-later
"""Correct: append, then take SCHED and schedule, all under the one lock."""

from __future__ import annotations

from softnet.lang import kfunc


@kfunc
def enqueue_to_backlog(skb: sk_buff, cpu: int, rflow: rps_dev_flow) -> int:
    nh = table(net_hotdata, 0)
    reason = SKB_DROP_REASON_CPU_BACKLOG
    sd = per_cpu(softnet_data, cpu)
    qlen = skb_queue_len_lockless(sd.input_pkt_queue)
    max_backlog = READ_ONCE(nh.max_backlog)
    if qlen <= max_backlog:
        flags = backlog_lock_irq_save(sd)
        qlen = sd.input_pkt_queue.qlen
        if qlen <= max_backlog and not skb_flow_limit(skb, qlen):
            if netif_running(skb.dev):
                __skb_queue_tail(sd.input_pkt_queue, skb)
                tail = rps_input_queue_tail_incr(sd)
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
    dev_core_stats_rx_dropped_inc(skb.dev)
    kfree_skb_reason(skb, reason)
    return NET_RX_DROP
