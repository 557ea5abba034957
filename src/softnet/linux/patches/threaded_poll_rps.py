# SPDX-License-Identifier: GPL-2.0-or-later
"""net: optimize napi_threaded_poll() vs RPS/RFS.

A threaded poll sends its RPS IPIs itself, instead of raising NET_RX so that net_rx_action() does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, percpu

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.drivers.net.softnet_nic import nic_vector
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.softirq import NET_RX_SOFTIRQ, __raise_softirq_irqoff
    from softnet.linux.net.core.dev import __napi_poll, __napi_schedule_irqoff, napi_thread_wait, skb_defer_free_flush
    from softnet.linux.net.core.dev_backlog import net_rps_action_and_irq_enable, sd_has_rps_ipi_waiting


PATCH = {
    "commit": "87eff2ec57b6",
    "subject": "net: optimize napi_threaded_poll() vs RPS/RFS",
    "since": "6.4",
    "link": "https://lore.kernel.org/r/20230421094357.1693410-6-edumazet@google.com",
}


class softnet_data(Struct, extends=True):
    """include/linux/netdevice.h."""

    in_napi_threaded_poll: bool = percpu(line=3)


@kfunc
def napi_schedule_rps(sd: softnet_data) -> None:
    """net/core/dev.c: raise NET_RX for the IPI only if nobody on this CPU will send it."""
    mysd = this_cpu_ptr(softnet_data)
    trace_napi_schedule_rps(sd.cpu)
    if IS_ENABLED(CONFIG_RPS):
        if sd != mysd:
            sd.rps_ipi_next = mysd.rps_ipi_list
            mysd.rps_ipi_list = sd
            if not mysd.in_net_rx_action and not mysd.in_napi_threaded_poll:
                __raise_softirq_irqoff(NET_RX_SOFTIRQ)
            return
    __napi_schedule_irqoff(mysd.backlog)


@kfunc(entry=True)
def napi_threaded_poll(data: int) -> None:
    """net/core/dev.c."""
    napi = table(nic_vector, data).napi
    while True:
        napi_thread_wait(napi)
        while True:
            local_bh_disable()
            sd = this_cpu_ptr(softnet_data)
            sd.in_napi_threaded_poll = True
            __napi_poll(napi)
            repoll = sd.do_repoll
            sd.in_napi_threaded_poll = False
            barrier()

            if sd_has_rps_ipi_waiting(sd):
                local_irq_disable()
                net_rps_action_and_irq_enable(sd)
            skb_defer_free_flush(sd)
            local_bh_enable()
            if not repoll:
                break
            cond_resched()
