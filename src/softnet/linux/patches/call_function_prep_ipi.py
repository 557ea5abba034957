# SPDX-License-Identifier: GPL-2.0-or-later
"""sched, smp: Trace IPIs sent via send_call_function_single_ipi().

Whether the CPU polls is asked by a function of its own, and the sending goes to kernel/smp.c. What happens is what happened before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.linux.include.trace.events import *
    from softnet.machine.interrupts import *


PATCH = {
    "commit": "cc9cb0a71725",
    "subject": "sched, smp: Trace IPIs sent via send_call_function_single_ipi()",
    "since": "6.4",
    "link": "https://lore.kernel.org/r/20230307143558.294354-3-vschneid@redhat.com",
}


@kfunc
def call_function_single_prep_ipi(cpu: int) -> bool:
    """kernel/sched/core.c:3826 (6.12): whether an interrupt is needed; a CPU that idles polling sees NEED_RESCHED."""
    if set_nr_if_polling(cpu):
        trace_sched_wake_idle_without_ipi(cpu)
        return False
    return True


@kfunc
def send_call_function_single_ipi(cpu: int) -> None:
    """kernel/smp.c:115 (6.12)."""
    if call_function_single_prep_ipi(cpu):
        arch_send_call_function_single_ipi(cpu)
