# SPDX-License-Identifier: GPL-2.0-or-later
"""net: make softnet_data.dropped an atomic_t.

A full backlog is seen without its lock: a producer that must drop no longer slows the CPU that drains. With it
36b83ffcf209 ("net: rps: change input_queue_tail_incr_save()"), which stores RFS's tail after the unlock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.lang.intrinsics import __test_and_set_bit
    from softnet.linux.config import *
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
    from softnet.linux.include.trace.events import *
    from softnet.linux.net.core.dev_backlog import dev_core_stats_rx_dropped_inc, napi_schedule_rps, skb_flow_limit
    from softnet.linux.net.core.skbuff import kfree_skb_reason
    from softnet.linux.patches.backlog_lock_rename import backlog_lock_irq_save, backlog_unlock_irq_restore


PATCH = {
    "commit": "a7ae7b0b2ea0",
    "subject": "net: make softnet_data.dropped an atomic_t",
    "since": "6.10",
    "link": "https://lore.kernel.org/r/20240329154225.349288-5-edumazet@google.com",
}


class softnet_data(Struct, extends=True):
    """include/linux/netdevice.h: ``dropped`` on a line of its own."""

    dropped: int = shared(line=22, statistic=True)


@kfunc
def rps_input_queue_tail_incr(sd: softnet_data) -> int:
    """include/net/rps.h:125 (6.12)."""
    if IS_ENABLED(CONFIG_RPS):
        sd.input_queue_tail += 1
        return sd.input_queue_tail
    return 0


@kfunc
def rps_input_queue_tail_save(rflow: rps_dev_flow, tail: int) -> None:
    """include/net/rps.h:134 (6.12), void rps_input_queue_tail_save(u32 *dest, u32 tail)."""
    if IS_ENABLED(CONFIG_RPS):
        if rflow:
            WRITE_ONCE(rflow.last_qtail, tail)


@kfunc
def enqueue_to_backlog(skb: sk_buff, cpu: int, rflow: rps_dev_flow) -> int:
    """net/core/dev.c:5034 (6.12.117), int enqueue_to_backlog(struct sk_buff *skb, int cpu, unsigned int *qtail)."""
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
            reason = SKB_DROP_REASON_DEV_READY
        backlog_unlock_irq_restore(sd, flags)

    if reason == SKB_DROP_REASON_CPU_BACKLOG:
        atomic_inc(sd.dropped)
    trace_backlog_drop(skb, cpu, reason)
    dev_core_stats_rx_dropped_inc(skb.dev)
    kfree_skb_reason(skb, reason)
    return NET_RX_DROP
