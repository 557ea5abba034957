# SPDX-License-Identifier: GPL-2.0-or-later
"""The function call's lock bit is set without smp_wmb() and cleared by a plain store: safe on x86, which keeps stores in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.kernel.kernel.locking.spinlock import preempt_disable, preempt_enable
    from softnet.kernel.kernel.smp import CSD_FLAG_LOCK, EBUSY, call_single_data, generic_exec_single
    from softnet.lang.intrinsics import WARN_ON_ONCE, work


@kfunc
def csd_unlock(csd: call_single_data) -> None:
    """smp.c:470 (6.1)."""
    WARN_ON_ONCE(csd.u_flags & CSD_FLAG_LOCK == 0)
    csd.u_flags = 0


@kfunc
def smp_call_function_single_async(cpu: int, csd: call_single_data) -> int:
    """smp.c:818 (6.1)."""
    err = 0
    preempt_disable()
    work("smp_call_function_single_async")
    if csd.u_flags & CSD_FLAG_LOCK != 0:
        err = -EBUSY
    else:
        csd.u_flags = CSD_FLAG_LOCK
        err = generic_exec_single(cpu, csd)
    preempt_enable()
    return err
