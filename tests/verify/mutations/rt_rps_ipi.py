# SPDX-License-Identifier: GPL-2.0-or-later
"""On PREEMPT_RT, too, RPS sends an IPI whose handler raises NET_RX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import IS_ENABLED, this_cpu_ptr, trace
    from softnet.linux.config import CONFIG_RPS
    from softnet.linux.include.linux.list import list_add_tail
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.kernel.softirq import NET_RX_SOFTIRQ, __raise_softirq_irqoff
    from softnet.linux.net.core.dev import __napi_schedule_irqoff


@kfunc
def napi_schedule_rps(sd: softnet_data) -> None:
    """net/core/dev.c:4948 (6.12): with threads another CPU's backlog is scheduled from here, no IPI list."""
    mysd = this_cpu_ptr(softnet_data)
    trace("napi_schedule_rps", sd.cpu)
    if IS_ENABLED(CONFIG_RPS):
        if sd != mysd:
            sd.rps_ipi_next = mysd.rps_ipi_list
            mysd.rps_ipi_list = sd
            if not mysd.in_net_rx_action and not mysd.in_napi_threaded_poll:
                __raise_softirq_irqoff(NET_RX_SOFTIRQ)
            return
    __napi_schedule_irqoff(mysd.backlog)


@kfunc
def sd_has_rps_ipi_waiting(sd: softnet_data) -> bool:
    """net/core/dev.c:6270 (6.12)."""
    if IS_ENABLED(CONFIG_RPS):
        return sd.rps_ipi_list is not None
    return False


@kfunc
def rps_trigger_softirq(data: softnet_data) -> None:
    """dev.c:4723 (6.1), called from hard interrupt context: the RPS IPI has arrived."""
    sd = data
    trace("rps_trigger_softirq", sd.cpu)
    __raise_softirq_irqoff(NET_RX_SOFTIRQ)
    list_add_tail(sd.backlog.poll_list, sd.poll_list)
    sd.received_rps += 1
