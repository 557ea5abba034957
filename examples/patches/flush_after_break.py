# SPDX-License-Identifier: GPL-2.0-or-later
"""A fix for candidate C1: net_rx_action() flushes the defer list once more when it breaks off on budget or time.

softnet verify --kernel 6.12-threads --driver free:1:2 --driver irq:0 --set ticks=1 --patch examples/patches/flush_after_break.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.softirq import *
    from softnet.linux.kernel.softirq import __raise_softirq_irqoff
    from softnet.linux.kernel.time.time import *
    from softnet.linux.net.core.dev import napi_poll
    from softnet.linux.net.core.dev_backlog import *
    from softnet.linux.patches.backlog_napi_threads import sd_has_rps_ipi_waiting
    from softnet.linux.patches.defer_lock_bh import skb_defer_free_flush
    from softnet.linux.patches.process_queue_bh_lock import softnet_data
    from softnet.machine.timers import *


@kfunc
def net_rx_action() -> None:
    """net/core/dev.c:7104 (6.12): with the restart, and a flush behind the break."""
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
                # ____napi_schedule() may have filled poll_list without a raise while the flag was true.
                if not list_empty(sd.poll_list):
                    sd.in_net_rx_action = True
                    local_irq_disable()
                    list_splice_init(sd.poll_list, list)
                    local_irq_enable()
                    continue
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

    # A kick may have coalesced onto the SCHED that the last poll retired: it counts on a flush after that.
    skb_defer_free_flush(sd)
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
