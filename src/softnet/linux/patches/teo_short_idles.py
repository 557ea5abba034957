# SPDX-License-Identifier: GPL-2.0-or-later
"""cpuidle: teo: Skip getting the sleep length if wakeups are very frequent.

Whether most idle periods end within 15 us says whether the next timer is asked for, and not the state that was chosen. As 6.18.15
has it, with ddcfa7964677 (the total decays by itself), d619b5cc6780 (early wakeups are counted for the tick), 65e18e654475 (no
look at the time between choice and wakeup) and 16c8d7586c19 (nor at the timer under a tight latency limit).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, hw, hwfunc
from softnet.lang.intrinsics import raw_smp_processor_id, table

if TYPE_CHECKING:
    from softnet.linux.drivers.cpuidle.cpuidle import cpuidle_governor_latency_req
    from softnet.linux.drivers.cpuidle.governors.teo import DECAY_SHIFT, PULSE, teo_begin, teo_find_shallower_state, teo_keep_tick
    from softnet.linux.include.linux.cpuidle import *
    from softnet.linux.kernel.time.tick_sched import *
    from softnet.linux.patches.menu_skip_sleep_length import RESIDENCY_THRESHOLD_NS
    from softnet.linux.patches.teo_skip_sleep_length import (
        teo_alternative,
        teo_candidate,
        teo_retained,
        teo_sleep_length,
    )
    from softnet.machine.timers import tick_nsec


PATCH = {
    "commit": "13ed5c4a6d9c",
    "subject": "cpuidle: teo: Skip getting the sleep length if wakeups are very frequent",
    "since": "6.14",
    "link": "https://git.kernel.org/linus/13ed5c4a6d9c",
    "config": "CONFIG_CPU_IDLE",
}

LATENCY_THRESHOLD_NS = 7500
"""RESIDENCY_THRESHOLD_NS / 2."""


class teo_cpu(Struct, extends=True):
    """teo.c:139 (6.18)."""

    tick_intercepts: int = hw(statistic=True)
    short_idles: int = hw(statistic=True)
    artificial_wakeup: bool = hw(statistic=True)


@hwfunc
def teo_counted_ns(dev: cpuidle_device) -> int:
    """Of teo_update(): how long the CPU was idle, half of the way out taken off; short ones are counted."""
    cpu_data = table(teo_cpu, raw_smp_processor_id())
    lat_ns = table(cpuidle_state, dev.last_state_idx).exit_latency_ns
    if dev.last_residency_ns < lat_ns:
        cpu_data.short_idles += PULSE
        return dev.last_residency_ns // 2
    measured_ns = dev.last_residency_ns - lat_ns // 2
    if measured_ns < RESIDENCY_THRESHOLD_NS:
        cpu_data.short_idles += PULSE
    return measured_ns


@hwfunc
def teo_measured_ns(cpu_data: teo_cpu, dev: cpuidle_device) -> int:
    """Of teo_update(), teo.c:156 (6.18)."""
    cpu_data.short_idles -= cpu_data.short_idles >> DECAY_SHIFT
    if cpu_data.artificial_wakeup:
        return KTIME_MAX
    return teo_counted_ns(dev)


@hwfunc
def teo_update(drv: cpuidle_driver, dev: cpuidle_device, cpu_data: teo_cpu) -> None:
    """teo.c:156 (6.18). It counts what came after a tick's length, where the name says before; mended in 6.19 (50db438231dc)."""
    measured_ns = teo_measured_ns(cpu_data, dev)
    idx_timer = 0
    idx_duration = 0
    for i in range(drv.state_count):
        cpu_data.hits[i] -= cpu_data.hits[i] >> DECAY_SHIFT
        cpu_data.intercepts[i] -= cpu_data.intercepts[i] >> DECAY_SHIFT
        target_residency_ns = table(cpuidle_state, i).target_residency_ns
        if target_residency_ns <= cpu_data.sleep_length_ns:
            idx_timer = i
            if target_residency_ns <= measured_ns:
                idx_duration = i
    cpu_data.tick_intercepts -= cpu_data.tick_intercepts >> DECAY_SHIFT
    if idx_timer == idx_duration:
        cpu_data.hits[idx_timer] += PULSE
    else:
        cpu_data.intercepts[idx_duration] += PULSE
        if tick_nsec() <= measured_ns:
            cpu_data.tick_intercepts += PULSE
    cpu_data.total -= cpu_data.total >> DECAY_SHIFT
    cpu_data.total += PULSE


@hwfunc
def teo_knows(drv: cpuidle_driver, cpu_data: teo_cpu, idx: int) -> bool:
    """Of teo_select(): the next timer need not be known."""
    if idx != 0 and table(cpuidle_state, idx).target_residency_ns >= RESIDENCY_THRESHOLD_NS:
        return False
    return bool(2 * cpu_data.short_idles >= cpu_data.total or cpuidle_governor_latency_req(drv) < LATENCY_THRESHOLD_NS)


@hwfunc
def teo_tick_expected(cpu_data: teo_cpu) -> bool:
    """Of teo_select(): most wakeups come before the tick."""
    return bool(cpu_data.tick_intercepts > cpu_data.total // 2 + cpu_data.total // 8)


@hwfunc
def teo_select(drv: cpuidle_driver, dev: cpuidle_device) -> int:
    """teo.c:268 (6.18)."""
    cpu_data = table(teo_cpu, raw_smp_processor_id())
    teo_begin(drv, dev, cpu_data)
    dev.delta_next = tick_nsec() // 2
    cpu_data.sleep_length_ns = KTIME_MAX
    if drv.state_count < 2:
        return teo_retained(dev, 0)
    idx = teo_candidate(drv, cpu_data, -1 if table(cpuidle_state, 0).disable else 0, cpuidle_governor_latency_req(drv))
    if idx < 0:
        return teo_retained(dev, 0)
    if idx == cpu_data.idx0:
        cpu_data.duration_ns = table(cpuidle_state, idx).target_residency_ns
        return teo_keep_tick(dev, cpu_data, idx)
    if 2 * cpu_data.idx_intercept_sum > cpu_data.total - cpu_data.idx_hit_sum:
        idx = teo_alternative(cpu_data, idx)
    idx = min(idx, cpu_data.constraint_idx)
    if teo_knows(drv, cpu_data, idx):
        return teo_retained(dev, idx)
    teo_sleep_length(dev, cpu_data)
    if idx == 0:
        return teo_retained(dev, 0)
    return teo_fitted(dev, idx)


@hwfunc
def teo_fitted(dev: cpuidle_device, idx: int) -> int:
    """The last part of teo_select(): the state fits in before the next timer."""
    cpu_data = table(teo_cpu, raw_smp_processor_id())
    if table(cpuidle_state, idx).target_residency_ns > cpu_data.duration_ns:
        idx = teo_find_shallower_state(idx, cpu_data.duration_ns)
    if table(cpuidle_state, idx).target_residency_ns < tick_nsec() and teo_tick_expected(cpu_data):
        cpu_data.duration_ns = tick_nsec() // 2
    return teo_keep_tick(dev, cpu_data, idx)


@hwfunc
def teo_reflect(dev: cpuidle_device, index: int) -> None:
    """teo.c:502 (6.18)."""
    cpu_data = table(teo_cpu, raw_smp_processor_id())
    dev.last_state_idx = index
    if dev.poll_time_limit or (tick_nohz_idle_got_tick() and cpu_data.sleep_length_ns > tick_nsec()):
        dev.poll_time_limit = False
        cpu_data.artificial_wakeup = True
    else:
        cpu_data.artificial_wakeup = False
