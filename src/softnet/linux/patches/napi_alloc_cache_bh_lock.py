# SPDX-License-Identifier: GPL-2.0-or-later
"""net: Use nested-BH locking for napi_alloc_cache.

As for process_queue: a lock that is real only on PREEMPT_RT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.mm.slub import *
    from softnet.linux.net.core.skbuff import NAPI_SKB_CACHE_BULK, NAPI_SKB_CACHE_HALF, NAPI_SKB_CACHE_SIZE
    from softnet.machine.state import *


PATCH = {
    "commit": "bdacf3e34945",
    "subject": "net: Use nested-BH locking for napi_alloc_cache.",
    "since": "6.11",
    "link": "https://lore.kernel.org/r/20240620132727.660738-5-bigeasy@linutronix.de",
}


class napi_alloc_cache(Struct, extends=True):
    """net/core/skbuff.c."""

    bh_lock: local_lock_t = embed(line=1)


@kfunc
def napi_skb_cache_get() -> sk_buff:
    """net/core/skbuff.c (6.12)."""
    nc = this_cpu_ptr(napi_alloc_cache)
    local_lock_nested_bh(nc.bh_lock)
    if not nc.skb_count:
        for _i in range(NAPI_SKB_CACHE_BULK):
            more = kmem_cache_alloc()
            if not more:
                break
            more.next = nc.top
            nc.top = more
            nc.skb_count += 1
        if not nc.skb_count:
            local_unlock_nested_bh(nc.bh_lock)
            return None
    skb = nc.top
    nc.top = skb.next
    skb.next = None
    nc.skb_count -= 1
    local_unlock_nested_bh(nc.bh_lock)
    return skb


@kfunc
def napi_skb_cache_put(skb: sk_buff) -> None:
    """net/core/skbuff.c (6.12)."""
    nc = this_cpu_ptr(napi_alloc_cache)
    local_lock_nested_bh(nc.bh_lock)
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
    local_unlock_nested_bh(nc.bh_lock)
