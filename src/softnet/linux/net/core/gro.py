# SPDX-License-Identifier: GPL-2.0-or-later
"""net/core/gro.c (6.1), include/net/gro.h and the decisions of net/ipv4/tcp_offload.c.

What is faithful is each decision: bucket, same flow, what flushes, the limits, the batch. Headers are not parsed: the
arrival says whether a TCP segment continues its flow (rx_seq_ok) and how much payload it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.net.core.dev_receive import *
    from softnet.linux.net.core.skbuff import *
    from softnet.machine.timers import *


MAX_GRO_SKBS = 8
GRO_MERGED = 0
GRO_MERGED_FREE = 1
GRO_HELD = 2
GRO_NORMAL = 3
GRO_CONSUMED = 4
NAPI_GRO_FREE = 1
NAPI_GRO_FREE_STOLEN_HEAD = 2
GRO_LEGACY_MAX_SIZE = 65536
RX_FLAG_PUSH = 1
RX_FLAG_FRAGMENT = 2
RX_FLAG_NEVER_MERGE = 4
IPPROTO_ICMP = 1
IPPROTO_IGMP = 2
IPPROTO_TCP = 6
IPPROTO_UDP = 17
IPPROTO_ICMPV6 = 58


@kfunc
def gro_normal_list(napi: napi_struct) -> None:
    """include/net/gro.h:430 (6.1): pass the batch up the stack."""
    if not napi.rx_count:
        return
    netif_receive_skb_list_internal(napi.rx_list, napi)
    INIT_LIST_HEAD(napi.rx_list)
    napi.rx_count = 0


@kfunc
def gro_normal_one(napi: napi_struct, skb: sk_buff, segs: int) -> None:
    """include/net/gro.h:442 (6.1): into the batch, which goes when it holds gro_normal_batch segments."""
    list_add_tail(skb.list, napi.rx_list)
    napi.rx_count += segs
    if napi.rx_count >= READ_ONCE(table(net_hotdata, 0).gro_normal_batch):
        gro_normal_list(napi)


@kfunc
def skb_gro_receive(p: sk_buff, skb: sk_buff) -> int:
    """gro.c:153 (6.1): merge ``skb`` into ``p`` as a fragment; 0, or -7 (E2BIG).

    Past MAX_SKB_FRAGS the kernel goes on with a frag_list up to 64 KB, 45 segments of 1,448 bytes; here the merged packet is
    complete then, so up to 2.5 times too many skbs go up the stack.
    """
    len = skb.payload
    if p.len + len >= min(READ_ONCE(p.dev.gro_max_size), GRO_LEGACY_MAX_SIZE) or skb.gro_flush:
        return -7
    if p.nr_frags + 1 + skb.nr_frags > MAX_SKB_FRAGS or p.nr_packets + skb.nr_packets > MAX_SKB_PACKETS:
        return -7
    p.nr_frags += 1 + skb.nr_frags
    p.gro_count += skb.gro_count
    p.truesize += skb.truesize - SKB_HEAD_TRUESIZE
    p.len += len
    p.data_len += len
    skb_move_packets(p, skb)
    skb.gro_free = NAPI_GRO_FREE_STOLEN_HEAD
    skb.gro_same_flow = 1
    return 0


@kfunc
def napi_gro_complete(napi: napi_struct, skb: sk_buff) -> None:
    """gro.c:331 (6.1): a held packet is done; fix its headers up and pass it on."""
    if skb.gro_count == 1:
        skb.gso_size = 0
    else:
        work("gro_complete")
    gro_normal_one(napi, skb, skb.gro_count)


@kfunc
def __napi_gro_flush_chain(napi: napi_struct, index: int, flush_old: bool) -> None:
    """gro.c:367 (6.1): a bucket's packets, oldest first, but with ``flush_old`` not those of this jiffy."""
    head = napi.gro_hash[index].list
    entry = head.prev
    while entry != head:
        skb = container_of(entry, sk_buff, "list")
        entry = entry.prev
        if flush_old and skb.gro_age == jiffies():
            return
        list_del_init(skb.list)
        napi_gro_complete(napi, skb)
        napi.gro_hash[index].count -= 1
    if not napi.gro_hash[index].count:
        napi.gro_bitmask &= ~(1 << index)


@kfunc
def napi_gro_flush(napi: napi_struct, flush_old: bool) -> None:
    """gro.c:389 (6.1)."""
    bitmask = napi.gro_bitmask
    trace_gro_flush(napi, bitmask)
    while bitmask:
        index = fls(bitmask) - 1
        bitmask &= ~(1 << index)
        __napi_gro_flush_chain(napi, index, flush_old)


@kfunc
def gro_flush_oldest(napi: napi_struct, head: list_head) -> None:
    """gro.c:501 (6.1): make room; the caller's packet takes the place, so the count stays."""
    oldest = container_of(head.prev, sk_buff, "list")
    list_del_init(oldest.list)
    napi_gro_complete(napi, oldest)


@kfunc
def tcp_gro_receive(head: list_head, skb: sk_buff) -> sk_buff:
    """net/ipv4/tcp_offload.c:182 (6.1): try to merge; the held packet that must go now, or None."""
    pp: sk_buff = None
    p: sk_buff = None
    mss = 1
    entry = head.next
    while entry != head:
        held = container_of(entry, sk_buff, "list")
        entry = entry.next
        # gro_list_prepare() (gro.c:402) and the ports: the same flow.
        if held.hash == skb.hash and held.flow == skb.flow and held.protocol == skb.protocol:
            p = held
            break

    if p:
        mss = p.gso_size
        # Longer than the first segment, or not the next bytes: the held packet ends here.
        flush = bool(skb.payload - 1 >= mss or skb.payload == 0 or not skb.seq_ok)
        if skb.flags & RX_FLAG_NEVER_MERGE:
            flush = True
        if flush or skb_gro_receive(p, skb):
            mss = 1

    # A segment shorter than the rest, or PSH, is the last to be merged.
    flush = bool(skb.payload < mss or skb.flags & (RX_FLAG_PUSH | RX_FLAG_NEVER_MERGE))
    if p and (not skb.gro_same_flow or flush):
        pp = p
    if flush:
        skb.gro_flush = 1
    return pp


@kfunc
def dev_gro_receive(napi: napi_struct, skb: sk_buff) -> int:
    """gro.c:520 (6.1)."""
    bucket = skb.hash & (GRO_HASH_BUCKETS - 1)
    gro = napi.gro_hash[bucket]
    if not skb.dev.gro_on:
        return GRO_NORMAL
    # UDP has no GRO without a listener that asks for it, and a fragment has none.
    if skb.protocol != IPPROTO_TCP or skb.flags & RX_FLAG_FRAGMENT:
        return GRO_NORMAL
    skb.gro_same_flow = 0
    skb.gro_free = 0
    skb.gro_flush = 0
    skb.gro_count = 1

    pp = tcp_gro_receive(gro.list, skb)
    ret = GRO_MERGED
    if skb.gro_free:
        ret = GRO_MERGED_FREE
    if pp:
        list_del_init(pp.list)
        napi_gro_complete(napi, pp)
        gro.count -= 1

    if not skb.gro_same_flow:
        if skb.gro_flush:
            ret = GRO_NORMAL
        else:
            if gro.count >= MAX_GRO_SKBS:
                gro_flush_oldest(napi, gro.list)
            else:
                gro.count += 1
            skb.gro_age = jiffies()
            skb.gso_size = skb.payload
            list_add(skb.list, gro.list)
            ret = GRO_HELD

    if gro.count:
        napi.gro_bitmask |= 1 << bucket
    else:
        napi.gro_bitmask &= ~(1 << bucket)
    return ret


@kfunc
def napi_gro_receive(napi: napi_struct, skb: sk_buff) -> int:
    """gro.c:686 (6.1), with napi_skb_finish() (661)."""
    skb.napi_id = napi.napi_id
    work("napi_gro_receive")
    ret = dev_gro_receive(napi, skb)
    trace_gro_receive(skb, ret)
    if ret == GRO_NORMAL:
        gro_normal_one(napi, skb, 1)
    elif ret == GRO_MERGED_FREE:
        napi_skb_free_stolen_head(skb)
    return ret
