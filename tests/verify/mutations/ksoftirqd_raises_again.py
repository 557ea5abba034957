# SPDX-License-Identifier: GPL-2.0-or-later
"""ksoftirqd raises NET_RX after each of its rounds: a livelock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.linux.kernel.sched.core import cond_resched
    from softnet.linux.kernel.softirq import (
        NET_RX_SOFTIRQ,
        __raise_softirq_irqoff,
        handle_softirqs,
        ksoftirqd_run_begin,
        ksoftirqd_run_end,
        local_softirq_pending,
    )


@kfunc
def run_ksoftirqd(cpu: int) -> None:
    """softirq.c:916 (6.1): one round; on RT under the BH lock, at ksoftirqd's priority."""
    ksoftirqd_run_begin()
    if local_softirq_pending() != 0:
        __raise_softirq_irqoff(NET_RX_SOFTIRQ)
        handle_softirqs(True)
        __raise_softirq_irqoff(NET_RX_SOFTIRQ)
        ksoftirqd_run_end()
        cond_resched()
        return
    ksoftirqd_run_end()
