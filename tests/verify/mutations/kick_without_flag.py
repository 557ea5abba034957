# SPDX-License-Identifier: GPL-2.0-or-later
"""defer_ipi_scheduled is not looked at, and the csd's lock bit neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import __test_and_set_bit, cmpxchg, smp_wmb, trace, work
    from softnet.linux.include.linux.netdevice import NAPI_STATE_SCHED, softnet_data
    from softnet.linux.kernel.sched.core import preempt_disable, preempt_enable
    from softnet.linux.kernel.smp import CSD_FLAG_LOCK, EBUSY, call_single_data, generic_exec_single
    from softnet.linux.net.core.dev import __napi_schedule_irqoff
    from softnet.linux.patches.backlog_lock_rename import backlog_lock_irq_save, backlog_unlock_irq_restore
    from softnet.linux.patches.backlog_napi_threads import use_backlog_threads


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
    elif cmpxchg(sd.defer_ipi_scheduled, 0, 1) <= 1:
        trace("kick_defer_list_purge", cpu)
        smp_call_function_single_async(cpu, sd.defer_csd)
    else:
        trace("kick_coalesced", cpu)


@kfunc
def smp_call_function_single_async(cpu: int, csd: call_single_data) -> int:
    """smp.c:818 (6.1): do not wait; -EBUSY while the csd is in flight.

    The test of the lock bit and its setting are two operations: callers must serialise among themselves.
    """
    err = 0
    preempt_disable()
    work("smp_call_function_single_async")
    if csd.u_flags < 0:
        err = -EBUSY
    else:
        csd.u_flags = CSD_FLAG_LOCK
        smp_wmb()
        err = generic_exec_single(cpu, csd)
    preempt_enable()
    return err
