# SPDX-License-Identifier: GPL-2.0-or-later
"""net: optimize napi_schedule_rps().

Inside net_rx_action() the pending RPS IPIs are sent at its end anyway: NET_RX need not be raised once more for them. Based on
8fcb76b934da ("net: napi_schedule_rps() cleanup"), which made its result void.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.softirq import *
    from softnet.linux.kernel.softirq import __raise_softirq_irqoff
    from softnet.linux.net.core.dev import __napi_schedule_irqoff


PATCH = {
    "commit": "821eba962d95",
    "subject": "net: optimize napi_schedule_rps()",
    "since": "6.4",
    "link": "https://lore.kernel.org/r/20230328235021.1048163-4-edumazet@google.com",
}


@kfunc
def napi_schedule_rps(sd: softnet_data) -> None:
    """net/core/dev.c: raise NET_RX for the IPI only if net_rx_action() will not send it."""
    mysd = this_cpu_ptr(softnet_data)
    trace_napi_schedule_rps(sd.cpu)
    if IS_ENABLED(CONFIG_RPS):
        if sd != mysd:
            sd.rps_ipi_next = mysd.rps_ipi_list
            mysd.rps_ipi_list = sd
            if not mysd.in_net_rx_action:
                __raise_softirq_irqoff(NET_RX_SOFTIRQ)
            return
    __napi_schedule_irqoff(mysd.backlog)
