# SPDX-License-Identifier: GPL-2.0-or-later
"""RPS links the target's backlog on the target's poll list from here, without a lock; its IPI only raises NET_RX. A list race."""

from __future__ import annotations

from softnet.lang import kfunc


@kfunc
def napi_schedule_rps(sd: softnet_data) -> None:
    mysd = this_cpu_ptr(softnet_data)
    if sd != mysd:
        list_add_tail(sd.backlog.poll_list, sd.poll_list)
        sd.rps_ipi_next = mysd.rps_ipi_list
        mysd.rps_ipi_list = sd
        if not mysd.in_net_rx_action and not mysd.in_napi_threaded_poll:
            __raise_softirq_irqoff(NET_RX_SOFTIRQ)
        return
    __napi_schedule_irqoff(mysd.backlog)


@kfunc
def rps_trigger_softirq(data: softnet_data) -> None:
    sd = data
    __raise_softirq_irqoff(NET_RX_SOFTIRQ)
    sd.received_rps += 1
