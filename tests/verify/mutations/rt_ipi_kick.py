# SPDX-License-Identifier: GPL-2.0-or-later
"""On PREEMPT_RT, too, the kick is an IPI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import __test_and_set_bit, cmpxchg, trace
    from softnet.linux.include.linux.netdevice import NAPI_STATE_SCHED, softnet_data
    from softnet.linux.kernel.smp import smp_call_function_single_async
    from softnet.linux.net.core.dev import __napi_schedule_irqoff
    from softnet.linux.patches.backlog_lock_rename import backlog_lock_irq_save, backlog_unlock_irq_restore
    from softnet.linux.patches.backlog_napi_threads import use_backlog_threads


@kfunc
def kick_defer_list_purge(sd: softnet_data, cpu: int) -> None:
    """net/core/dev.c:4973 (6.12)."""
    if use_backlog_threads() and cpu < 0:
        flags = backlog_lock_irq_save(sd)
        if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
            trace("kick_defer_list_purge", cpu)
            __napi_schedule_irqoff(sd.backlog)
        else:
            trace("kick_coalesced", cpu)
        backlog_unlock_irq_restore(sd, flags)
    elif cmpxchg(sd.defer_ipi_scheduled, 0, 1) == 0:
        trace("kick_defer_list_purge", cpu)
        smp_call_function_single_async(cpu, sd.defer_csd)
    else:
        trace("kick_coalesced", cpu)
