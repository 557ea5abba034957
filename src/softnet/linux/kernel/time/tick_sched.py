# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/time/tick-sched.c (6.1): the tick of a CPU that idles (NO_HZ_IDLE).

Only hrtimers are armed here: no timer of the wheel, and no work of RCU, keeps the tick or ends an idle period.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import raw_smp_processor_id, table

if TYPE_CHECKING:
    from softnet.linux.include.linux.cpuidle import *
    from softnet.machine.state import NEVER, cpu_hw
    from softnet.machine.timers import local_clock, tick_restart, tick_stop

TIMEKEEPING_MAX_DEFERMENT = 440795202126
"""timekeeping_max_deferment() in ns: max_idle_ns of a clocksource tsc, as common machines print it at boot."""


@hwfunc
def tick_nohz_tick_stopped() -> bool:
    """tick-sched.c:624 (6.1)."""
    return bool(table(cpu_hw, raw_smp_processor_id()).tick_at >= NEVER)


@hwfunc(visible="own cpu", x86="none")
def tick_nohz_idle_stop_tick() -> None:
    """tick-sched.c:1148 (6.1). With high resolution timers only those of the wheel keep the tick, of which there are none."""
    c = table(cpu_hw, raw_smp_processor_id())
    if not tick_nohz_tick_stopped():
        tick_stop(c)


@hwfunc(visible="own cpu", x86="none")
def tick_nohz_idle_restart_tick() -> None:
    """tick-sched.c:1320 (6.1)."""
    c = table(cpu_hw, raw_smp_processor_id())
    if tick_nohz_tick_stopped():
        tick_restart(c)


@hwfunc
def tick_nohz_idle_got_tick() -> bool:
    """tick-sched.c:1207 (6.1): whether the tick ended the last idling; asked once."""
    c = table(cpu_hw, raw_smp_processor_id())
    got = c.got_idle_tick
    c.got_idle_tick = False
    return got


@hwfunc
def tick_nohz_get_sleep_length(dev: cpuidle_device) -> int:
    """tick-sched.c:1240 (6.1): how long until the first timer, the tick not counted if it can be stopped."""
    c = table(cpu_hw, raw_smp_processor_id())
    next = TIMEKEEPING_MAX_DEFERMENT
    if c.timer_head is not None:
        next = min(next, max(c.timer_head.expires - local_clock(), 0))
    dev.delta_next = next
    if not tick_nohz_tick_stopped():
        dev.delta_next = min(next, max(c.tick_at - local_clock(), 0))
    return next
