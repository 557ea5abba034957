# SPDX-License-Identifier: GPL-2.0-or-later
"""dev: Use nested-BH locking for softnet_data.process_queue.

A lock of its own for process_queue, real only on PREEMPT_RT: a step towards BH-off sections that do not exclude each
other there. It nests inside the backlog's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import napi_struct, net_hotdata
    from softnet.linux.include.linux.skbuff import __skb_dequeue, skb_queue_empty, skb_queue_splice_tail_init
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.net.core.dev_backlog import (
        net_rps_action_and_irq_enable,
        process_backlog_retire_sched,
        sd_has_rps_ipi_waiting,
    )
    from softnet.linux.net.core.dev_receive import __netif_receive_skb
    from softnet.linux.patches.backlog_lock_rename import backlog_lock_irq_disable, backlog_unlock_irq_enable
    from softnet.linux.patches.rps_input_queue_head_add import rps_input_queue_head_add
    from softnet.machine.state import *


PATCH = {
    "commit": "b22800f9d3b1",
    "subject": "dev: Use nested-BH locking for softnet_data.process_queue.",
    "since": "6.11",
    "link": "https://lore.kernel.org/r/20240620132727.660738-11-bigeasy@linutronix.de",
}


class softnet_data(Struct, extends=True):
    """include/linux/netdevice.h."""

    process_queue_bh_lock: local_lock_t = embed(line=23)


@kfunc
def process_backlog(napi: napi_struct, quota: int) -> int:
    """net/core/dev.c:6279 (6.12)."""
    sd = container_of(napi, softnet_data, "backlog")
    again = True
    work_done = 0

    if sd_has_rps_ipi_waiting(sd):
        local_irq_disable()
        net_rps_action_and_irq_enable(sd)

    work("process_backlog")
    napi.weight = READ_ONCE(table(net_hotdata, 0).dev_rx_weight)
    while again:
        local_lock_nested_bh(sd.process_queue_bh_lock)
        while skb := __skb_dequeue(sd.process_queue):
            local_unlock_nested_bh(sd.process_queue_bh_lock)
            rcu_read_lock()
            __netif_receive_skb(skb)
            rcu_read_unlock()
            work_done += 1
            if work_done >= quota:
                rps_input_queue_head_add(sd, work_done)
                trace_process_backlog(work_done, quota)
                return work_done
            local_lock_nested_bh(sd.process_queue_bh_lock)
        local_unlock_nested_bh(sd.process_queue_bh_lock)

        backlog_lock_irq_disable(sd)
        if skb_queue_empty(sd.input_pkt_queue):
            process_backlog_retire_sched(napi)
            again = False
        else:
            local_lock_nested_bh(sd.process_queue_bh_lock)
            skb_queue_splice_tail_init(sd.input_pkt_queue, sd.process_queue)
            local_unlock_nested_bh(sd.process_queue_bh_lock)
        backlog_unlock_irq_enable(sd)

    if work_done:
        rps_input_queue_head_add(sd, work_done)
    trace_process_backlog(work_done, quota)
    return work_done
