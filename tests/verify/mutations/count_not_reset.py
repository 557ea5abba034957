# SPDX-License-Identifier: GPL-2.0-or-later
"""The flush forgets to reset the count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import READ_ONCE, trace
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.kernel.locking.spinlock import spin_lock, spin_unlock
    from softnet.linux.net.core.skbuff import napi_consume_skb


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    """net/core/dev.c:6478 (6.12)."""
    if READ_ONCE(sd.defer_list) is None:
        return

    spin_lock(sd.defer_lock)
    skb = sd.defer_list
    sd.defer_list = None
    count = sd.defer_count
    spin_unlock(sd.defer_lock)

    trace("skb_defer_free_flush", count)
    while skb is not None:
        after = skb.next
        napi_consume_skb(skb, 1)
        skb = after
