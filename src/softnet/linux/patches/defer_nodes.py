# SPDX-License-Identifier: GPL-2.0-or-later
"""net: add NUMA awareness to skb_attempt_defer_free(). The series, 3/3: the defer list is lock-free, one for each NUMA node.

A CPU has a list for each node, and who frees pushes on that of its own node: an atomic counter, then an llist, no lock and
no BH off. The counter is raised before it is held against skb_defer_max and is not lowered when the list is full, so a list
takes one skb less than the limit. The series is read as a whole: 9c94ae6bb0b2 (the counter) and 844c9db7f7f5 (the llist) went in
with it. The flush sets the counter to 0 only where it finds an skb on the list, and before it takes the list off: findings C10
and C11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.lang.intrinsics import __test_and_set_bit
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import SKB_NODEFER_CPU, SKB_NODEFER_FULL, sk_buff
    from softnet.linux.include.linux.topology import numa_node_id
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.smp import *
    from softnet.linux.net.core.dev import __napi_schedule_irqoff
    from softnet.linux.net.core.skbuff import napi_consume_skb
    from softnet.linux.patches.backlog_lock_rename import backlog_lock_irq_save, backlog_unlock_irq_restore
    from softnet.linux.patches.backlog_napi_threads import use_backlog_threads
    from softnet.linux.patches.nodefer_napi_cache import kfree_skb_napi_cache
    from softnet.machine.interrupts import *


PATCH = {
    "commit": "5628f3fe3b16",
    "subject": "net: add NUMA awareness to skb_attempt_defer_free()",
    "since": "6.18",
    "link": "https://lore.kernel.org/r/20250928084934.3266948-4-edumazet@google.com",
}


class skb_defer_node(Struct):
    """include/net/hotdata.h:10 (6.18), on a cache line of its own; instead of softnet_data's defer_lock, _count and _list."""

    defer_list: llist_head = embed(line=0)
    defer_count: int = shared(line=0)


@kfunc
def skb_defer_nodes(cpu: int, node: int) -> skb_defer_node:
    """include/net/hotdata.h: per_cpu_ptr(net_hotdata.skb_defer_nodes, cpu) + node."""
    return table(skb_defer_node, cpu * nr_node_ids() + node)


@kfunc
def kick_defer_list_purge(cpu: int) -> None:
    """net/core/dev.c:5196 (6.18)."""
    sd = per_cpu(softnet_data, cpu)
    if use_backlog_threads():
        flags = backlog_lock_irq_save(sd)
        if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
            trace_kick_defer_list_purge(cpu)
            __napi_schedule_irqoff(sd.backlog)
        else:
            trace_kick_coalesced(cpu)
        backlog_unlock_irq_restore(sd, flags)
    elif not cmpxchg(sd.defer_ipi_scheduled, 0, 1):
        trace_kick_defer_list_purge(cpu)
        smp_call_function_single_async(cpu, sd.defer_csd)
    else:
        trace_kick_coalesced(cpu)


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c:7188 (6.18). The event is written before the push: from then on the skb may be freed."""
    cpu = skb.alloc_cpu
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
def skb_defer_free_flush(sd: softnet_data) -> None:
    """net/core/dev.c:6732 (6.18), void skb_defer_free_flush(void): ``sd`` is this CPU's, as its callers have it.

    Nothing counts the skbs of a list before they are freed, so the event comes after.
    """
    for node in range(nr_node_ids()):
        sdn = skb_defer_nodes(smp_processor_id(), node)
        if llist_empty(sdn.defer_list):
            continue
        atomic_set(sdn.defer_count, 0)
        entry = llist_del_all(sdn.defer_list)
        count = 0
        while entry:
            skb = container_of(entry, sk_buff, "ll_node")
            entry = entry.next
            napi_consume_skb(skb, 1)
            count += 1
        trace_skb_defer_free_flush(count)
