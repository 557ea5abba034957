# SPDX-License-Identifier: GPL-2.0-or-later
"""The flush detaches the list without defer_lock. Must be refused by the guard of defer_list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import READ_ONCE, trace
    from softnet.linux.net.core.skbuff import napi_consume_skb
    from softnet.linux.patches.process_queue_bh_lock import softnet_data


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    """net/core/dev.c:6478 (6.12)."""
    if READ_ONCE(sd.defer_list) is None:
        return

    skb = sd.defer_list
    sd.defer_list = None
    count = sd.defer_count
    sd.defer_count = 0

    trace("skb_defer_free_flush", count)
    while skb is not None:
        after = skb.next
        napi_consume_skb(skb, 1)
        skb = after
