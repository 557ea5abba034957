# SPDX-License-Identifier: GPL-2.0-or-later
"""A user's patch with one mistake per value of net.core.netdev_budget; each stops the run at its own line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, array, embed, fnptr, kfunc, private
from softnet.lang.intrinsics import BUG_ON, READ_ONCE, atomic_inc, cmpxchg, set_bit, table

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.net.core.skbuff import skb_unref
    from softnet.machine.state import cpu_hw


class mistakes(Struct):
    """Something to make mistakes with."""

    history: int = array(8)
    next: mistakes = private()
    value: int = private()
    call: fnptr = private()
    lost: sk_buff = private()


class net_hotdata(Struct, extends=True):
    """There is always one."""

    crate: mistakes = embed()


class sk_buff(Struct, extends=True):
    """The packet carries one."""

    mine: mistakes = private()


@kfunc
def descend(n: int) -> int:
    return descend(n + 1) + 1


@kfunc
def count_up(n: int) -> int:
    while n >= 0:
        n += 1
    return n


@kfunc
def ip_local_deliver(skb: sk_buff) -> int:
    which = READ_ONCE(table(net_hotdata, 0).netdev_budget)
    big = 1 << 62
    if which == 1001:
        BUG_ON(skb.len > 0)
    elif which == 1002:
        return table(softnet_data, which).processed
    elif which == 1003:
        return skb.mine.value
    elif which == 1004:
        return count_up(0)
    elif which == 1005:
        return big * (which - 1000)
    elif which == 1006:
        return descend(0)
    elif which == 1007:
        return big // (which - 1007)
    elif which == 1008:
        return 1 << which
    elif which == 1009:
        skb.mine.next = None
    elif which == 1010:
        return big + big
    elif which == 1011:
        return table(cpu_hw, 0).cur.time_class % (which - 1011)
    elif which == 1012:
        c = table(net_hotdata, 0).crate
        atomic_inc(c.history[which])
    elif which == 1013:
        c = table(net_hotdata, 0).crate
        cmpxchg(c.history[which - 1014], 0, 1)
    elif which == 1014:
        c = table(net_hotdata, 0).crate
        set_bit(which, c.value)
    elif which == 1015:
        skb_unref(table(net_hotdata, 0).crate.lost)
    return 0
