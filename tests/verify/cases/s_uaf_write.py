# SPDX-License-Identifier: GPL-2.0-or-later
"""The flush writes to the skb after it was freed."""

from __future__ import annotations

from softnet.lang import kfunc


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    if READ_ONCE(sd.defer_list) is None:
        return
    spin_lock(sd.defer_lock)
    skb = sd.defer_list
    sd.defer_list = None
    sd.defer_count = 0
    spin_unlock(sd.defer_lock)
    while skb is not None:
        next = skb.next
        napi_consume_skb(skb, 1)
        skb.next = None
        skb.len = 7
        skb = next
