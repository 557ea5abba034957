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


@predicate
def ck_kick_in_flight(sd: softnet_data) -> bool:
    """The work item is queued, or a worker that took it runs."""
    return sd.defer_work.data != 0 or table(worker_pool, sd.cpu).nr_running != 0
