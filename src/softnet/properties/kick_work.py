# SPDX-License-Identifier: GPL-2.0-or-later
# mypy: disable-error-code="attr-defined"
"""The same on a kernel whose defer list is kicked by a work item: 6.1 with the PREEMPT_RT patch queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import predicate
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.linux.kernel.workqueue import worker_pool
    from softnet.linux.patches.rt_defer_work import softnet_data
    from softnet.machine.state import cpu_hw


@predicate
def ck_kick_in_flight(sd: softnet_data) -> bool:
    """The work item is queued, or a worker that took it runs. If the CPU is offline, its worker is unbound and runs elsewhere."""
    return sd.defer_work.data != 0 or table(worker_pool, sd.cpu).nr_running != 0


@predicate
def ck_must_free_at_home(cpu: int) -> bool:
    """I2: the CPU is online, and workqueue_offline_cpu() has not unbound its worker, which flushes where it runs."""
    return table(cpu_hw, cpu).online != 0 and table(worker_pool, cpu).worker.cpu == cpu
