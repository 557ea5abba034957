# SPDX-License-Identifier: GPL-2.0-or-later
"""The bodies of the two kinds of context: a CPU's interrupt levels and its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc
from softnet.lang.intrinsics import suspend

if TYPE_CHECKING:
    from softnet.machine.globals import do_interrupt
    from softnet.machine.interrupts import irq_ack, irq_return
    from softnet.machine.sched import current, schedule_now, set_task_state
    from softnet.machine.state import TASK_UNINTERRUPTIBLE, irq_line, task_struct


@kfunc
def irq_context() -> None:
    """One interrupt level: hand each interrupt to the kernel, return, wait for the next."""
    while True:
        line: irq_line = irq_ack()
        if line is not None:
            do_interrupt(line.vector, line.data)
        irq_return()
        suspend()


@kfunc
def task_context() -> None:
    """A task: its body, then nothing more."""
    me: task_struct = current()
    me.thread_fn(me.data)
    while True:
        set_task_state(TASK_UNINTERRUPTIBLE)
        if schedule_now():
            suspend()
