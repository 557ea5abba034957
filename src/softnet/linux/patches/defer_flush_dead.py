# SPDX-License-Identifier: GPL-2.0-or-later
"""net: flush skb_defer_nodes in dev_cpu_dead().

What was deferred to a CPU that went down is freed by the CPU that buries it, or by who came too late; a kick that fails takes its
flag back. Mends C6 and C7. Who was moved to another CPU between counting and pushing empties the list, too. When a node's last CPU
goes, what it deferred to all others is freed as well. Read in 7.2.12 and 7.3.4, which have all three; 6.18.15 has none.
Whether the last two came with this commit or with another one is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.lang.intrinsics import __test_and_set_bit
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import SKB_NODEFER_CPU, SKB_NODEFER_FULL, __skb_dequeue, sk_buff, skb_dequeue
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.smp import *
    from softnet.linux.kernel.softirq import *
    from softnet.linux.net.core.dev import ____napi_schedule, __napi_schedule_irqoff
    from softnet.linux.net.core.dev_backlog import netif_rx
    from softnet.linux.net.core.skbuff import napi_consume_skb
    from softnet.linux.patches.backlog_lock_rename import backlog_lock_irq_save, backlog_unlock_irq_restore
    from softnet.linux.patches.backlog_napi_threads import dev_cpu_dead_backlog, dev_cpu_dead_send_ipi, use_backlog_threads
    from softnet.linux.patches.defer_disable_key import skb_defer_disable_key
    from softnet.linux.patches.defer_nodes import skb_defer_node, skb_defer_nodes
    from softnet.linux.patches.nodefer_napi_cache import kfree_skb_napi_cache
    from softnet.machine.interrupts import *


PATCH = {
    "commit": "06e3f54e8b22",
    "subject": "net: flush skb_defer_nodes in dev_cpu_dead()",
    "since": "7.3",
    "link": "https://git.kernel.org/torvalds/c/06e3f54e8b22",
}


@kfunc
def __skb_defer_free_flush(sdn: skb_defer_node, budget: int) -> None:
    """net/core/dev.c:6947 (7.3): the counter first, then the list, as before."""
    if llist_empty(sdn.defer_list):
        return
    atomic_set(sdn.defer_count, 0)
    entry = llist_del_all(sdn.defer_list)
    count = 0
    while entry:
        skb = container_of(entry, sk_buff, "ll_node")
        entry = entry.next
        napi_consume_skb(skb, budget)
        count += 1
    trace_skb_defer_free_flush(count)


@kfunc
def skb_defer_node_flush(sdn: skb_defer_node) -> None:
    """net/core/dev.c:6963 (7.3): in task context."""
    __skb_defer_free_flush(sdn, 0)


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    """net/core/dev.c:6968 (7.3), void skb_defer_free_flush(void)."""
    for node in range(nr_node_ids()):
        __skb_defer_free_flush(skb_defer_nodes(smp_processor_id(), node), 1)


@kfunc
def kick_defer_list_purge(cpu: int) -> None:
    """net/core/dev.c:5400 (7.3): who took the flag gives it back if the call failed."""
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
        if smp_call_function_single_async(cpu, sd.defer_csd):
            WRITE_ONCE(sd.defer_ipi_scheduled, 0)
    else:
        trace_kick_coalesced(cpu)


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c:7375 (7.3). skb_zcopy() (0943404b1f3b) is not asked: nothing is sent without a copy here."""
    cpu = skb.alloc_cpu
    if skb_defer_disable_key():
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
        kfree_skb_napi_cache(skb)
        return
    my_cpu = raw_smp_processor_id()
    if cpu == my_cpu or WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu):
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_CPU)
        kfree_skb_napi_cache(skb)
        return

    sdn = skb_defer_nodes(cpu, cpu_to_node(my_cpu))
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    defer_count = atomic_inc_return(sdn.defer_count)
    if defer_count >= defer_max:
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
        kfree_skb_napi_cache(skb)
        return

    work("skb_attempt_defer_free")
    trace_skb_attempt_defer_free(skb, cpu, defer_count)
    llist_add(skb.ll_node, sdn.defer_list)

    # The CPU, or the node whose list this is, may have gone since it was looked at.
    if not cpu_online(cpu) or my_cpu != raw_smp_processor_id():
        skb_defer_node_flush(sdn)
        return

    if defer_count - 1 == defer_max >> 1:
        kick_defer_list_purge(cpu)


@kfunc
def node_has_online_cpus(node: int) -> bool:
    """cpumask_intersects(cpumask_of_node(node), cpu_online_mask)."""
    for cpu in range(nr_cpu_ids()):
        if cpu_to_node(cpu) == node and cpu_online(cpu):
            return True
    return False


@kfunc
def dev_cpu_dead(oldcpu: int) -> int:
    """net/core/dev.c:12952 (7.3)."""
    local_irq_disable()
    sd = this_cpu_ptr(softnet_data)
    oldsd = per_cpu(softnet_data, oldcpu)

    skb = oldsd.completion_queue
    oldsd.completion_queue = None
    while skb:
        next = skb.next
        skb.next = sd.completion_queue
        sd.completion_queue = skb
        skb = next

    while not list_empty(oldsd.poll_list):
        napi = container_of(oldsd.poll_list.next, napi_struct, "poll_list")
        list_del_init(napi.poll_list)
        if napi == oldsd.backlog:
            dev_cpu_dead_backlog(napi)
        else:
            ____napi_schedule(sd, napi)

    raise_softirq_irqoff(NET_TX_SOFTIRQ)
    local_irq_enable()

    dev_cpu_dead_send_ipi(oldsd)

    while skb := __skb_dequeue(oldsd.process_queue):
        netif_rx(skb)
        input_queue_head_incr(oldsd)
    while skb := skb_dequeue(oldsd.input_pkt_queue):
        netif_rx(skb)
        input_queue_head_incr(oldsd)

    for node in range(nr_node_ids()):
        skb_defer_node_flush(skb_defer_nodes(oldcpu, node))
    last = cpu_to_node(oldcpu)
    if not node_has_online_cpus(last):
        for cpu in range(nr_cpu_ids()):
            skb_defer_node_flush(skb_defer_nodes(cpu, last))
    return 0
