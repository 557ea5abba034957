# SPDX-License-Identifier: GPL-2.0-or-later
"""net: optimize enqueue_to_backlog() for the fast path.

The flow limit is asked before the lock, with the length as it is seen without it: a flow that is over its share no longer makes
its producer take the backlog's lock. Read from the commit and in 7.2.12 and 7.3.4.
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
    from softnet.linux.net.core.dev_backlog import dev_core_stats_rx_dropped_inc, napi_schedule_rps
    from softnet.linux.net.core.skbuff import *
    from softnet.linux.patches.backlog_lock_rename import backlog_lock_irq_save, backlog_unlock_irq_restore
    from softnet.linux.patches.drop_counters_numa import backlog_dropped
    from softnet.linux.patches.dropped_atomic import rps_input_queue_tail_incr, rps_input_queue_tail_save
    from softnet.linux.patches.flow_limit_hash import skb_flow_limit


PATCH = {
    "commit": "a086e9860ce6",
    "subject": "net: optimize enqueue_to_backlog() for the fast path",
    "since": "6.19",
    "link": "https://git.kernel.org/netdev/net-next/c/a086e9860ce6",
}


@kfunc
def enqueue_to_backlog(skb: sk_buff, cpu: int, rflow: rps_dev_flow) -> int:
    """net/core/dev.c, int enqueue_to_backlog(struct sk_buff *skb, int cpu, unsigned int *qtail)."""
    nh = table(net_hotdata, 0)
    reason = SKB_DROP_REASON_DEV_READY

    work("enqueue_to_backlog")
    if netif_running(skb.dev):
        reason = SKB_DROP_REASON_CPU_BACKLOG
        sd = per_cpu(softnet_data, cpu)
        qlen = skb_queue_len_lockless(sd.input_pkt_queue)
        max_backlog = READ_ONCE(nh.max_backlog)
        if qlen <= max_backlog and not skb_flow_limit(skb, qlen):
            flags = backlog_lock_irq_save(sd)
            qlen = sd.input_pkt_queue.qlen
            if qlen <= max_backlog:
                if not qlen:
                    # The lock is held, so the test-and-set need not be atomic.
                    if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
                        napi_schedule_rps(sd)
                __skb_queue_tail(sd.input_pkt_queue, skb)
                tail = rps_input_queue_tail_incr(sd)
                trace_enqueue_to_backlog(skb, cpu, qlen + 1)
                backlog_unlock_irq_restore(sd, flags)
                rps_input_queue_tail_save(rflow, tail)
                return NET_RX_SUCCESS
            backlog_unlock_irq_restore(sd, flags)
        backlog_dropped(sd)

    trace_backlog_drop(skb, cpu, reason)
    dev_core_stats_rx_dropped_inc(skb.dev)
    kfree_skb_reason(skb, reason)
    return NET_RX_DROP
