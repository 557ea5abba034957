# SPDX-License-Identifier: GPL-2.0-or-later
"""net: add softnet_data.in_net_rx_action.

The CPU notes that it is inside net_rx_action(), so that later changes can leave out a raise of NET_RX that
net_rx_action() would not need. By itself this changes nothing that can be seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, percpu

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import napi_struct, net_hotdata
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.softirq import NET_RX_SOFTIRQ, __raise_softirq_irqoff
    from softnet.linux.kernel.time.time import *
    from softnet.linux.net.core.dev import napi_poll, skb_defer_free_flush
    from softnet.linux.net.core.dev_backlog import net_rps_action_and_irq_enable, sd_has_rps_ipi_waiting
    from softnet.machine.timers import *


PATCH = {
    "commit": "c59647c0dc67",
    "subject": "net: add softnet_data.in_net_rx_action",
    "since": "6.4",
    "link": "https://lore.kernel.org/r/20230328235021.1048163-3-edumazet@google.com",
}


class softnet_data(Struct, extends=True):
    """include/linux/netdevice.h."""

    in_net_rx_action: bool = percpu(line=3)


@kfunc
def net_rx_action() -> None:
    """net/core/dev.c: as before, with the flag true from the start to the end, or on if NET_RX is raised again."""
    nh = table(net_hotdata, 0)
    sd = this_cpu_ptr(softnet_data)
    time_limit = jiffies() + usecs_to_jiffies(READ_ONCE(nh.netdev_budget_usecs))
    budget = READ_ONCE(nh.netdev_budget)
    list = sd.local_list
    repoll = sd.local_repoll
    INIT_LIST_HEAD(list)
    INIT_LIST_HEAD(repoll)

    work("net_rx_action")
    sd.in_net_rx_action = True
    local_irq_disable()
    list_splice_init(sd.poll_list, list)
    local_irq_enable()

    while True:
        skb_defer_free_flush(sd)

        if list_empty(list):
            if list_empty(repoll):
                sd.in_net_rx_action = False
                barrier()
                if not sd_has_rps_ipi_waiting(sd):
                    trace_net_rx_action(READ_ONCE(nh.netdev_budget) - budget)
                    return
            break

        n = container_of(list.next, napi_struct, "poll_list")
        budget -= napi_poll(n, repoll)

        if budget <= 0 or jiffies() >= time_limit:
            sd.time_squeeze += 1
            trace_time_squeeze(READ_ONCE(nh.netdev_budget) - budget)
            break

    local_irq_disable()

    list_splice_tail_init(sd.poll_list, list)
    list_splice_tail(repoll, list)
    list_splice(list, sd.poll_list)
    if not list_empty(sd.poll_list):
        __raise_softirq_irqoff(NET_RX_SOFTIRQ)
    else:
        sd.in_net_rx_action = False

    trace_net_rx_action(READ_ONCE(nh.netdev_budget) - budget)
    net_rps_action_and_irq_enable(sd)
