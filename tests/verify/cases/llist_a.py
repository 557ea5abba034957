# SPDX-License-Identifier: GPL-2.0-or-later
"""v6.18: per-CPU llist and atomic counter for deferred skbs (844c9db7f7f5, 5628f3fe3b16), one NUMA node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import (
        READ_ONCE,
        WARN_ON_ONCE,
        atomic_inc_return,
        atomic_set,
        container_of,
        per_cpu,
        raw_smp_processor_id,
        table,
        this_cpu_ptr,
    )
    from softnet.linux.include.linux.list import llist_add, llist_del_all, llist_empty, llist_head, llist_node
    from softnet.linux.include.linux.netdevice import net_hotdata, softnet_data
    from softnet.linux.net.core.skbuff import napi_consume_skb
    from softnet.linux.patches.backlog_lock_rename import kick_defer_list_purge
    from softnet.linux.patches.nodefer_napi_cache import kfree_skb_napi_cache
    from softnet.machine.interrupts import cpu_online, nr_cpu_ids

PATCH = {"commit": "844c9db7f7f5", "subject": "net: use llist for sd->defer_list", "since": "6.18"}


class skb_defer_node(Struct):
    """include/net/hotdata.h"""

    defer_list: llist_head = embed(line=0)
    defer_count: int = shared(line=0)


class sk_buff(Struct, extends=True):
    """include/linux/skbuff.h: in a union with next."""

    ll_node: llist_node = embed(line=0)


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c (6.18)"""
    cpu = skb.alloc_cpu
    if cpu == raw_smp_processor_id() or WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu):
        kfree_skb_napi_cache(skb)
        return

    sdn = per_cpu(skb_defer_node, cpu)
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    defer_count = atomic_inc_return(sdn.defer_count)

    if defer_count >= defer_max:
        kfree_skb_napi_cache(skb)
        return

    llist_add(skb.ll_node, sdn.defer_list)

    kick = (defer_count - 1) == (defer_max >> 1)
    if kick:
        kick_defer_list_purge(per_cpu(softnet_data, cpu), cpu)


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    """net/core/dev.c (6.18)"""
    sdn = this_cpu_ptr(skb_defer_node)
    if llist_empty(sdn.defer_list):
        return
    atomic_set(sdn.defer_count, 0)
    node = llist_del_all(sdn.defer_list)
    while node is not None:
        skb = container_of(node, sk_buff, "ll_node")
        node = node.next
        napi_consume_skb(skb, 1)
