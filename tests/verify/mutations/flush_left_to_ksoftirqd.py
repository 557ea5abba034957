# SPDX-License-Identifier: GPL-2.0-or-later
"""A long defer list is left to ksoftirqd, which leaves it as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import READ_ONCE, table, trace
    from softnet.linux.include.linux.netdevice import net_hotdata, softnet_data
    from softnet.linux.kernel.locking.spinlock import spin_lock, spin_unlock
    from softnet.linux.kernel.softirq import NET_RX_SOFTIRQ, raise_softirq_irqoff
    from softnet.linux.net.core.skbuff import napi_consume_skb


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    """net/core/dev.c:6478 (6.12)."""
    if READ_ONCE(sd.defer_list) is None:
        return

    if READ_ONCE(sd.defer_count) > READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max) >> 1:
        raise_softirq_irqoff(NET_RX_SOFTIRQ)
        return

    spin_lock(sd.defer_lock)
    skb = sd.defer_list
    sd.defer_list = None
    count = sd.defer_count
    sd.defer_count = 0
    spin_unlock(sd.defer_lock)

    trace("skb_defer_free_flush", count)
    while skb is not None:
        next = skb.next
        napi_consume_skb(skb, 1)
        skb = next
