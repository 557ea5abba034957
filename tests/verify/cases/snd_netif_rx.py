# SPDX-License-Identifier: GPL-2.0-or-later
"""netif_rx(): a queue that is not empty has SCHED set, so just append. Looked at before bottom halves are off: a softirq may come."""

from __future__ import annotations

from softnet.lang import kfunc


@kfunc
def netif_rx(skb: sk_buff) -> int:
    if in_hardirq() or softirq_count() != 0:
        return netif_rx_internal(skb)
    sd = this_cpu_ptr(softnet_data)
    busy = skb_queue_len_lockless(sd.input_pkt_queue) != 0
    local_bh_disable()
    ret = NET_RX_SUCCESS
    if busy:
        flags = backlog_lock_irq_save(sd)
        __skb_queue_tail(sd.input_pkt_queue, skb)
        backlog_unlock_irq_restore(sd, flags)
    else:
        ret = netif_rx_internal(skb)
    local_bh_enable()
    return ret
