# SPDX-License-Identifier: GPL-2.0-or-later
# mypy: disable-error-code="attr-defined,no-any-return"
"""The same on a kernel whose defer list is kicked by a work item: 6.1 with the PREEMPT_RT patch queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc, kfunc
from softnet.lang.intrinsics import container_of, table

if TYPE_CHECKING:
    from softnet.linux.kernel.workqueue import work_struct
    from softnet.linux.patches.rt_defer_work import softnet_data, trigger_rx_softirq
    from softnet.properties.kick_work import ck_kick_in_flight
    from softnet.verify.inside.words import vx_sd


@kfunc
def vx_trigger_rx_softirq(item: work_struct) -> None:
    """The defer list's work item; until its end defer_ipi_scheduled may be set (I8)."""
    note = table(vx_sd, container_of(item, softnet_data, "defer_work").cpu)
    note.in_defer_csd = 1
    trigger_rx_softirq(item)
    note.in_defer_csd = 0


@hwfunc
def vx_defer_call(sd: softnet_data) -> bool:
    """Whether the defer list's work item is queued, or a worker that took it runs."""
    return bool(ck_kick_in_flight(sd) or table(vx_sd, sd.cpu).in_defer_csd != 0)
