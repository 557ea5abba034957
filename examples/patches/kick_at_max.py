# SPDX-License-Identifier: GPL-2.0-or-later
"""Kick when an skb makes the defer list full, instead of when one makes it more than half full: fewer kicks, more memory held.

    softnet compare examples/seed.toml --arm 6.12-rt --arm 6.12-rt,patch=examples/patches/kick_at_max.py

The count is tested before the push, so the watermark is one below the limit: a list never holds skb_defer_max skbs before a push,
and a test for that many would never kick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.patches.backlog_lock_rename import kick_defer_list_purge
    from softnet.linux.patches.nodefer_napi_cache import kfree_skb_napi_cache
    from softnet.machine.interrupts import *


PATCH = {"subject": "net: kick the defer list's owner when its list is full", "since": "never"}


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c:7237 (6.12), with another watermark."""
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
    # The skb that makes the list full.
    kick = sd.defer_count == defer_max - 1
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    skb.next = sd.defer_list
    WRITE_ONCE(sd.defer_list, skb)
    trace_skb_attempt_defer_free(skb, cpu, sd.defer_count)
    spin_unlock_bh(sd.defer_lock)

    if kick:
        kick_defer_list_purge(sd, cpu)
