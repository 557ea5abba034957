# SPDX-License-Identifier: GPL-2.0-or-later
"""defer_ipi_scheduled is tested, then set, instead of both at once: two kickers queue the same csd. Must break I9."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import READ_ONCE, WRITE_ONCE, __test_and_set_bit, trace
    from softnet.linux.include.linux.netdevice import NAPI_STATE_SCHED
    from softnet.linux.kernel.smp import smp_call_function_single_async
    from softnet.linux.net.core.dev import __napi_schedule_irqoff
    from softnet.linux.patches.backlog_lock_no_rt import backlog_lock_irq_save, backlog_unlock_irq_restore
    from softnet.linux.patches.backlog_napi_threads import use_backlog_threads
    from softnet.linux.patches.process_queue_bh_lock import softnet_data


@kfunc
def kick_defer_list_purge(sd: softnet_data, cpu: int) -> None:
    """net/core/dev.c:4973 (6.12)."""
    if use_backlog_threads():
        flags = backlog_lock_irq_save(sd)
        if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
            trace("kick_defer_list_purge", cpu)
            __napi_schedule_irqoff(sd.backlog)
        else:
            trace("kick_coalesced", cpu)
        backlog_unlock_irq_restore(sd, flags)
    elif READ_ONCE(sd.defer_ipi_scheduled) == 0:
        WRITE_ONCE(sd.defer_ipi_scheduled, 1)
        trace("kick_defer_list_purge", cpu)
        smp_call_function_single_async(cpu, sd.defer_csd)
    else:
        trace("kick_coalesced", cpu)
