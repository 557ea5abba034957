# SPDX-License-Identifier: GPL-2.0-or-later
"""Correct: net_rx_action()'s flush clears the flag before it looks at the list; a kick meanwhile is satisfied by this look."""

from __future__ import annotations

from softnet.lang import kfunc


@kfunc
def trigger_rx_softirq(data: softnet_data) -> None:
    __raise_softirq_irqoff(NET_RX_SOFTIRQ)


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    if READ_ONCE(sd.defer_ipi_scheduled) != 0:
        WRITE_ONCE(sd.defer_ipi_scheduled, 0)
        smp_mb()
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
        skb = next
