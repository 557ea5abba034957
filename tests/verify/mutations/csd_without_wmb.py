# SPDX-License-Identifier: GPL-2.0-or-later
"""The function call's lock bit is set without smp_wmb(): safe on x86, which keeps stores in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import work
    from softnet.linux.kernel.locking.spinlock import preempt_disable, preempt_enable
    from softnet.linux.kernel.smp import CSD_FLAG_LOCK, EBUSY, call_single_data, generic_exec_single


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
