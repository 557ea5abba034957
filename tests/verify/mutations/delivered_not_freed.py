# SPDX-License-Identifier: GPL-2.0-or-later
"""A delivered packet is forgotten, not freed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import this_cpu_ptr, trace, work
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.include.linux.skbuff import sk_buff


@kfunc
def __netif_receive_skb(skb: sk_buff) -> int:
    """dev.c:5732 (6.1) with __netif_receive_skb_one_core() (5630): deliver one packet to its protocol."""
    trace("netif_receive_skb", skb.id, skb.len)
    sd = this_cpu_ptr(softnet_data)
    sd.processed += 1
    work("netif_receive_skb")
    return 0
