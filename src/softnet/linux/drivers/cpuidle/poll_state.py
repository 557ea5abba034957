# SPDX-License-Identifier: GPL-2.0-or-later
"""drivers/cpuidle/poll_state.c (6.1): the idle state in which a CPU spins for NEED_RESCHED."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.drivers.cpuidle.cpuidle import *
    from softnet.linux.include.linux.cpuidle import *
    from softnet.machine.interrupts import idle_poll, idle_poll_end
    from softnet.machine.sched import need_resched
    from softnet.machine.timers import local_clock


@kfunc
def poll_idle(drv: cpuidle_driver, dev: cpuidle_device) -> None:
    """poll_state.c:13 (6.1), with interrupts on. C looks at the clock at each 200th turn only."""
    until = local_clock() + cpuidle_poll_time(drv, dev)
    set_poll_time_limit(dev, False)
    while not need_resched():
        if local_clock() >= until:
            set_poll_time_limit(dev, True)
            break
        if idle_poll(until):
            suspend()
            idle_poll_end()
