# SPDX-License-Identifier: GPL-2.0-or-later
"""A new sysctl: at how many deferred skbs the owner is kicked, instead of half of skb_defer_max.

Shows that a patch can add a field to a kernel structure. The value 8 stands in the declaration; change it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.include.linux.skbuff import SKB_NODEFER_CPU, SKB_NODEFER_FULL, sk_buff
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.patches.backlog_lock_rename import kick_defer_list_purge
    from softnet.linux.patches.nodefer_napi_cache import kfree_skb_napi_cache
    from softnet.machine.interrupts import *


PATCH = {"subject": "net: add skb_defer_watermark", "since": "never"}


class net_hotdata(Struct, extends=True):
    """include/net/hotdata.h: one field more."""

    sysctl_skb_defer_watermark: int = shared(line=1, init=8)


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c:7237 (6.12): the watermark is a setting of its own."""
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
    kick = sd.defer_count == READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_watermark)
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    skb.next = sd.defer_list
    WRITE_ONCE(sd.defer_list, skb)
    trace_skb_attempt_defer_free(skb, cpu, sd.defer_count)
    spin_unlock_bh(sd.defer_lock)

    if kick:
        kick_defer_list_purge(sd, cpu)
