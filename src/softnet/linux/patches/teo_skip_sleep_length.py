# SPDX-License-Identifier: GPL-2.0-or-later
"""cpuidle: teo: Skip tick_nohz_get_sleep_length() call in some cases.

The wakeups of the past are looked at first, from the deepest state down; the next timer is asked for only where they do not decide.
As 6.12.117 has it, with 21d28cd2fa5f (not upfront), 2662342079f5 (wakeups after a tick's length are counted) and 449914398083 (the
recent intercepts go); 6.6 to 6.10 have 6.1's text here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, hw, hwfunc
from softnet.lang.intrinsics import raw_smp_processor_id, table

if TYPE_CHECKING:
    from softnet.linux.drivers.cpuidle.cpuidle import cpuidle_governor_latency_req
    from softnet.linux.drivers.cpuidle.governors.teo import (
        DECAY_SHIFT,
        PULSE,
        teo_begin,
        teo_find_shallower_state,
        teo_keep_tick,
        teo_measured_ns,
    )
    from softnet.linux.include.linux.cpuidle import *
    from softnet.linux.kernel.time.tick_sched import *
    from softnet.linux.patches.menu_skip_sleep_length import RESIDENCY_THRESHOLD_NS
    from softnet.machine.timers import tick_nsec


PATCH = {
    "commit": "6da8f9ba5a87",
    "subject": "cpuidle: teo: Skip tick_nohz_get_sleep_length() call in some cases",
    "since": "6.6",
    "link": "https://git.kernel.org/linus/6da8f9ba5a87",
    "config": "CONFIG_CPU_IDLE",
}


class teo_cpu(Struct, extends=True):
    """teo.c:131 (6.12)."""

    tick_hits: int = hw(statistic=True)
    intercept_sum: int = hw(statistic=True)
    """A local of teo_select() that its parts share: of all bins but the deepest."""


@hwfunc
def teo_update(drv: cpuidle_driver, dev: cpuidle_device, cpu_data: teo_cpu) -> None:
    """teo.c:148 (6.12)."""
    measured_ns = teo_measured_ns(table(teo_cpu, raw_smp_processor_id()), dev)
    idx_timer = 0
    idx_duration = 0
    target_residency_ns = 0
    cpu_data.total = 0
    for i in range(drv.state_count):
        cpu_data.hits[i] -= cpu_data.hits[i] >> DECAY_SHIFT
        cpu_data.intercepts[i] -= cpu_data.intercepts[i] >> DECAY_SHIFT
        cpu_data.total += cpu_data.hits[i] + cpu_data.intercepts[i]
        target_residency_ns = table(cpuidle_state, i).target_residency_ns
        if target_residency_ns <= cpu_data.sleep_length_ns:
            idx_timer = i
            if target_residency_ns <= measured_ns:
                idx_duration = i
    after_tick = False
    if target_residency_ns < tick_nsec():
        cpu_data.tick_hits -= cpu_data.tick_hits >> DECAY_SHIFT
        cpu_data.total += cpu_data.tick_hits
        if tick_nsec() <= cpu_data.sleep_length_ns:
            idx_timer = drv.state_count
            after_tick = bool(tick_nsec() <= measured_ns)
    if after_tick:
        cpu_data.tick_hits += PULSE
    elif idx_timer == idx_duration:
        cpu_data.hits[idx_timer] += PULSE
    else:
        cpu_data.intercepts[idx_duration] += PULSE
    cpu_data.total += PULSE


@hwfunc
def teo_state_ok(i: int) -> bool:
    """teo.c:244 (6.12)."""
    return bool(not tick_nohz_tick_stopped() or table(cpuidle_state, i).target_residency_ns >= tick_nsec())


@hwfunc
def teo_candidate(drv: cpuidle_driver, cpu_data: teo_cpu, idx: int, latency_req: int) -> int:
    """Of teo_select(): the deepest enabled state, and the sums of all bins below it."""
    intercept_sum = 0
    hit_sum = 0
    for i in range(1, drv.state_count):
        s = table(cpuidle_state, i)
        intercept_sum += cpu_data.intercepts[i - 1]
        hit_sum += cpu_data.hits[i - 1]
        if s.disable:
            continue
        if idx < 0:
            cpu_data.idx0 = i
        idx = i
        if s.exit_latency_ns <= latency_req:
            cpu_data.constraint_idx = i
        cpu_data.idx_intercept_sum = intercept_sum
        cpu_data.idx_hit_sum = hit_sum
    cpu_data.intercept_sum = intercept_sum
    return idx


@hwfunc
def teo_alternative(cpu_data: teo_cpu, idx: int) -> int:
    """Of teo_select(): the deepest state that was not too deep in more than half of the wakeups that came early."""
    first_suitable_idx = idx
    intercept_sum = 0
    i = idx
    while i > 0:
        i -= 1
        s = table(cpuidle_state, i)
        intercept_sum += cpu_data.intercepts[i]
        if 2 * intercept_sum > cpu_data.idx_intercept_sum:
            if teo_state_ok(i) and not s.disable:
                return i
            return first_suitable_idx
        if s.disable:
            continue
        if not teo_state_ok(i):
            if first_suitable_idx != idx:
                continue
            break
        first_suitable_idx = i
    return idx


@hwfunc
def teo_sleep_length(dev: cpuidle_device, cpu_data: teo_cpu) -> None:
    """Ask for the next timer."""
    cpu_data.duration_ns = tick_nohz_get_sleep_length(dev)
    cpu_data.sleep_length_ns = cpu_data.duration_ns


@hwfunc
def teo_retained(dev: cpuidle_device, idx: int) -> int:
    """out_tick of teo_select()."""
    dev.stop_tick = False
    return idx


@hwfunc
def teo_select(drv: cpuidle_driver, dev: cpuidle_device) -> int:
    """teo.c:282 (6.12)."""
    cpu_data = table(teo_cpu, raw_smp_processor_id())
    latency_req = cpuidle_governor_latency_req(drv)
    teo_begin(drv, dev, cpu_data)
    dev.delta_next = tick_nsec() // 2
    cpu_data.sleep_length_ns = KTIME_MAX
    if drv.state_count < 2:
        return teo_retained(dev, 0)
    first = table(cpuidle_state, 0)
    idx = teo_candidate(drv, cpu_data, -1 if first.disable else 0, latency_req)
    if idx < 0:
        return teo_retained(dev, 0)
    if idx == cpu_data.idx0:
        cpu_data.duration_ns = table(cpuidle_state, idx).target_residency_ns
        return teo_keep_tick(dev, cpu_data, idx)
    tick_intercept_sum = cpu_data.intercept_sum + cpu_data.intercepts[drv.state_count - 1]
    if 2 * cpu_data.idx_intercept_sum > cpu_data.total - cpu_data.idx_hit_sum:
        idx = teo_alternative(cpu_data, idx)
    if idx == 0:
        teo_sleep_length(dev, cpu_data)
        return teo_retained(dev, 0)
    idx = min(idx, cpu_data.constraint_idx)
    if idx == 0:
        return teo_retained(dev, 0)
    if first.flags & CPUIDLE_FLAG_POLLING and table(cpuidle_state, idx).target_residency_ns < RESIDENCY_THRESHOLD_NS:
        return teo_retained(dev, idx)
    teo_sleep_length(dev, cpu_data)
    if table(cpuidle_state, idx).target_residency_ns > cpu_data.duration_ns:
        idx = teo_find_shallower_state(idx, cpu_data.duration_ns)
    if (
        table(cpuidle_state, idx).target_residency_ns < tick_nsec()
        and tick_intercept_sum > cpu_data.total // 2 + cpu_data.total // 8
    ):
        cpu_data.duration_ns = tick_nsec() // 2
    return teo_keep_tick(dev, cpu_data, idx)
