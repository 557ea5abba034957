# SPDX-License-Identifier: GPL-2.0-or-later
"""net: do not provide hard irq safety for sd->defer_lock.

No hard interrupt takes the lock: bottom halves off are enough to push, and the flush runs with them off anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.smp import *
    from softnet.linux.net.core.skbuff import __kfree_skb, napi_consume_skb
    from softnet.machine.interrupts import *


PATCH = {
    "commit": "931e93bdf8ca",
    "subject": "net: do not provide hard irq safety for sd->defer_lock",
    "since": "6.4",
    "link": "https://lore.kernel.org/r/20230421094357.1693410-3-edumazet@google.com",
}


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    """net/core/dev.c:6478 (6.12)."""
    if not READ_ONCE(sd.defer_list):
        return

    spin_lock(sd.defer_lock)
    skb = sd.defer_list
    sd.defer_list = None
    count = sd.defer_count
    sd.defer_count = 0
    spin_unlock(sd.defer_lock)

    trace_skb_defer_free_flush(count)
    while skb:
        next = skb.next
        napi_consume_skb(skb, 1)
        skb = next


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c."""
    cpu = skb.alloc_cpu
    if WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu) or cpu == raw_smp_processor_id():
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_CPU)
        __kfree_skb(skb)
        return

    sd = per_cpu(softnet_data, cpu)
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    if READ_ONCE(sd.defer_count) >= defer_max:
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
        __kfree_skb(skb)
        return

    work("skb_attempt_defer_free")
    spin_lock_bh(sd.defer_lock)
    kick = sd.defer_count == defer_max >> 1
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    skb.next = sd.defer_list
    WRITE_ONCE(sd.defer_list, skb)
    trace_skb_attempt_defer_free(skb, cpu, sd.defer_count)
    spin_unlock_bh(sd.defer_lock)

    if kick:
        if not cmpxchg(sd.defer_ipi_scheduled, 0, 1):
            trace_kick_defer_list_purge(cpu)
            smp_call_function_single_async(cpu, sd.defer_csd)
        else:
            trace_kick_coalesced(cpu)
