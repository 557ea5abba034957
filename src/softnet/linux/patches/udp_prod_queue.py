# SPDX-License-Identifier: GPL-2.0-or-later
# mypy: disable-error-code="arg-type"
"""udp: remove busylock and add per NUMA queues.

A CPU that brings a datagram pushes it on a lock-free list of the socket and its NUMA node. Who finds the list empty takes the
receive queue's lock and moves all that is there by then; the others are done at once, and their datagrams are moved by that one.
The memory test is the one of 5a465a0da13e (v6.15) and 9aaec660b5be (v6.18): before the charge, and an empty queue takes
any datagram. Not in the model: skb_condense(), udp_mem, the counters of drops for each node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.skbuff import __skb_queue_tail
    from softnet.linux.include.linux.topology import numa_node_id
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.net.core.sock import sock, sock_def_readable
    from softnet.machine.interrupts import nr_node_ids


PATCH = {
    "commit": "b650bf0977d3",
    "subject": "udp: remove busylock and add per NUMA queues",
    "since": "6.18",
    "link": "https://git.kernel.org/torvalds/c/b650bf0977d3",
}


class sk_buff(Struct, extends=True):
    """include/linux/skbuff.h: in a union with ``next``."""

    ll_node: llist_node = embed(line=0)


class udp_prod_queue(Struct):
    """include/linux/udp.h:48 (6.18): one for each socket and NUMA node, ``udp_sk(sk)->udp_prod_queue[node]``."""

    ll_root: llist_head = embed(line=0)
    rmem_alloc: int = shared(line=0)


@kfunc
def __udp_enqueue_schedule_skb(sk: sock, skb: sk_buff) -> int:
    """net/ipv4/udp.c:1699 (6.18): -12 (ENOMEM) when the receive buffer is full."""
    prod = table(udp_prod_queue, index_of(sk) * nr_node_ids() + numa_node_id())
    rmem = atomic_read(sk.sk_rmem_alloc)
    rcvbuf = READ_ONCE(sk.sk_rcvbuf)
    size = skb.truesize
    rmem += atomic_read(prod.rmem_alloc)
    # A queue that holds nothing takes the packet, whatever its size.
    if rmem + size > rcvbuf and rmem:
        return -12

    atomic_add(size, prod.rmem_alloc)
    if not llist_add(skb.ll_node, prod.ll_root):
        return 0

    total_size = 0
    nb = 0
    spin_lock(sk.sk_receive_queue.lock)
    node = llist_reverse_order(llist_del_all(prod.ll_root))
    while node:
        one = container_of(node, sk_buff, "ll_node")
        node = node.next
        total_size += one.truesize
        nb += 1
        __skb_queue_tail(sk.sk_receive_queue, one)
    atomic_add(total_size, sk.sk_rmem_alloc)
    spin_unlock(sk.sk_receive_queue.lock)

    while nb:
        sock_def_readable(sk)
        nb -= 1
    atomic_add(-total_size, prod.rmem_alloc)
    return 0
