# SPDX-License-Identifier: GPL-2.0-or-later
"""cpuidle: governors: teo: Rework the handling of tick wakeups.

Wakeups by the tick are counted by themselves, so that they do not keep it alive. As 7.3.4 has it, with 475ca3470b37 and its
neighbours of 7.0 (what is an early wakeup, where the search for a shallower state begins) and 106a2662e655 (7.1: where the tick has
stopped, a deeper state unless a timer comes soon). 6.19 has 6.18's text here: its tree could not be had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, hw, hwfunc
from softnet.lang.intrinsics import raw_smp_processor_id, table

if TYPE_CHECKING:
    from softnet.linux.drivers.cpuidle.cpuidle import cpuidle_governor_latency_req
    from softnet.linux.drivers.cpuidle.governors.teo import DECAY_SHIFT, PULSE, teo_begin, teo_keep_tick
    from softnet.linux.include.linux.cpuidle import *
    from softnet.linux.kernel.time.tick_sched import *
    from softnet.linux.patches.menu_skip_sleep_length import RESIDENCY_THRESHOLD_NS
    from softnet.linux.patches.teo_short_idles import LATENCY_THRESHOLD_NS, teo_counted_ns, teo_fitted
    from softnet.linux.patches.teo_skip_sleep_length import teo_candidate, teo_retained, teo_sleep_length
    from softnet.machine.timers import tick_nsec


PATCH = {
    "commit": "083654ded547",
    "subject": "cpuidle: governors: teo: Rework the handling of tick wakeups",
    "since": "6.19",
    "link": "https://lore.kernel.org/r/6228387.lOV4Wx5bFT@rafael.j.wysocki",
    "config": "CONFIG_CPU_IDLE",
}


class teo_cpu(Struct, extends=True):
    """teo.c:145 (7.3)."""

    total_tick: int = hw(statistic=True)
    tick_wakeup: bool = hw(statistic=True)


@hwfunc
def teo_decayed(metric: int) -> int:
    """teo.c:157 (7.3), teo_decay(): below 8 a metric goes to 0."""
    delta = metric >> DECAY_SHIFT
    return metric - delta if delta else 0


@hwfunc
def teo_measured_ns(cpu_data: teo_cpu, dev: cpuidle_device) -> int:
    """Of teo_update(), teo.c:172 (7.3)."""
    cpu_data.short_idles = teo_decayed(cpu_data.short_idles)
    if dev.poll_time_limit:
        dev.poll_time_limit = False
        return KTIME_MAX
    return teo_counted_ns(dev)


@hwfunc
def teo_tick_hit(drv: cpuidle_driver, cpu_data: teo_cpu, idx_timer: int, total: int) -> bool:
    """Of teo_update(): a wakeup by the tick counts as one that came in time, unless early ones are frequent."""
    cpu_data.total_tick += PULSE
    if 3 * cpu_data.total_tick > 2 * cpu_data.total:
        cpu_data.hits[drv.state_count - 1] += PULSE
        return True
    if 3 * cpu_data.tick_intercepts < 2 * total:
        cpu_data.hits[idx_timer] += PULSE
        return True
    return False


@hwfunc
def teo_update(drv: cpuidle_driver, dev: cpuidle_device, cpu_data: teo_cpu) -> None:
    """teo.c:172 (7.3)."""
    lat_ns = table(cpuidle_state, dev.last_state_idx).exit_latency_ns
    measured_ns = teo_measured_ns(cpu_data, dev)
    idx_timer = 0
    idx_duration = 0
    total = 0
    for i in range(drv.state_count):
        cpu_data.hits[i] = teo_decayed(cpu_data.hits[i])
        cpu_data.intercepts[i] = teo_decayed(cpu_data.intercepts[i])
        total += cpu_data.hits[i] + cpu_data.intercepts[i]
        target_residency_ns = table(cpuidle_state, i).target_residency_ns
        if target_residency_ns <= cpu_data.sleep_length_ns:
            idx_timer = i
            if target_residency_ns <= measured_ns:
                idx_duration = i
    cpu_data.total = total + PULSE
    cpu_data.tick_intercepts = teo_decayed(cpu_data.tick_intercepts)
    cpu_data.total_tick = teo_decayed(cpu_data.total_tick)
    if cpu_data.tick_wakeup and teo_tick_hit(drv, cpu_data, idx_timer, total):
        return
    if idx_timer == idx_duration and cpu_data.sleep_length_ns - measured_ns < lat_ns // 2:
        cpu_data.hits[idx_timer] += PULSE
    else:
        cpu_data.intercepts[idx_duration] += PULSE
        if measured_ns <= tick_nsec():
            cpu_data.tick_intercepts += PULSE


@hwfunc
def teo_fullest_bin(drv: cpuidle_driver, cpu_data: teo_cpu) -> int:
    """Of teo_select(): the bin with most early wakeups, the deepest of several, the last state's left out."""
    most = 0
    found = -1
    for i in range(1, drv.state_count):
        if cpu_data.intercepts[i - 1] >= most:
            most = cpu_data.intercepts[i - 1]
            found = i - 1
    return found


@hwfunc
def teo_alternative(cpu_data: teo_cpu, idx: int, intercept_max_idx: int) -> int:
    """Of teo_select(): the deepest enabled state, down to the fullest bin, that was not too deep in most early wakeups."""
    intercept_sum = 0
    i = idx
    while i > cpu_data.idx0:
        i -= 1
        intercept_sum += cpu_data.intercepts[i]
        if not table(cpuidle_state, i).disable:
            idx = i
            if 2 * intercept_sum > cpu_data.idx_intercept_sum and i <= intercept_max_idx:
                break
    return idx


@hwfunc
def teo_knows(drv: cpuidle_driver, cpu_data: teo_cpu, idx: int) -> bool:
    """Of teo_select(): the next timer need not be known."""
    if tick_nohz_tick_stopped() or (idx != 0 and table(cpuidle_state, idx).target_residency_ns >= RESIDENCY_THRESHOLD_NS):
        return False
    return bool(2 * cpu_data.short_idles >= cpu_data.total or cpuidle_governor_latency_req(drv) < LATENCY_THRESHOLD_NS)


@hwfunc
def teo_tick_expected(cpu_data: teo_cpu) -> bool:
    """Of teo_select(): most wakeups come before the tick."""
    return bool(3 * cpu_data.tick_intercepts >= 2 * cpu_data.total)


@hwfunc
def teo_deeper(cpu_data: teo_cpu, idx: int) -> int:
    """Of teo_select(), where the tick has stopped: the deepest state that the limit and the next timer allow, if it is deeper."""
    i = cpu_data.constraint_idx
    while i > idx:
        s = table(cpuidle_state, i)
        if not s.disable and s.target_residency_ns <= cpu_data.duration_ns:
            return i
        i -= 1
    return idx


@hwfunc
def teo_select(drv: cpuidle_driver, dev: cpuidle_device) -> int:
    """teo.c:308 (7.3)."""
    cpu_data = table(teo_cpu, raw_smp_processor_id())
    teo_begin(drv, dev, cpu_data)
    dev.delta_next = tick_nsec() // 2
    cpu_data.sleep_length_ns = KTIME_MAX
    intercept_max_idx = teo_fullest_bin(drv, cpu_data)
    idx = teo_candidate(drv, cpu_data, -1 if table(cpuidle_state, 0).disable else 0, cpuidle_governor_latency_req(drv))
    if idx < 0:
        return teo_retained(dev, 0)
    if idx == cpu_data.idx0:
        cpu_data.duration_ns = table(cpuidle_state, idx).target_residency_ns
        return teo_keep_tick(dev, cpu_data, idx)
    if 2 * cpu_data.idx_intercept_sum > cpu_data.total - cpu_data.idx_hit_sum:
        idx = teo_alternative(cpu_data, idx, intercept_max_idx)
    idx = min(idx, cpu_data.constraint_idx)
    if teo_knows(drv, cpu_data, idx):
        return teo_retained(dev, idx)
    teo_sleep_length(dev, cpu_data)
    if (
        tick_nohz_tick_stopped()
        and cpu_data.duration_ns > 2 * tick_nsec()
        and table(cpuidle_state, idx).target_residency_ns < tick_nsec()
    ):
        return teo_deeper(cpu_data, idx)
    if idx == 0:
        return teo_retained(dev, 0)
    return teo_fitted(dev, idx)


@hwfunc
def teo_reflect(dev: cpuidle_device, index: int) -> None:
    """teo.c:540 (7.3)."""
    cpu_data = table(teo_cpu, raw_smp_processor_id())
    cpu_data.tick_wakeup = tick_nohz_idle_got_tick()
    dev.last_state_idx = index
