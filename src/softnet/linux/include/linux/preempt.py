# SPDX-License-Identifier: GPL-2.0-or-later
"""include/linux/preempt.h and bottom_half.h: which context this is. PREEMPT_RT counts BH-off sections per task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.kernel.softirq import __local_bh_disable_ip, __local_bh_enable_ip
    from softnet.machine.interrupts import in_hardirq, irqs_disabled, preempt_count
    from softnet.machine.sched import *
    from softnet.machine.state import *


@kfunc
def softirq_count() -> int:
    """include/linux/preempt.h:114 (6.1): on RT ``current->softirq_disable_cnt & SOFTIRQ_MASK``."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        return current().softirq_disable_cnt & SOFTIRQ_MASK
    return preempt_count() & SOFTIRQ_MASK


@kfunc
def in_softirq() -> bool:
    """include/linux/preempt.h: BH off, or serving a softirq."""
    return bool(softirq_count())


@kfunc
def in_serving_softirq() -> bool:
    """include/linux/preempt.h."""
    return bool(softirq_count() & SOFTIRQ_OFFSET)


@kfunc
def in_interrupt() -> bool:
    """include/linux/preempt.h: irq_count() != 0."""
    return bool(in_hardirq() or softirq_count())


@kfunc
def in_task() -> bool:
    """include/linux/preempt.h: neither in a hard interrupt nor serving a softirq."""
    return bool(not in_hardirq() and not in_serving_softirq())


@kfunc
def preemptible() -> bool:
    """include/linux/preempt.h."""
    return bool(preempt_count() == 0 and not irqs_disabled())


@kfunc(exclusion=True)
def local_bh_disable() -> None:
    """include/linux/bottom_half.h."""
    __local_bh_disable_ip(SOFTIRQ_DISABLE_OFFSET)


@kfunc(exclusion=True)
def local_bh_enable() -> None:
    """include/linux/bottom_half.h."""
    __local_bh_enable_ip(SOFTIRQ_DISABLE_OFFSET)
