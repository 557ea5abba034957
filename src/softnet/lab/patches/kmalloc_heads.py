# SPDX-License-Identifier: GPL-2.0-or-later
"""Cards whose skbs have kmalloc()ed heads, as a TUN device's have: a patch of the model, for predictions that a guest is to meet.

Such a head cannot become a fragment of another skb, so segments that wait in a socket's queue are not merged. The model's
cards build their skbs on page fragments, as drivers do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import table, work
    from softnet.linux.include.linux.netdevice import net_device
    from softnet.linux.include.linux.skbuff import MAX_SKB_FRAGS, MAX_SKB_PACKETS, SKB_HEAD_TRUESIZE, sk_buff
    from softnet.linux.net.core.skbuff import skb_move_packets


@kfunc
def skb_try_coalesce(to: sk_buff, from_: sk_buff) -> bool:
    """skbuff.c:5468 (6.1) as it is, with its skb_head_is_locked(): of a card's skb the head is no page fragment."""
    if from_.dev != table(net_device, 0):
        return False
    if to.nr_frags + from_.nr_frags >= MAX_SKB_FRAGS:
        return False
    if to.nr_packets + from_.nr_packets > MAX_SKB_PACKETS:
        return False
    work("skb_try_coalesce")
    skb_move_packets(to, from_)
    to.truesize += from_.truesize - SKB_HEAD_TRUESIZE
    to.len += from_.len
    to.data_len += from_.len
    to.nr_frags += 1 + from_.nr_frags
    return True
