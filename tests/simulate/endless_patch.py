# SPDX-License-Identifier: GPL-2.0-or-later
"""A user's patch with one loop without end per value of net.core.netdev_budget, each at a place where nobody can help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc, kfunc
from softnet.lang.intrinsics import READ_ONCE, table, work

if TYPE_CHECKING:
    from softnet.linux.drivers.net.softnet_nic import IRQ_HANDLED, nic_vector
    from softnet.linux.include.linux.netdevice import net_hotdata, softnet_data
    from softnet.linux.include.linux.skbuff import sk_buff
    from softnet.linux.kernel.locking.spinlock import local_irq_disable, spin_lock
    from softnet.linux.kernel.sched.core import preempt_disable
    from softnet.linux.net.core.dev import napi_schedule_irqoff
    from softnet.machine.nic import nic_irq_disable


@kfunc
def which() -> int:
    return READ_ONCE(table(net_hotdata, 0).netdev_budget)


@hwfunc(visible="all", x86="none")
def of_the_machine(n: int) -> int:
    while n != 0:  # in a machine function
        n += 2
    return n


@hwfunc(visible="all", x86="none")
def counted_of_the_machine() -> int:
    n = 0
    for i in range(1 << 40):  # counted, in a machine function
        n += i & 1
    return n


@kfunc
def ip_local_deliver(skb: sk_buff) -> int:
    n = 1
    if which() == 2001:
        spin_lock(table(softnet_data, 0).defer_lock)
        while n != 0:  # with a lock held
            n += 2
    elif which() == 2002:
        local_irq_disable()
        while n != 0:  # with interrupts off
            n += 2
    elif which() == 2003:
        preempt_disable()
        while n != 0:  # with preemption off
            n += 2
    elif which() == 2004:
        return of_the_machine(1)
    elif which() == 2005:
        return counted_of_the_machine()
    elif which() == 2006:
        for i in range(1 << 40):  # counted
            n += i & 1
    return 0


@kfunc
def softnet_msix_clean_rings(irq: int, dev_id: nic_vector) -> int:
    n = 1
    if which() == 2007:
        while n != 0:  # in a hard interrupt
            n += 2
    work("nic_irq_handler")
    nic_irq_disable(dev_id.queue)
    napi_schedule_irqoff(dev_id.napi)
    return IRQ_HANDLED
