# SPDX-License-Identifier: GPL-2.0-or-later
"""What is pending is not cleared before it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import table, trace, work
    from softnet.linux.kernel.locking.spinlock import local_irq_disable, local_irq_enable
    from softnet.linux.kernel.softirq import (
        MAX_SOFTIRQ_RESTART,
        MAX_SOFTIRQ_TIME_MS,
        NR_SOFTIRQS,
        local_softirq_pending,
        softirq_action,
        softirq_handle_begin,
        softirq_handle_end,
        wakeup_softirqd,
    )
    from softnet.linux.kernel.time.time import msecs_to_jiffies
    from softnet.machine.interrupts import vtime_softirq_enter, vtime_softirq_exit
    from softnet.machine.sched import need_resched
    from softnet.machine.timers import jiffies


@kfunc
def handle_softirqs(ksirqd: bool) -> None:
    """softirq.c:528 (6.1.192; __do_softirq() before): run what is pending, and again, within 2 ms and 10 passes.

    The 2 ms are jiffies: at HZ=250 that is one tick, anything between 0 and 4 ms. Called and left with interrupts off.
    """
    end = jiffies() + msecs_to_jiffies(MAX_SOFTIRQ_TIME_MS)
    max_restart = MAX_SOFTIRQ_RESTART

    pending = local_softirq_pending()
    softirq_handle_begin()
    was = vtime_softirq_enter()

    while True:
        # Reset the pending word before interrupts come on.
        local_irq_enable()
        for vec_nr in range(NR_SOFTIRQS):
            if pending & (1 << vec_nr) != 0:
                h = table(softirq_action, vec_nr)
                trace("softirq_entry", vec_nr)
                work("softirq_entry")
                h.action()
                trace("softirq_exit", vec_nr)
        local_irq_disable()

        pending = local_softirq_pending()
        if pending == 0:
            break
        max_restart -= 1
        if jiffies() >= end or need_resched() or max_restart == 0:
            wakeup_softirqd()
            break

    vtime_softirq_exit(was)
    softirq_handle_end()
