# SPDX-License-Identifier: GPL-2.0-or-later
"""The handler never clears defer_ipi_scheduled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import trace
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.kernel.softirq import NET_RX_SOFTIRQ, __raise_softirq_irqoff


@kfunc
def trigger_rx_softirq(data: softnet_data) -> None:
    """dev.c:4734 (6.1), called from hard interrupt context: the defer list's IPI has arrived (68822bdf76f1, v5.19)."""
    sd = data
    trace("trigger_rx_softirq", sd.cpu)
    __raise_softirq_irqoff(NET_RX_SOFTIRQ)
