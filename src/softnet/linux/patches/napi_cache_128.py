# SPDX-License-Identifier: GPL-2.0-or-later
"""net: use NAPI_SKB_CACHE_FREE to keep 32 as default to do bulk free. The series, 3/4.

The NAPI cache holds 128 skbs (3505730d9042), is filled by 32 (01d738561899), and gives 32 back when it is full, no longer half of
it. Read from the commits and in 7.2.12 and 7.3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.mm.slub import *
    from softnet.linux.patches.napi_alloc_cache_bh_lock import napi_alloc_cache


PATCH = {
    "commit": "2d67b5c5c67f",
    "subject": "net: use NAPI_SKB_CACHE_FREE to keep 32 as default to do bulk free",
    "since": "6.19",
    "link": "https://lore.kernel.org/r/20251118070646.61344-4-kerneljasonxing@gmail.com",
}

NAPI_SKB_CACHE_SIZE = 128
NAPI_SKB_CACHE_BULK = 32
NAPI_SKB_CACHE_FREE = 32


@kfunc
def napi_skb_cache_put(skb: sk_buff) -> None:
    """net/core/skbuff.c:1467 (7.3)."""
    nc = this_cpu_ptr(napi_alloc_cache)
    local_lock_nested_bh(nc.bh_lock)
    work("napi_skb_cache_put")
    skb.next = nc.top
    nc.top = skb
    nc.skb_count += 1
    if nc.skb_count == NAPI_SKB_CACHE_SIZE:
        while nc.skb_count > NAPI_SKB_CACHE_SIZE - NAPI_SKB_CACHE_FREE:
            victim = nc.top
            nc.top = victim.next
            nc.skb_count -= 1
            kmem_cache_free(victim)
    local_unlock_nested_bh(nc.bh_lock)
