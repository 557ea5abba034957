# SPDX-License-Identifier: GPL-2.0-or-later
"""net/core/skbuff.c (6.1): allocation, the ways to free, and skb_attempt_defer_free().

Every skb has a number and a state: to free one that is free is a BUG.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, percpu, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.smp import *
    from softnet.linux.mm.slub import *
    from softnet.machine.interrupts import *


NAPI_SKB_CACHE_SIZE = 64
NAPI_SKB_CACHE_BULK = 16
NAPI_SKB_CACHE_HALF = 32


class napi_alloc_cache(Struct, per_cpu=True):
    """skbuff.c:194 (6.1): one per CPU, used with bottom halves off."""

    skb_count: int = percpu()
    top: sk_buff = private()
    """skb_cache[]: C's array of pointers is a stack linked through skb.next."""


@kfunc
def napi_skb_cache_get() -> sk_buff:
    """skbuff.c:252 (6.1): an skb from this CPU's NAPI cache, refilled from the slab by 16."""
    nc = this_cpu_ptr(napi_alloc_cache)
    if not nc.skb_count:
        for _i in range(NAPI_SKB_CACHE_BULK):
            more = kmem_cache_alloc()
            if not more:
                break
            more.next = nc.top
            nc.top = more
            nc.skb_count += 1
        if not nc.skb_count:
            return None
    skb = nc.top
    nc.top = skb.next
    skb.next = None
    nc.skb_count -= 1
    return skb


@kfunc
def napi_skb_cache_put(skb: sk_buff) -> None:
    """skbuff.c:1057 (6.1): to this CPU's NAPI cache; when it is full, half of it back to the slab."""
    nc = this_cpu_ptr(napi_alloc_cache)
    work("napi_skb_cache_put")
    skb.next = nc.top
    nc.top = skb
    nc.skb_count += 1
    if nc.skb_count == NAPI_SKB_CACHE_SIZE:
        while nc.skb_count > NAPI_SKB_CACHE_HALF:
            victim = nc.top
            nc.top = victim.next
            nc.skb_count -= 1
            kmem_cache_free(victim)


@kfunc
def __finalize_skb_around(skb: sk_buff, len: int, truesize: int) -> None:
    """skbuff.c:286 (6.1): a new skb; alloc_cpu is where it should be freed (68822bdf76f1, v5.19)."""
    BUG_ON(skb.state != SKB_STATE_FREE)
    skb.state = SKB_STATE_IN_USE
    skb.alloc_cpu = raw_smp_processor_id()
    skb.len = len
    skb.data_len = 0
    skb.truesize = truesize
    skb.dev = None
    skb.sk = None
    skb.destructor = None
    skb.rflow = None
    skb.next = None
    skb.prev = None
    skb.nr_frags = 0
    skb.nr_packets = 0
    skb.napi_id = 0
    skb.gso_size = 0
    skb.gro_count = 1
    skb.gro_same_flow = 0
    skb.gro_flush = 0
    skb.gro_free = 0
    skb.users = 1
    skb.dataref = 1
    skb.hdr = 0
    trace_alloc_skb(skb, len)


@kfunc
def napi_build_skb(len: int, frag_size: int) -> sk_buff:
    """skbuff.c:456 (6.1), struct sk_buff *napi_build_skb(void *data, unsigned int frag_size).

    An skb around a driver's receive buffer of ``frag_size`` bytes; None without memory.
    """
    skb = napi_skb_cache_get()
    if skb:
        work("napi_build_skb")
        __finalize_skb_around(skb, len, frag_size + SKB_HEAD_TRUESIZE)
    return skb


@kfunc
def alloc_skb(size: int) -> sk_buff:
    """include/linux/skbuff.h, struct sk_buff *alloc_skb(unsigned int size, gfp_t priority).

    __alloc_skb() of skbuff.c:486 (6.1): an skb and its data, from any context.
    """
    skb = kmem_cache_alloc()
    if skb:
        work("alloc_skb")
        __finalize_skb_around(skb, size, size + SKB_TRUESIZE_OVERHEAD)
    return skb


@kfunc
def skb_release_data(skb: sk_buff) -> None:
    """skbuff.c:789 (6.1): the data goes back; its pages are cheapest to free where they were allocated."""
    BUG_ON(skb.state != SKB_STATE_IN_USE)
    skb.state = SKB_STATE_FREE
    BUG_ON(skb.dataref != 1)
    skb.dataref = 0
    if skb.alloc_cpu == raw_smp_processor_id():
        work("skb_release_data_local")
    else:
        work("skb_release_data_remote")


@kfunc
def skb_release_all(skb: sk_buff) -> None:
    """skbuff.c:850 (6.1), with skb_release_head_state(): the destructor gives back what the socket was charged."""
    if skb.destructor:
        skb.destructor(skb)
        skb.destructor = None
    skb_release_data(skb)


@kfunc
def skb_unref(skb: sk_buff) -> bool:
    """include/linux/skbuff.h: drop a reference; whether it was the last. Nobody takes a second one here."""
    if skb.users == 1:
        return True
    skb.users -= 1
    return skb.users == 0


@kfunc
def __kfree_skb(skb: sk_buff) -> None:
    """skbuff.c:868 (6.1)."""
    skb_release_all(skb)
    kmem_cache_free(skb)


@kfunc
def kfree_skb_reason(skb: sk_buff, reason: int) -> None:
    """skbuff.c:885 (6.1): free a dropped packet and say why."""
    if not skb_unref(skb):
        return
    trace_kfree_skb(skb, reason)
    stats = this_cpu_ptr(skb_drop_stats)
    stats.reason[reason] += skb.nr_packets
    skb.nr_packets = 0
    stats.skbs += 1
    __kfree_skb(skb)


@kfunc
def consume_skb(skb: sk_buff) -> None:
    """skbuff.c:1032 (6.1): free a packet that was used."""
    if not skb_unref(skb):
        return
    trace_consume_skb(skb)
    __kfree_skb(skb)


@kfunc
def kernel_receive_skb(skb: sk_buff) -> int:
    """softnet's own: a packet whose receiver is the kernel itself has arrived."""
    this_cpu_ptr(skb_drop_stats).kernel_packets += skb.nr_packets
    skb.nr_packets = 0
    consume_skb(skb)
    return 0


@kfunc
def __kfree_skb_defer(skb: sk_buff) -> None:
    """skbuff.c:1076 (6.1): free into the NAPI cache."""
    skb_release_all(skb)
    napi_skb_cache_put(skb)


@kfunc
def napi_skb_free_stolen_head(skb: sk_buff) -> None:
    """skbuff.c:1081 (6.1): free the skb alone; its data lives on in another skb's fragments."""
    BUG_ON(skb.state != SKB_STATE_IN_USE)
    skb.state = SKB_STATE_FREE
    napi_skb_cache_put(skb)


@kfunc
def kfree_skb_partial(skb: sk_buff, head_stolen: bool) -> None:
    """skbuff.c:5450 (6.1): free an skb whose data was taken over, or all of it."""
    if head_stolen:
        BUG_ON(skb.state != SKB_STATE_IN_USE)
        skb.state = SKB_STATE_FREE
        kmem_cache_free(skb)
    else:
        __kfree_skb(skb)


@kfunc
def napi_consume_skb(skb: sk_buff, budget: int) -> None:
    """skbuff.c:1094 (6.1): free a used packet from a NAPI poll; a budget of 0 says that this is none."""
    if not budget:
        consume_skb(skb)
        return
    WARN_ON_ONCE(not in_softirq())
    if not skb_unref(skb):
        return
    trace_consume_skb(skb)
    skb_release_all(skb)
    napi_skb_cache_put(skb)


@kfunc
def skb_try_coalesce(to: sk_buff, from_: sk_buff) -> bool:
    """skbuff.c:5468 (6.1), bool skb_try_coalesce(struct sk_buff *to, struct sk_buff *from, bool *fragstolen, int *delta_truesize).

    Make ``from_``'s data a fragment of ``to``; its head is stolen then.

    The delta of truesize that C returns through a pointer is from_.truesize - SKB_HEAD_TRUESIZE.
    """
    if to.nr_frags + from_.nr_frags >= MAX_SKB_FRAGS:
        return False
    if to.nr_packets + from_.nr_packets > MAX_SKB_PACKETS:
        return False
    work("skb_try_coalesce")
    skb_move_packets(to, from_)
    to.truesize += from_.truesize - SKB_HEAD_TRUESIZE
    to.len += from_.len
    to.data_len += from_.len
    to.nr_frags += 1 + from_.nr_frags
    return True


@kfunc
def skb_move_packets(to: sk_buff, from_: sk_buff) -> None:
    """softnet's own: the merged skb remembers when each of its packets came.

    A segment without data that merges with data is an acknowledgement still, and is counted as one.
    """
    stats = this_cpu_ptr(skb_drop_stats)
    if to.payload == 0 and from_.payload != 0:
        stats.pure_acks += to.nr_packets
        to.nr_packets = 0
    elif from_.payload == 0 and to.payload != 0:
        stats.pure_acks += from_.nr_packets
        from_.nr_packets = 0
    for i in range(from_.nr_packets):
        to.stamp[to.nr_packets + i] = from_.stamp[i]
    to.nr_packets += from_.nr_packets
    from_.nr_packets = 0
    to.payload += from_.payload


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """skbuff.c:6715 (6.1): free a received skb on the CPU that allocated it (68822bdf76f1, v5.19).

    Task context. The skb goes on that CPU's defer_list, and the CPU is kicked when the list is half full: exactly then,
    never below. The first kicker takes defer_ipi_scheduled (97e719a82b43, v5.19): the csd is in flight until it is 0.
    """
    cpu = skb.alloc_cpu
    if WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu) or cpu == raw_smp_processor_id():
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_CPU)
        __kfree_skb(skb)
        return

    sd = per_cpu(softnet_data, cpu)
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    if READ_ONCE(sd.defer_count) >= defer_max:
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
        __kfree_skb(skb)
        return

    work("skb_attempt_defer_free")
    flags = spin_lock_irqsave(sd.defer_lock)
    # Send an IPI every time the queue reaches half its capacity.
    kick = sd.defer_count == defer_max >> 1
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    skb.next = sd.defer_list
    WRITE_ONCE(sd.defer_list, skb)
    trace_skb_attempt_defer_free(skb, cpu, sd.defer_count)
    spin_unlock_irqrestore(sd.defer_lock, flags)

    # Nothing else makes the other CPU look at its list if it receives no packets.
    if kick:
        if not cmpxchg(sd.defer_ipi_scheduled, 0, 1):
            trace_kick_defer_list_purge(cpu)
            smp_call_function_single_async(cpu, sd.defer_csd)
        else:
            trace_kick_coalesced(cpu)
