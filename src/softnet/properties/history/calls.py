# SPDX-License-Identifier: GPL-2.0-or-later
"""I9 and I13: function calls between CPUs, and what they raise on PREEMPT_RT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import observer
from softnet.lang.intrinsics import address_of, container_of, table

if TYPE_CHECKING:
    from softnet.linux.include.linux.list import llist_node
    from softnet.linux.kernel.smp import CSD_TYPE_TTWU, call_single_data
    from softnet.machine.globals import hw
    from softnet.machine.state import HARDIRQ_MASK
    from softnet.properties.history.notes import ck_insert, ck_preempt_count, ck_remove, ck_say
    from softnet.properties.history.words import (
        CK_CALL_TWICE,
        CK_I13,
        CK_MEMBERS,
        CK_RAISED,
        ck_ctx,
        ck_env,
    )


@observer
def ck_in_flight() -> int:
    """The row of ck_set where the queued calls begin, behind the CPUs' producers."""
    return hw.nr_cpus * ((table(ck_env, 0).contexts + CK_MEMBERS - 1) // CK_MEMBERS)


@observer
def ck_queued(cpu: int, node: llist_node) -> None:
    """I9: a call is queued; it must not be on its way already.

    A task on its way to another CPU's run queue (CSD_TYPE_TTWU) is no call: nobody unlocks it, and TASK_WAKING keeps others away.
    """
    if container_of(node, call_single_data, "llist").type != CSD_TYPE_TTWU and not ck_insert(ck_in_flight(), address_of(node)):
        ck_say(9, CK_CALL_TWICE, cpu, 0, 0, 0)


@observer
def ck_unlocked(csd: call_single_data) -> None:
    """The call has been taken off its queue."""
    ck_remove(ck_in_flight(), address_of(csd.llist))


@observer
def ck_raised() -> None:
    """I13: NET_RX is raised; on PREEMPT_RT not by a function call from another CPU."""
    e = table(ck_env, 0)
    if e.rt != 0 and table(ck_ctx, hw.ctx).calling != 0:
        in_hardirq = ck_preempt_count() & HARDIRQ_MASK != 0
        ck_say(13 if e.threads != 0 else CK_I13, CK_RAISED, 1 if in_hardirq else 0, 0, 0, 0)
