# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/sched/idle.c (6.1): the idle loop.

CONFIG_CPU_IDLE is set where the scenario states idle states, and a boot argument does not switch the governor off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.drivers.cpuidle.cpuidle import *
    from softnet.linux.include.linux.cpuidle import *
    from softnet.linux.kernel.cpu import arch_cpu_idle_dead
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.smp import *
    from softnet.linux.kernel.time.tick_sched import *
    from softnet.machine.interrupts import *
    from softnet.machine.sched import *


@kfunc
def cpu_idle_poll() -> None:
    """idle.c:53 (6.1): spin for NEED_RESCHED, interrupts on."""
    while not need_resched():
        if idle_poll(NEVER):
            suspend()
            idle_poll_end()


@kfunc
def default_idle_call() -> None:
    """idle.c:91 (6.1), without a driver: halt until an interrupt, or until NEED_RESCHED is set where the CPU waits by mwait."""
    if table(cpuidle_driver, 0).halt:
        # hlt does not watch the flag, so a remote CPU must send an interrupt.
        clear_polling()
    if idle_enter():
        suspend()


@kfunc
def cpuidle_idle_call() -> None:
    """idle.c:175 (6.1): idle once, in the state that the governor chooses. The tick has stopped where there is no governor."""
    if IS_ENABLED(CONFIG_CPU_IDLE):
        drv = table(cpuidle_driver, 0)
        dev: cpuidle_device = this_cpu_ptr(cpuidle_device)
        next_state = cpuidle_select(drv, dev)
        if cpuidle_stop_tick(dev):
            tick_nohz_idle_stop_tick()
        entered_state = cpuidle_enter_state(drv, dev, next_state)
        cpuidle_reflect(drv, dev, entered_state)
    else:
        default_idle_call()
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
        if IS_ENABLED(CPU_IDLE_FORCE_POLL):
            tick_nohz_idle_restart_tick()
            cpu_idle_poll()
        else:
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
