# SPDX-License-Identifier: GPL-2.0-or-later
"""net: cache for same cpu skb_attempt_defer_free.

An skb that is not deferred goes to this CPU's NAPI cache, with bottom halves off, instead of to the slab.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.net.core.skbuff import __kfree_skb_defer
    from softnet.linux.patches.backlog_napi_defer_list import kick_defer_list_purge
    from softnet.machine.interrupts import *


PATCH = {
    "commit": "7cb31c46b9cc",
    "subject": "net: cache for same cpu skb_attempt_defer_free",
    "since": "6.10",
    "link": "https://git.kernel.org/netdev/net-next/c/7cb31c46b9cc",
}


@kfunc
def kfree_skb_napi_cache(skb: sk_buff) -> None:
    """net/core/skbuff.c (6.12)."""
    local_bh_disable()
    __kfree_skb_defer(skb)
    local_bh_enable()


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c:7237 (6.12)."""
    cpu = skb.alloc_cpu
    if cpu == raw_smp_processor_id() or WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu):
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_CPU)
        kfree_skb_napi_cache(skb)
        return

    sd = per_cpu(softnet_data, cpu)
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    if READ_ONCE(sd.defer_count) >= defer_max:
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
        kfree_skb_napi_cache(skb)
        return

    work("skb_attempt_defer_free")
    spin_lock_bh(sd.defer_lock)
    kick = sd.defer_count == defer_max >> 1
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    skb.next = sd.defer_list
    WRITE_ONCE(sd.defer_list, skb)
    trace_skb_attempt_defer_free(skb, cpu, sd.defer_count)
    spin_unlock_bh(sd.defer_lock)

    if kick:
        kick_defer_list_purge(sd, cpu)
