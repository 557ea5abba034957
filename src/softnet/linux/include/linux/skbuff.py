# SPDX-License-Identifier: GPL-2.0-or-later
"""include/linux/skbuff.h and include/net/dropreason-core.h: the packet, its queues, and why it was dropped.

The numbers of the drop reasons are 6.12's, for every release, so that records can be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, array, embed, fnptr, kfunc, private, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.spinlock import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.net.core.sock import sock
    from softnet.machine.state import *


SKB_NOT_DROPPED_YET = 0
SKB_CONSUMED = 1
SKB_DROP_REASON_NOT_SPECIFIED = 2
SKB_DROP_REASON_NO_SOCKET = 3
SKB_DROP_REASON_SOCKET_RCVBUFF = 6
SKB_DROP_REASON_IP_NOPROTO = 18
SKB_DROP_REASON_PROTO_MEM = 19
SKB_DROP_REASON_SOCKET_BACKLOG = 28
SKB_DROP_REASON_CPU_BACKLOG = 61
SKB_DROP_REASON_UNHANDLED_PROTO = 64
SKB_DROP_REASON_DEV_READY = 70
SKB_DROP_REASON_NOMEM = 72
SKB_DROP_REASON_MAX = 104

SKB_NODEFER_CPU = 0
"""skb_attempt_defer_free() freed at once: the skb is this CPU's own, or its CPU is offline."""
SKB_NODEFER_FULL = 1
"""Or its CPU's list was full."""

PKT_HASH_TYPE_NONE = 0
PKT_HASH_TYPE_L2 = 1
PKT_HASH_TYPE_L3 = 2
PKT_HASH_TYPE_L4 = 3

SKB_STATE_FREE = 0
SKB_STATE_IN_USE = 1

MAX_SKB_FRAGS = 17
MAX_SKB_PACKETS = 18
"""A head and MAX_SKB_FRAGS fragments: as many packets as one skb can come to hold."""
SKB_TRUESIZE_OVERHEAD = 576
"""sizeof(struct sk_buff) and sizeof(struct skb_shared_info), aligned: SKB_TRUESIZE(x) - x on x86-64."""
SKB_HEAD_TRUESIZE = 256
"""SKB_DATA_ALIGN(sizeof(struct sk_buff)): what remains charged for an skb whose head was stolen."""


class sk_buff(Struct):
    """include/linux/skbuff.h. Private: an skb has one holder at a time, and its lines follow it from CPU to CPU.

    ``dataref`` stands for the shared info at the end of its data, ``hdr`` for the packet's headers. Instead of C's
    circular lists an skb list ends in None, since the subset has no casts from sk_buff_head to sk_buff.
    """

    next: sk_buff = private()
    prev: sk_buff = private()
    list: list_head = embed(line=0)
    id: int = private()
    state: int = private()
    dev: net_device = private()
    sk: sock = private()
    destructor: fnptr = private()
    len: int = private()
    data_len: int = private()
    truesize: int = private()
    alloc_cpu: int = private()
    slab_cpu: int = private()
    """The CPU whose slab the object came from: mm/slub.py."""
    queue_mapping: int = private()
    """1 + the receive queue, 0 when none was recorded."""
    napi_id: int = private()
    hash: int = private()
    l4_hash: int = private()
    """The hash is over ports: whoever asks for a flow's hash takes it as it is."""
    sw_hash: int = private()
    """The hash is the kernel's own."""
    flow_hash: int = private()
    """What the flow dissector makes of the headers."""
    protocol: int = private()
    """The IP protocol; of a packet that is not IP its Ethernet type and RX_NOT_IP."""
    sock_index: int = private()
    """The socket that a lookup will find, from 1; 0 when nobody listens."""
    flow: int = private()
    flags: int = private()
    seq_ok: int = private()
    payload: int = private()
    rflow: rps_dev_flow = private()
    nr_frags: int = private()
    nr_packets: int = private(init=0)
    """How many packets as they came from the wire this skb holds."""
    stamp: int = array(MAX_SKB_PACKETS, private(line=4))
    """When each of them reached the card or was sent."""
    gro_count: int = private()
    gro_same_flow: int = private()
    gro_flush: int = private()
    gro_free: int = private()
    gro_age: int = private()
    gso_size: int = private()
    users: int = private()
    dataref: int = private(line=6)
    hdr: int = private(line=7)


class sk_buff_head(Struct):
    """include/linux/skbuff.h: a queue of skbs with its lock, on one cache line."""

    next: sk_buff = private()
    prev: sk_buff = private()
    qlen: int = shared(line=0)
    lock: spinlock_t = embed(line=1)


class skb_drop_stats(Struct, per_cpu=True):
    """softnet's own, one per CPU: packets (not skbs) freed by kfree_skb_reason(), by reason."""

    reason: int = array(SKB_DROP_REASON_MAX, private(statistic=True))
    skbs: int = private(statistic=True)
    pure_acks: int = private()
    """Segments without data, which tcp_ack() uses up: neither delivered nor dropped."""
    kernel_packets: int = private()
    """Packets of protocols that the kernel itself is the receiver of: ICMP, IGMP, ARP."""


@kfunc
def skb_queue_head_init(list: sk_buff_head) -> None:
    """include/linux/skbuff.h."""
    spin_lock_init(list.lock)
    list.next = None
    list.prev = None
    list.qlen = 0


@kfunc
def skb_queue_empty(list: sk_buff_head) -> bool:
    """include/linux/skbuff.h, by the length: it is the word that other CPUs may watch here."""
    return not list.qlen


@kfunc
def skb_queue_len(list: sk_buff_head) -> int:
    """include/linux/skbuff.h."""
    return list.qlen


@kfunc
def skb_queue_len_lockless(list: sk_buff_head) -> int:
    """include/linux/skbuff.h."""
    return READ_ONCE(list.qlen)


@kfunc
def __skb_queue_tail(list: sk_buff_head, newsk: sk_buff) -> None:
    """include/linux/skbuff.h."""
    last = list.prev
    newsk.next = None
    newsk.prev = last
    if not last:
        list.next = newsk
    else:
        last.next = newsk
    list.prev = newsk
    list.qlen += 1


@kfunc
def __skb_unlink(skb: sk_buff, list: sk_buff_head) -> None:
    """include/linux/skbuff.h."""
    list.qlen -= 1
    next = skb.next
    prev = skb.prev
    skb.next = None
    skb.prev = None
    if not prev:
        list.next = next
    else:
        prev.next = next
    if not next:
        list.prev = prev
    else:
        next.prev = prev


@kfunc
def skb_peek(list: sk_buff_head) -> sk_buff:
    """include/linux/skbuff.h."""
    return list.next


@kfunc
def skb_peek_tail(list: sk_buff_head) -> sk_buff:
    """include/linux/skbuff.h."""
    return list.prev


@kfunc
def __skb_dequeue(list: sk_buff_head) -> sk_buff:
    """include/linux/skbuff.h."""
    skb = list.next
    if skb:
        __skb_unlink(skb, list)
    return skb


@kfunc
def skb_dequeue(list: sk_buff_head) -> sk_buff:
    """net/core/skbuff.c."""
    flags = spin_lock_irqsave(list.lock)
    result = __skb_dequeue(list)
    spin_unlock_irqrestore(list.lock, flags)
    return result


@kfunc
def skb_queue_splice_tail_init(list: sk_buff_head, head: sk_buff_head) -> None:
    """include/linux/skbuff.h: move all of ``list`` behind ``head``."""
    count = list.qlen
    if count:
        first = list.next
        last = head.prev
        first.prev = last
        if not last:
            head.next = first
        else:
            last.next = first
        head.prev = list.prev
        head.qlen += count
        list.next = None
        list.prev = None
        list.qlen = 0


@kfunc
def __skb_set_hash(skb: sk_buff, hash: int, is_sw: bool, is_l4: bool) -> None:
    """include/linux/skbuff.h."""
    skb.l4_hash = is_l4
    skb.sw_hash = is_sw
    skb.hash = hash


@kfunc
def skb_set_hash(skb: sk_buff, hash: int, type: int) -> None:
    """include/linux/skbuff.h, void skb_set_hash(struct sk_buff *skb, __u32 hash, enum pkt_hash_types type): what the card
    computed.
    """
    __skb_set_hash(skb, hash, False, type == PKT_HASH_TYPE_L4)


@kfunc
def __skb_get_hash(skb: sk_buff) -> None:
    """net/core/flow_dissector.c, __skb_get_hash(): dissect and hash. What that gives is worked out before the run
    (softnet.scenario.flow_dissector); whether it found ports, flow_keys_have_l4(), nobody here asks."""
    work("skb_get_hash")
    __skb_set_hash(skb, skb.flow_hash, True, False)


@kfunc
def skb_get_hash(skb: sk_buff) -> int:
    """include/linux/skbuff.h: the card's hash if it is over ports, else the flow dissector's, computed once."""
    if not skb.l4_hash and not skb.sw_hash:
        __skb_get_hash(skb)
    return skb.hash
