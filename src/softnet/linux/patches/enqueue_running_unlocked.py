# SPDX-License-Identifier: GPL-2.0-or-later
"""net: enqueue_to_backlog() change vs not running device, in mainline's order: the device is looked at before the lock.

Whether the device is up is asked before the backlog's lock is taken. 6.12's stable series took 46762cefe7f4, which asks under the
lock again; read in 6.18.15, which has not got it.
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
    from softnet.linux.patches.dropped_atomic import rps_input_queue_tail_incr, rps_input_queue_tail_save


PATCH = {
    "commit": "95e48d862ada",
    "subject": "net: enqueue_to_backlog() change vs not running device",
    "since": "6.10",
    "link": "https://lore.kernel.org/r/20240329154225.349288-4-edumazet@google.com",
}


@kfunc
def backlog_dropped(sd: softnet_data) -> None:
    """net/core/dev.c, in enqueue_to_backlog(): one more packet did not fit."""
    atomic_inc(sd.dropped)


@kfunc
def enqueue_to_backlog(skb: sk_buff, cpu: int, rflow: rps_dev_flow) -> int:
    """net/core/dev.c:5259 (6.18), int enqueue_to_backlog(struct sk_buff *skb, int cpu, unsigned int *qtail)."""
    nh = table(net_hotdata, 0)
    reason = SKB_DROP_REASON_DEV_READY

    work("enqueue_to_backlog")
    if netif_running(skb.dev):
        reason = SKB_DROP_REASON_CPU_BACKLOG
        sd = per_cpu(softnet_data, cpu)
        qlen = skb_queue_len_lockless(sd.input_pkt_queue)
        max_backlog = READ_ONCE(nh.max_backlog)
        if qlen <= max_backlog:
            flags = backlog_lock_irq_save(sd)
            qlen = sd.input_pkt_queue.qlen
            if qlen <= max_backlog and not skb_flow_limit(skb, qlen):
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
