# SPDX-License-Identifier: GPL-2.0-or-later
"""dev_cpu_dead() frees what was deferred to the dead CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.linux.skbuff import __skb_dequeue
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.softirq import *
    from softnet.linux.net.core.dev import ____napi_schedule, dev_cpu_dead_backlog, dev_cpu_dead_send_ipi
    from softnet.linux.net.core.dev_backlog import *
    from softnet.linux.patches.defer_lock_bh import skb_defer_free_flush


@kfunc
def dev_cpu_dead(oldcpu: int) -> int:
    """dev.c:11277 (6.1), a CPU hotplug callback on a surviving CPU, and the defer list."""
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

    # The backlog must be polled by the CPU that owns it; its packets are taken below.
    while not list_empty(oldsd.poll_list):
        napi = container_of(oldsd.poll_list.next, napi_struct, "poll_list")
        list_del_init(napi.poll_list)
        if napi == oldsd.backlog:
            dev_cpu_dead_backlog(napi)
        else:
            ____napi_schedule(sd, napi)

    raise_softirq_irqoff(NET_TX_SOFTIRQ)
    local_irq_enable()
    local_bh_disable()
    skb_defer_free_flush(oldsd)
    local_bh_enable()

    dev_cpu_dead_send_ipi(oldsd)

    while skb := __skb_dequeue(oldsd.process_queue):
        netif_rx(skb)
        input_queue_head_incr(oldsd)
    while skb := skb_dequeue(oldsd.input_pkt_queue):
        netif_rx(skb)
        input_queue_head_incr(oldsd)
    return 0
