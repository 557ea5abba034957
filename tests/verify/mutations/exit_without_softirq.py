# SPDX-License-Identifier: GPL-2.0-or-later
"""The end of a hard interrupt leaves what it raised pending."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.machine.interrupts import preempt_count_sub
    from softnet.machine.state import HARDIRQ_OFFSET


@kfunc
def irq_exit_rcu() -> None:
    """softirq.c:673 (6.1), with __irq_exit_rcu() (651): softirqs that this interrupt raised run here."""
    preempt_count_sub(HARDIRQ_OFFSET)
