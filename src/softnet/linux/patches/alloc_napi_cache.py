# SPDX-License-Identifier: GPL-2.0-or-later
"""net: use napi_skb_cache even in process context.

Who sends takes its skb out of this CPU's NAPI cache, unless it is a hard interrupt, instead of from the slab. Read from the commit
and in 7.2.12 and 7.3.4, where an empty cache is not filled for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.mm.slub import *
    from softnet.linux.net.core.skbuff import __finalize_skb_around
    from softnet.linux.patches.napi_alloc_cache_bh_lock import napi_alloc_cache
    from softnet.machine.interrupts import *


PATCH = {
    "commit": "21664814b89e",
    "subject": "net: use napi_skb_cache even in process context",
    "since": "6.19",
    "link": "https://git.kernel.org/torvalds/c/21664814b89e",
}


@kfunc
def napi_skb_cache_take() -> sk_buff:
    """net/core/skbuff.c, napi_skb_cache_get(false) (7.3): None where the cache is empty."""
    nc = this_cpu_ptr(napi_alloc_cache)
    skb: sk_buff = None
    local_lock_nested_bh(nc.bh_lock)
    if nc.skb_count:
        skb = nc.top
        nc.top = skb.next
        skb.next = None
        nc.skb_count -= 1
    local_unlock_nested_bh(nc.bh_lock)
    return skb


@kfunc
def alloc_skb(size: int) -> sk_buff:
    """net/core/skbuff.c:674 (7.3), __alloc_skb()."""
    skb: sk_buff = None
    if not in_hardirq() and not irqs_disabled():
        local_bh_disable()
        skb = napi_skb_cache_take()
        local_bh_enable()
    if not skb:
        skb = kmem_cache_alloc()
    if skb:
        work("alloc_skb")
        __finalize_skb_around(skb, size, size + SKB_TRUESIZE_OVERHEAD)
    return skb
