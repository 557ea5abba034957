# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/sched/idle.c (6.1): the idle loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.kernel.cpu import arch_cpu_idle_dead
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.smp import *
    from softnet.machine.interrupts import *
    from softnet.machine.sched import *


class cpuidle_device(Struct):
    """How this machine idles; one. By mwait, as intel_idle does, or by hlt: the boot argument idle=halt, and most guests."""

    halt: int = private()


@kfunc
def cpuidle_idle_call() -> None:
    """idle.c:170 (6.1): halt until an interrupt, or until NEED_RESCHED is set where the CPU waits by mwait."""
    if table(cpuidle_device, 0).halt:
        # default_idle_call(): hlt does not watch the flag, so a remote CPU must send an interrupt.
        clear_polling()
    if idle_enter():
        suspend()
    set_polling()


@kfunc
def do_idle() -> None:
    """idle.c:275 (6.1): once into idleness and out of it.

    While the polling bit is set, who sets NEED_RESCHED sends no interrupt; so the queue of function calls must be looked
    at on the way out, which is not an interrupt: softirqs raised there are a matter of their own on PREEMPT_RT.
    """
    set_polling()
    while not need_resched():
        if cpu_is_offline(smp_processor_id()):
            arch_cpu_idle_dead()
        cpuidle_idle_call()
    clear_polling()
    smp_mb__after_atomic()
    flush_smp_call_function_queue()
    schedule_idle()


@kfunc(entry=True)
def cpu_startup_entry(data: int) -> None:
    """idle.c:399 (6.1): the body of each CPU's idle task; ``data`` is not used."""
    while True:
        do_idle()
