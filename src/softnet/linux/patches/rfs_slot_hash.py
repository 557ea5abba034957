# SPDX-License-Identifier: GPL-2.0-or-later
"""net: rfs: hash function change.

A flow's slot in a queue's table is taken from the upper bits of its multiplied hash, no longer from the lower bits, in which
the flows of one card's queue are alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.hash import hash_32
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.net.core.dev_backlog import reciprocal_scale, rps_flow_may_move, set_rps_cpu
    from softnet.machine.interrupts import *


PATCH = {
    "commit": "f3483c8e1da6",
    "subject": "net: rfs: hash function change",
    "since": "6.15",
    "link": "https://git.kernel.org/torvalds/c/f3483c8e1da6",
}


@kfunc
def rfs_slot(hash: int, flow_table: rps_dev_flow_table) -> int:
    """net/core/dev.c:4898 (6.18); ``flow_table->log`` follows from the mask here."""
    return hash_32(hash, fls(flow_table.mask))


@kfunc
def get_rps_cpu(dev: net_device, skb: sk_buff) -> int:
    """net/core/dev.c:5001 (6.18), int get_rps_cpu(struct net_device *dev, struct sk_buff *skb, struct rps_dev_flow **rflowp)."""
    nh = table(net_hotdata, 0)
    skb.rflow = None
    cpu = -1
    index = dev.rx_base
    if skb.queue_mapping:
        index += skb.queue_mapping - 1
    rxqueue = table(netdev_rx_queue, index)
    flow_table = rxqueue.flow_table
    map = rxqueue.map
    if not flow_table and not map:
        return cpu
    hash = skb_get_hash(skb)
    if not hash:
        return cpu

    entries = READ_ONCE(nh.rps_sock_flow_entries)
    if flow_table and entries:
        ident = READ_ONCE(table(rps_sock_flow_entry, hash & (entries - 1)).ent)
        mask = READ_ONCE(nh.rps_cpu_mask)
        if not ((ident ^ hash) & ~mask):
            next_cpu = ident & mask
            rflow = table(rps_dev_flow, flow_table.base + rfs_slot(hash, flow_table))
            tcpu = rflow.cpu
            if tcpu != next_cpu and rps_flow_may_move(rflow, tcpu):
                tcpu = next_cpu
                rflow = set_rps_cpu(dev, skb, rflow, next_cpu)
            if tcpu < nr_cpu_ids() and cpu_online(tcpu):
                skb.rflow = rflow
                trace_get_rps_cpu(skb, tcpu)
                return tcpu

    if map:
        tcpu = map.cpus[reciprocal_scale(hash, map.len)]
        if cpu_online(tcpu):
            cpu = tcpu
    trace_get_rps_cpu(skb, cpu)
    return cpu
