# SPDX-License-Identifier: GPL-2.0-or-later
"""net: rps: add rps_input_queue_head_add() helper.

process_backlog() tells RFS how far it has come once for each run, not for each packet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.linux.skbuff import __skb_dequeue
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


PATCH = {
    "commit": "c62fdf5b11ef",
    "subject": "net: rps: add rps_input_queue_head_add() helper",
    "since": "6.10",
    "link": "https://lore.kernel.org/r/20240329154225.349288-8-edumazet@google.com",
}


@kfunc
def rps_input_queue_head_add(sd: softnet_data, val: int) -> None:
    """include/net/rps.h:141 (6.12)."""
    if IS_ENABLED(CONFIG_RPS):
        WRITE_ONCE(sd.input_queue_head, sd.input_queue_head + val)


@kfunc
def process_backlog(napi: napi_struct, quota: int) -> int:
    """net/core/dev.c."""
    sd = container_of(napi, softnet_data, "backlog")
    again = True
    work_done = 0

    if sd_has_rps_ipi_waiting(sd):
        local_irq_disable()
        net_rps_action_and_irq_enable(sd)

    work("process_backlog")
    napi.weight = READ_ONCE(table(net_hotdata, 0).dev_rx_weight)
    while again:
        while skb := __skb_dequeue(sd.process_queue):
            rcu_read_lock()
            __netif_receive_skb(skb)
            rcu_read_unlock()
            work_done += 1
            if work_done >= quota:
                rps_input_queue_head_add(sd, work_done)
                trace_process_backlog(work_done, quota)
                return work_done

        backlog_lock_irq_disable(sd)
        if skb_queue_empty(sd.input_pkt_queue):
            process_backlog_retire_sched(napi)
            again = False
        else:
            skb_queue_splice_tail_init(sd.input_pkt_queue, sd.process_queue)
        backlog_unlock_irq_enable(sd)

    if work_done:
        rps_input_queue_head_add(sd, work_done)
    trace_process_backlog(work_done, quota)
    return work_done
