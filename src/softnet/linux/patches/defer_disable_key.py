# SPDX-License-Identifier: GPL-2.0-or-later
"""net: add skb_defer_disable_key static key.

With skb_defer_max 0 nothing is deferred and nothing is counted: before, the counter was raised by each free that it refused, and
stayed full when deferral was switched on again (C10). 8a4e3ab61d49 asks the key in napi_consume_skb(), too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import llist_add
    from softnet.linux.include.linux.netdevice import net_hotdata
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.linux.skbuff import SKB_NODEFER_CPU, SKB_NODEFER_FULL, sk_buff
    from softnet.linux.include.linux.topology import numa_node_id
    from softnet.linux.include.trace.events import *
    from softnet.linux.net.core.skbuff import consume_skb, skb_release_all, skb_unref
    from softnet.linux.patches.consume_defers import skb_release_head_state
    from softnet.linux.patches.defer_nodes import kick_defer_list_purge, skb_defer_nodes
    from softnet.linux.patches.napi_alloc_cache_bh_lock import napi_skb_cache_put
    from softnet.linux.patches.nodefer_napi_cache import kfree_skb_napi_cache
    from softnet.machine.interrupts import *


PATCH = {
    "commit": "08dc30de1a40",
    "subject": "net: add skb_defer_disable_key static key",
    "since": "7.1",
    "link": "https://git.kernel.org/torvalds/c/08dc30de1a40",
}


@kfunc
def skb_defer_disable_key() -> bool:
    """net/core/net-sysfs.h: the sysctl's handler sets the static key to this (proc_do_skb_defer_max())."""
    return not READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c. skb_zcopy() (0943404b1f3b) is not asked: nothing is sent without a copy here."""
    cpu = skb.alloc_cpu
    if skb_defer_disable_key():
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
        kfree_skb_napi_cache(skb)
        return
    if cpu == raw_smp_processor_id() or WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu):
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_CPU)
        kfree_skb_napi_cache(skb)
        return

    sdn = skb_defer_nodes(cpu, numa_node_id())
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    defer_count = atomic_inc_return(sdn.defer_count)
    if defer_count >= defer_max:
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
        kfree_skb_napi_cache(skb)
        return

    work("skb_attempt_defer_free")
    trace_skb_attempt_defer_free(skb, cpu, defer_count)
    llist_add(skb.ll_node, sdn.defer_list)

    if defer_count - 1 == defer_max >> 1:
        kick_defer_list_purge(cpu)


@kfunc
def napi_consume_skb(skb: sk_buff, budget: int) -> None:
    """net/core/skbuff.c:1522 (7.3)."""
    if not budget:
        consume_skb(skb)
        return
    WARN_ON_ONCE(not in_softirq())
    if not skb_defer_disable_key() and skb.alloc_cpu != smp_processor_id() and skb.users == 1:
        skb_release_head_state(skb)
        skb_attempt_defer_free(skb)
        return
    if not skb_unref(skb):
        return
    trace_consume_skb(skb)
    skb_release_all(skb)
    napi_skb_cache_put(skb)
