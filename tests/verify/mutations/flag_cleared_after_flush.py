# SPDX-License-Identifier: GPL-2.0-or-later
"""defer_ipi_scheduled is cleared after the flush and not by the handler: a kick in between is lost. Must break I6."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import READ_ONCE, smp_store_release, trace
    from softnet.linux.kernel.locking.spinlock import spin_lock, spin_unlock
    from softnet.linux.kernel.softirq import NET_RX_SOFTIRQ, __raise_softirq_irqoff
    from softnet.linux.net.core.skbuff import napi_consume_skb
    from softnet.linux.patches.process_queue_bh_lock import softnet_data


@kfunc
def trigger_rx_softirq(data: softnet_data) -> None:
    """dev.c:4734 (6.1), called from hard interrupt context: the defer list's IPI has arrived (68822bdf76f1, v5.19)."""
    sd = data
    trace("trigger_rx_softirq", sd.cpu)
    __raise_softirq_irqoff(NET_RX_SOFTIRQ)


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    """net/core/dev.c:6478 (6.12)."""
    if READ_ONCE(sd.defer_list) is None:
        return

    spin_lock(sd.defer_lock)
    skb = sd.defer_list
    sd.defer_list = None
    count = sd.defer_count
    sd.defer_count = 0
    spin_unlock(sd.defer_lock)

    trace("skb_defer_free_flush", count)
    while skb is not None:
        after = skb.next
        napi_consume_skb(skb, 1)
        skb = after
    smp_store_release(sd.defer_ipi_scheduled, 0)
