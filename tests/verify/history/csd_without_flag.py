# SPDX-License-Identifier: GPL-2.0-or-later
"""Before 97e719a82b43 (v5.19): every crossing of the watermark queues the csd, in flight or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import (
        READ_ONCE,
        WARN_ON_ONCE,
        WRITE_ONCE,
        per_cpu,
        raw_smp_processor_id,
        table,
        trace,
        work,
    )
    from softnet.linux.include.linux.netdevice import net_hotdata, softnet_data
    from softnet.linux.include.linux.skbuff import sk_buff
    from softnet.linux.kernel.locking.spinlock import spin_lock_irqsave, spin_unlock_irqrestore
    from softnet.linux.kernel.smp import smp_call_function_single_async
    from softnet.linux.net.core.skbuff import __kfree_skb
    from softnet.machine.interrupts import cpu_online, nr_cpu_ids


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """skbuff.c:6715 (6.1): free a received skb on the CPU that allocated it (68822bdf76f1, v5.19).

    Task context. The skb goes on that CPU's defer_list, and the CPU is kicked when the list is half full: exactly then,
    never below. The first kicker takes defer_ipi_scheduled (97e719a82b43, v5.19): the csd is in flight until it is 0.
    """
    cpu = skb.alloc_cpu
    if WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu) or cpu == raw_smp_processor_id():
        trace("skb_defer_nodefer", skb.id, cpu, 0)
        __kfree_skb(skb)
        return

    sd = per_cpu(softnet_data, cpu)
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    if READ_ONCE(sd.defer_count) >= defer_max:
        trace("skb_defer_nodefer", skb.id, cpu, 1)
        __kfree_skb(skb)
        return

    work("skb_attempt_defer_free")
    flags = spin_lock_irqsave(sd.defer_lock)
    # Send an IPI every time the queue reaches half its capacity.
    kick = sd.defer_count == defer_max >> 1
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    skb.next = sd.defer_list
    WRITE_ONCE(sd.defer_list, skb)
    trace("skb_attempt_defer_free", skb.id, cpu, sd.defer_count)
    spin_unlock_irqrestore(sd.defer_lock, flags)

    # Nothing else makes the other CPU look at its list if it receives no packets.
    if kick:
        trace("kick_defer_list_purge", cpu)
        smp_call_function_single_async(cpu, sd.defer_csd)
