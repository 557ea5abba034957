# SPDX-License-Identifier: GPL-2.0-or-later
"""The kick saves its cmpxchg where the flag is set already. The skb is on the list when the cmpxchg is done, but not yet when the
flag is read: on x86 the handler may have cleared the flag and found the list empty. (The handler has the barrier here that
the shipped one lacks: examples/patches/flag_cleared_with_barrier.py.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import READ_ONCE, cmpxchg, smp_mb, smp_store_release, trace
    from softnet.linux.kernel.smp import smp_call_function_single_async
    from softnet.linux.kernel.softirq import NET_RX_SOFTIRQ, __raise_softirq_irqoff
    from softnet.linux.patches.process_queue_bh_lock import softnet_data


@kfunc
def trigger_rx_softirq(data: softnet_data) -> None:
    """net/core/dev.c:4927 (6.12), with a full barrier between the flag and the look at the list."""
    sd = data
    trace("trigger_rx_softirq", sd.cpu)
    __raise_softirq_irqoff(NET_RX_SOFTIRQ)
    smp_store_release(sd.defer_ipi_scheduled, 0)
    smp_mb()


@kfunc
def kick_defer_list_purge(sd: softnet_data, cpu: int) -> None:
    """net/core/dev.c:4973 (6.12), the IPI way."""
    if READ_ONCE(sd.defer_ipi_scheduled) == 0:
        if cmpxchg(sd.defer_ipi_scheduled, 0, 1) == 0:
            trace("kick_defer_list_purge", cpu)
            smp_call_function_single_async(cpu, sd.defer_csd)
            return
    trace("kick_coalesced", cpu)
