# SPDX-License-Identifier: GPL-2.0-or-later
"""net: enqueue_to_backlog() change vs not running device.

A packet for a device that is down is dropped with the reason DEV_READY and is no longer counted in softnet_stat's
dropped. 6.12's stable series tests the device under the lock again; this module has the order of 6.12.117.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.lang.intrinsics import __test_and_set_bit
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.linux.skbuff import __skb_queue_tail
    from softnet.linux.include.trace.events import *
    from softnet.linux.net.core.dev_backlog import dev_core_stats_rx_dropped_inc, napi_schedule_rps, skb_flow_limit
    from softnet.linux.net.core.skbuff import *
    from softnet.linux.patches.backlog_lock_rename import backlog_lock_irq_save, backlog_unlock_irq_restore


PATCH = {
    "commit": "95e48d862ada",
    "subject": "net: enqueue_to_backlog() change vs not running device",
    "since": "6.10",
    "link": "https://lore.kernel.org/r/20240329154225.349288-4-edumazet@google.com",
}


@kfunc
def enqueue_to_backlog(skb: sk_buff, cpu: int, rflow: rps_dev_flow) -> int:
    """net/core/dev.c, int enqueue_to_backlog(struct sk_buff *skb, int cpu, unsigned int *qtail)."""
    nh = table(net_hotdata, 0)
    reason = SKB_DROP_REASON_CPU_BACKLOG
    sd = per_cpu(softnet_data, cpu)

    work("enqueue_to_backlog")
    flags = backlog_lock_irq_save(sd)
    qlen = sd.input_pkt_queue.qlen
    if qlen <= READ_ONCE(nh.max_backlog) and not skb_flow_limit(skb, qlen):
        if netif_running(skb.dev):
            if not qlen:
                if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
                    napi_schedule_rps(sd)
            __skb_queue_tail(sd.input_pkt_queue, skb)
            input_queue_tail_incr_save(sd, rflow)
            trace_enqueue_to_backlog(skb, cpu, qlen + 1)
            backlog_unlock_irq_restore(sd, flags)
            return NET_RX_SUCCESS
        reason = SKB_DROP_REASON_DEV_READY
    else:
        sd.dropped += 1
    backlog_unlock_irq_restore(sd, flags)

    trace_backlog_drop(skb, cpu, reason)
    dev_core_stats_rx_dropped_inc(skb.dev)
    kfree_skb_reason(skb, reason)
    return NET_RX_DROP
