# SPDX-License-Identifier: GPL-2.0-or-later
"""ksoftirqd waits for somebody else to run what is pending; interrupts leave it to ksoftirqd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import IS_ENABLED
    from softnet.linux.config import CONFIG_PREEMPT_RT
    from softnet.linux.kernel.sched.core import cond_resched
    from softnet.linux.kernel.softirq import (
        ksoftirqd_run_begin,
        ksoftirqd_run_end,
        local_softirq_pending,
        should_wake_ksoftirqd,
        softirq_left_to_ksoftirqd,
        wakeup_softirqd,
    )


@kfunc
def run_ksoftirqd(cpu: int) -> None:
    """softirq.c:916 (6.1): one round; on RT under the BH lock, at ksoftirqd's priority."""
    ksoftirqd_run_begin()
    if local_softirq_pending() != 0:
        ksoftirqd_run_end()
        cond_resched()
        return
    ksoftirqd_run_end()


@kfunc
def invoke_softirq() -> None:
    """softirq.c:301 (6.1, RT: only ever wake ksoftirqd), 430: at the exit of a hard interrupt."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        if should_wake_ksoftirqd():
            wakeup_softirqd()
        return
    if softirq_left_to_ksoftirqd(local_softirq_pending()):
        return
    wakeup_softirqd()
