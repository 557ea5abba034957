# SPDX-License-Identifier: GPL-2.0-or-later
"""The defer list's interrupt clears its flag with a full barrier: whoever still saw the flag set has its skb on the list by then.

softnet verify --kernel 6.12 --driver free:1:2 --driver irq:0 --set defer_max=1 --memory-model tso \
    --patch examples/patches/flag_cleared_with_barrier.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.softirq import *
    from softnet.linux.kernel.softirq import __raise_softirq_irqoff


@kfunc
def trigger_rx_softirq(data: softnet_data) -> None:
    """net/core/dev.c:4927 (6.12): smp_store_mb() in the place of smp_store_release()."""
    sd = data
    trace_trigger_rx_softirq(sd.cpu)
    __raise_softirq_irqoff(NET_RX_SOFTIRQ)
    smp_store_release(sd.defer_ipi_scheduled, 0)
    smp_mb()
