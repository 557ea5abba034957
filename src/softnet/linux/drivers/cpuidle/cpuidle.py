# SPDX-License-Identifier: GPL-2.0-or-later
"""drivers/cpuidle/cpuidle.c, governor.c (6.1): the idle state that the governor chooses, entered and accounted.

Left out: coupled states, s2idle, states in which the CPU's own timer stops, states that are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc, kfunc
from softnet.lang.intrinsics import raw_smp_processor_id, suspend, table

if TYPE_CHECKING:
    from softnet.linux.drivers.cpuidle.governors.haltpoll import *
    from softnet.linux.drivers.cpuidle.governors.menu import *
    from softnet.linux.drivers.cpuidle.governors.teo import *
    from softnet.linux.drivers.cpuidle.poll_state import poll_idle
    from softnet.linux.include.linux.cpuidle import *
    from softnet.machine.interrupts import clear_polling, idle_enter_state
    from softnet.machine.sched import need_resched
    from softnet.machine.state import cpu_hw
    from softnet.machine.timers import local_clock, tick_nsec

CPUIDLE_POLL_MIN = 10000


@hwfunc(visible="own cpu", x86="none")
def cpuidle_select(drv: cpuidle_driver, dev: cpuidle_device) -> int:
    """cpuidle.c:324 (6.1), with what cpuidle_idle_call() sets before: cpuidle_curr_governor->select()."""
    dev.stop_tick = True
    if drv.governor == CPUIDLE_GOVERNOR_MENU:
        return menu_select(drv, dev)
    if drv.governor == CPUIDLE_GOVERNOR_TEO:
        return teo_select(drv, dev)
    return haltpoll_select(drv, dev)


@hwfunc(visible="own cpu", x86="none")
def cpuidle_stop_tick(dev: cpuidle_device) -> bool:
    """Whether the governor lets the tick stop."""
    return dev.stop_tick


@hwfunc(visible="own cpu", x86="none")
def cpuidle_reflect(drv: cpuidle_driver, dev: cpuidle_device, index: int) -> None:
    """cpuidle.c:370 (6.1); ``index`` is below 0 where no state was entered."""
    if index < 0:
        return
    if drv.governor == CPUIDLE_GOVERNOR_MENU:
        menu_reflect(dev, index)
    elif drv.governor == CPUIDLE_GOVERNOR_TEO:
        teo_reflect(dev, index)
    else:
        haltpoll_reflect(dev, index)


@hwfunc
def cpuidle_governor_latency_req(drv: cpuidle_driver) -> int:
    """governor.c:109 (6.1): the limit of PM QoS in ns; a CPU's own, pm_qos_resume_latency_us, is not modelled."""
    return drv.latency_req_ns


@hwfunc(visible="own cpu", x86="none")
def cpuidle_poll_time(drv: cpuidle_driver, dev: cpuidle_device) -> int:
    """cpuidle.c:397 (6.1): how long the polling state polls, in ns."""
    if dev.poll_limit_ns:
        return dev.poll_limit_ns
    limit_ns = tick_nsec() // 16
    for i in range(1, drv.state_count):
        s = table(cpuidle_state, i)
        if not s.disable and s.target_residency_ns >= CPUIDLE_POLL_MIN:
            limit_ns = min(limit_ns, s.target_residency_ns)
            break
    dev.poll_limit_ns = limit_ns
    return limit_ns


@hwfunc(visible="own cpu", x86="none")
def set_poll_time_limit(dev: cpuidle_device, over: bool) -> None:
    """dev->poll_time_limit."""
    dev.poll_time_limit = over


@hwfunc(visible="own cpu", x86="none")
def cpuidle_not_entered(dev: cpuidle_device) -> None:
    """call_cpuidle(), kernel/sched/idle.c:124 (6.1): there is something to do already."""
    dev.last_residency_ns = 0


@hwfunc
def cpuidle_count(drv: cpuidle_driver, dev: cpuidle_device, index: int, diff: int) -> None:
    """The counters at the end of cpuidle_enter_state(): was the state too deep, or would the next deeper one have paid?"""
    dev.usage[index] += 1
    dev.time_ns[index] += diff
    s = table(cpuidle_state, index)
    if diff < s.target_residency_ns:
        for i in range(index):
            if not table(cpuidle_state, i).disable:
                dev.above[index] += 1
                break
    elif diff > s.exit_latency_ns:
        for i in range(index + 1, drv.state_count):
            if not table(cpuidle_state, i).disable:
                if diff - s.exit_latency_ns >= table(cpuidle_state, i).target_residency_ns:
                    dev.below[index] += 1
                break


@hwfunc(visible="own cpu", x86="none")
def cpuidle_residency(drv: cpuidle_driver, dev: cpuidle_device, index: int, time_start: int) -> None:
    """The end of cpuidle_enter_state(). The time is read with interrupts still off: at the end of the way out of the state.

    In the polling state interrupts are on, so what they took counts.
    """
    end = local_clock()
    if table(cpuidle_state, index).flags & CPUIDLE_FLAG_POLLING == 0:
        end = table(cpu_hw, raw_smp_processor_id()).idle_left
    diff = max(end - time_start, 0)
    dev.last_residency_ns = diff
    cpuidle_count(drv, dev, index, diff)


@kfunc
def cpuidle_enter_state(drv: cpuidle_driver, dev: cpuidle_device, index: int) -> int:
    """cpuidle.c:202 (6.1): into the state and out of it; its number, or -1 (-EBUSY) if there is something to do already."""
    state = table(cpuidle_state, index)
    if need_resched():
        cpuidle_not_entered(dev)
        return -1
    time_start = local_clock()
    if state.flags & CPUIDLE_FLAG_POLLING:
        poll_idle(drv, dev)
    else:
        if state.flags & CPUIDLE_FLAG_MWAIT == 0:
            clear_polling()
        if not idle_enter_state(state.wake_ns):
            cpuidle_not_entered(dev)
            return -1
        suspend()
    cpuidle_residency(drv, dev, index, time_start)
    return index
