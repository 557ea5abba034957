# SPDX-License-Identifier: GPL-2.0-or-later
"""net: Rename rps_lock to backlog_lock. The series, 4/4.

The lock protects the backlog with and without RPS. The old names stay defined, as the new ones' callees, so that a patch
written for either works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.lang.intrinsics import __test_and_set_bit
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.smp import *
    from softnet.linux.net.core.dev import __napi_schedule_irqoff
    from softnet.linux.net.core.dev_backlog import *
    from softnet.linux.patches.backlog_napi_threads import use_backlog_threads


PATCH = {
    "commit": "765b11f8f4e2",
    "subject": "net: Rename rps_lock to backlog_lock.",
    "since": "6.10",
    "link": "https://lore.kernel.org/r/20240325074943.289909-5-bigeasy@linutronix.de",
}


@kfunc
def backlog_lock_irq_save(sd: softnet_data) -> int:
    """net/core/dev.c:229 (6.12), void backlog_lock_irq_save(struct softnet_data *sd, unsigned long *flags)."""
    return rps_lock_irqsave(sd)


@kfunc
def backlog_lock_irq_disable(sd: softnet_data) -> None:
    """net/core/dev.c:238 (6.12)."""
    rps_lock_irq_disable(sd)


@kfunc
def backlog_unlock_irq_restore(sd: softnet_data, flags: int) -> None:
    """net/core/dev.c:246 (6.12), void backlog_unlock_irq_restore(struct softnet_data *sd, unsigned long *flags)."""
    rps_unlock_irq_restore(sd, flags)


@kfunc
def backlog_unlock_irq_enable(sd: softnet_data) -> None:
    """net/core/dev.c:255 (6.12)."""
    rps_unlock_irq_enable(sd)


@kfunc
def kick_defer_list_purge(sd: softnet_data, cpu: int) -> None:
    """net/core/dev.c:4973 (6.12)."""
    if use_backlog_threads():
        flags = backlog_lock_irq_save(sd)
        if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
            trace_kick_defer_list_purge(cpu)
            __napi_schedule_irqoff(sd.backlog)
        else:
            trace_kick_coalesced(cpu)
        backlog_unlock_irq_restore(sd, flags)
    elif not cmpxchg(sd.defer_ipi_scheduled, 0, 1):
        trace_kick_defer_list_purge(cpu)
        smp_call_function_single_async(cpu, sd.defer_csd)
    else:
        trace_kick_coalesced(cpu)
