# SPDX-License-Identifier: GPL-2.0-or-later
"""From 6.18 on: the counter of a defer list follows the list. Who is refused takes its count back, and the flush resets it last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import net_hotdata, softnet_data
    from softnet.linux.include.linux.skbuff import SKB_NODEFER_CPU, SKB_NODEFER_FULL, sk_buff
    from softnet.linux.include.linux.topology import numa_node_id
    from softnet.linux.include.trace.events import *
    from softnet.linux.net.core.skbuff import napi_consume_skb
    from softnet.linux.patches.defer_nodes import kick_defer_list_purge, skb_defer_nodes
    from softnet.linux.patches.nodefer_napi_cache import kfree_skb_napi_cache
    from softnet.machine.interrupts import *


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c:7188 (6.18), and a skb that does not go on the list is not counted."""
    cpu = skb.alloc_cpu
    if cpu == raw_smp_processor_id() or WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu):
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_CPU)
        kfree_skb_napi_cache(skb)
        return

    sdn = skb_defer_nodes(cpu, numa_node_id())
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    defer_count = atomic_inc_return(sdn.defer_count)
    if defer_count >= defer_max:
        atomic_dec(sdn.defer_count)
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
        kfree_skb_napi_cache(skb)
        return

    work("skb_attempt_defer_free")
    trace_skb_attempt_defer_free(skb, cpu, defer_count)
    llist_add(skb.ll_node, sdn.defer_list)

    if defer_count - 1 == defer_max >> 1:
        kick_defer_list_purge(cpu)


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    """net/core/dev.c:6732 (6.18), the list first: what is pushed meanwhile stays on it, and is not counted."""
    for node in range(nr_node_ids()):
        sdn = skb_defer_nodes(smp_processor_id(), node)
        if llist_empty(sdn.defer_list):
            continue
        entry = llist_del_all(sdn.defer_list)
        atomic_set(sdn.defer_count, 0)
        count = 0
        while entry:
            skb = container_of(entry, sk_buff, "ll_node")
            entry = entry.next
            napi_consume_skb(skb, 1)
            count += 1
        trace_skb_defer_free_flush(count)
