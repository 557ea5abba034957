# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/irq/manage.c, handle.c and chip.c (6.1): a device's interrupt, hard or forced into a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, fnptr, kfunc, private, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.drivers.net.softnet_nic import nic_vector
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.sched.core import __set_current_state
    from softnet.linux.kernel.softirq import *
    from softnet.machine.state import *


IRQ_HANDLED = 1
IRQ_WAKE_THREAD = 2
IRQTF_RUNTHREAD = 0


class irqaction(Struct):
    """include/linux/interrupt.h. A forced-threaded action's handler is irq_default_primary_handler()."""

    handler: fnptr = private()
    thread_fn: fnptr = private()
    dev_id: nic_vector = private()
    irq: int = private()
    thread: task_struct = private()
    thread_flags: int = shared()


@kfunc
def irq_default_primary_handler(irq: int, dev_id: nic_vector) -> int:
    """manage.c:1039 (6.1)."""
    return IRQ_WAKE_THREAD


@kfunc
def handle_irq_event(action: irqaction) -> None:
    """handle.c:205 (6.1), irqreturn_t handle_irq_event(struct irq_desc *desc).

    With __handle_irq_event_percpu(), under handle_edge_irq() as for MSI-X.
    """
    res = action.handler(action.irq, action.dev_id)
    if res == IRQ_WAKE_THREAD:
        __irq_wake_thread(action)


@kfunc
def __irq_wake_thread(action: irqaction) -> None:
    """handle.c:60 (6.1), void __irq_wake_thread(struct irq_desc *desc, struct irqaction *action).

    Once until the thread has taken note.
    """
    if test_and_set_bit(IRQTF_RUNTHREAD, action.thread_flags):
        return
    wake_up_process(action.thread)


@kfunc
def irq_wait_for_interrupt(action: irqaction) -> int:
    """manage.c:1049 (6.1)."""
    while True:
        set_current_state(TASK_INTERRUPTIBLE)
        if test_and_clear_bit(IRQTF_RUNTHREAD, action.thread_flags):
            __set_current_state(TASK_RUNNING)
            return 0
        schedule()


@kfunc
def irq_forced_thread_fn(action: irqaction) -> int:
    """manage.c:1196 (6.1), irqreturn_t irq_forced_thread_fn(struct irq_desc *desc, struct irqaction *action).

    The handler with bottom halves off; what it raised runs at their enabling, in this thread.
    """
    local_bh_disable()
    if not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_disable()
    ret = action.thread_fn(action.irq, action.dev_id)
    if not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_enable()
    local_bh_enable()
    return ret


@kfunc(entry=True)
def irq_thread(data: int) -> None:
    """manage.c:1293 (6.1): the body of irq/NIC-QUEUE, SCHED_FIFO 50; ``data`` is the row of table(nic_vector, ...)."""
    action = table(nic_vector, data).action
    while True:
        irq_wait_for_interrupt(action)
        irq_forced_thread_fn(action)


@kfunc
def irq_setup_forced_threading(action: irqaction) -> None:
    """manage.c:1370 (6.1): the driver's handler becomes the thread's function."""
    if force_irqthreads():
        action.thread_fn = action.handler
        action.handler = irq_default_primary_handler
