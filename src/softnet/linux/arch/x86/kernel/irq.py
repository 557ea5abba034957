# SPDX-License-Identifier: GPL-2.0-or-later
"""arch/x86/kernel/irq.c, smp.c and apic.c (6.1): from the vector to the handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.drivers.net.softnet_nic import nic_vector
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.irq.manage import *
    from softnet.linux.kernel.smp import *
    from softnet.linux.kernel.softirq import *
    from softnet.linux.kernel.time.hrtimer import *
    from softnet.machine.state import *


@kfunc
def do_interrupt(vector: int, data: int) -> None:
    """The IDT entries, arch/x86/include/asm/idtentry.h; interrupts are off. ``data`` is the receive queue of a device, of another
    device how long its handler runs.

    The reschedule interrupt is a DEFINE_IDTENTRY_SYSVEC_SIMPLE: no irq_enter_rcu(), hence no softirqs at its exit; the
    return from interrupt does the switching.
    """
    trace_irq_handler_entry(vector, data)
    if vector == VECTOR_RESCHEDULE:
        trace_irq_handler_exit(vector, data)
        return
    irq_enter_rcu()
    if vector == VECTOR_TIMER:
        hrtimer_interrupt()
    elif vector == VECTOR_CALL_FUNCTION_SINGLE:
        generic_smp_call_function_single_interrupt()
    elif vector == VECTOR_DEVICE:
        common_interrupt(data)
    elif IS_ENABLED(OTHER_DEVICES) and vector == VECTOR_OTHER:
        work_ns(data)
    trace_irq_handler_exit(vector, data)
    irq_exit_rcu()


@kfunc
def common_interrupt(queue: int) -> None:
    """irq.c:240 (6.1), handle_irq() with handle_edge_irq() of kernel/irq/chip.c."""
    work("handle_irq_event")
    handle_irq_event(table(nic_vector, queue).action)
