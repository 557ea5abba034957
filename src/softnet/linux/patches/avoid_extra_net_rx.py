# SPDX-License-Identifier: GPL-2.0-or-later
"""net: optimize ____napi_schedule() to avoid extra NET_RX_SOFTIRQ.

Inside net_rx_action() a NAPI is put on the poll list without raising NET_RX; in return net_rx_action() looks at the
poll list again before it leaves, and starts anew if something came.
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
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.softirq import *
    from softnet.linux.kernel.softirq import __raise_softirq_irqoff
    from softnet.linux.kernel.time.time import *
    from softnet.linux.net.core.dev import napi_poll, skb_defer_free_flush
    from softnet.linux.net.core.dev_backlog import *
    from softnet.machine.sched import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


PATCH = {
    "commit": "8b43fd3d1d7d",
    "subject": "net: optimize ____napi_schedule() to avoid extra NET_RX_SOFTIRQ",
    "since": "6.4",
    "link": "https://lore.kernel.org/r/20230328235021.1048163-5-edumazet@google.com",
}


@kfunc
def ____napi_schedule(sd: softnet_data, napi: napi_struct) -> None:
    """net/core/dev.c, interrupts off: raise NET_RX only outside net_rx_action()."""
    trace_napi_schedule(napi, smp_processor_id())
    if test_bit(NAPI_STATE_THREADED, napi.state):
        thread = READ_ONCE(napi.thread)
        if thread:
            if task_state(thread) != TASK_INTERRUPTIBLE:
                set_bit(NAPI_STATE_SCHED_THREADED, napi.state)
            wake_up_process(thread)
            return

    list_add_tail(napi.poll_list, sd.poll_list)
    if not sd.in_net_rx_action:
        raise_softirq_irqoff(NET_RX_SOFTIRQ)


@kfunc
def net_rx_action() -> None:
    """net/core/dev.c:7104 (6.12): with the restart."""
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
