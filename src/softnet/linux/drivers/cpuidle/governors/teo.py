# SPDX-License-Identifier: GPL-2.0-or-later
"""drivers/cpuidle/governors/teo.c (6.1): the next timer, unless wakeups of other kinds come before it more often than not.

For each state a bin counts wakeups that came when the timer said ("hits") and those that came earlier ("intercepts").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, array, hw, hwfunc
from softnet.lang.intrinsics import raw_smp_processor_id, table
from softnet.linux.include.linux.cpuidle import CPUIDLE_STATE_MAX

if TYPE_CHECKING:
    from softnet.linux.drivers.cpuidle.cpuidle import cpuidle_governor_latency_req
    from softnet.linux.include.linux.cpuidle import *
    from softnet.linux.kernel.time.tick_sched import *
    from softnet.machine.timers import local_clock, tick_nsec

PULSE = 1024
DECAY_SHIFT = 3
NR_RECENT = 9


class teo_cpu(Struct, per_cpu=True):
    """teo.c:143 (6.1), with struct teo_bin as arrays, and the sums that teo_select() makes."""

    time_span_ns: int = hw(statistic=True)
    sleep_length_ns: int = hw(statistic=True)
    intercepts: int = array(CPUIDLE_STATE_MAX, hw(statistic=True))
    hits: int = array(CPUIDLE_STATE_MAX, hw(statistic=True))
    recent: int = array(CPUIDLE_STATE_MAX, hw(statistic=True))
    total: int = hw(statistic=True)
    next_recent_idx: int = hw(statistic=True)
    recent_idx: int = array(NR_RECENT, hw(statistic=True, init=-1))
    duration_ns: int = hw(statistic=True)
    """A local of teo_select() that its parts share, as all below."""
    idx0: int = hw(statistic=True)
    constraint_idx: int = hw(statistic=True)
    idx_intercept_sum: int = hw(statistic=True)
    idx_hit_sum: int = hw(statistic=True)
    idx_recent_sum: int = hw(statistic=True)


@hwfunc
def teo_measured_ns(cpu_data: teo_cpu, dev: cpuidle_device) -> int:
    """Of teo_update(): how long the CPU was idle, or for ever if a timer or a safety net ended it."""
    if cpu_data.time_span_ns >= cpu_data.sleep_length_ns:
        return KTIME_MAX
    lat_ns = table(cpuidle_state, dev.last_state_idx).exit_latency_ns
    if dev.last_residency_ns >= lat_ns:
        return dev.last_residency_ns - lat_ns // 2
    return dev.last_residency_ns // 2


@hwfunc
def teo_update(drv: cpuidle_driver, dev: cpuidle_device, cpu_data: teo_cpu) -> None:
    """teo.c:160 (6.1)."""
    measured_ns = teo_measured_ns(cpu_data, dev)
    idx_timer = 0
    idx_duration = 0
    cpu_data.total = 0
    for i in range(drv.state_count):
        target_residency_ns = table(cpuidle_state, i).target_residency_ns
        cpu_data.hits[i] -= cpu_data.hits[i] >> DECAY_SHIFT
        cpu_data.intercepts[i] -= cpu_data.intercepts[i] >> DECAY_SHIFT
        cpu_data.total += cpu_data.hits[i] + cpu_data.intercepts[i]
        if target_residency_ns <= cpu_data.sleep_length_ns:
            idx_timer = i
            if target_residency_ns <= measured_ns:
                idx_duration = i
    at = cpu_data.next_recent_idx
    cpu_data.next_recent_idx += 1
    if cpu_data.next_recent_idx >= NR_RECENT:
        cpu_data.next_recent_idx = 0
    if cpu_data.recent_idx[at] >= 0:
        cpu_data.recent[cpu_data.recent_idx[at]] -= 1
    if idx_timer == idx_duration:
        cpu_data.hits[idx_timer] += PULSE
        cpu_data.recent_idx[at] = -1
    else:
        cpu_data.intercepts[idx_duration] += PULSE
        cpu_data.recent[idx_duration] += 1
        cpu_data.recent_idx[at] = idx_duration
    cpu_data.total += PULSE


@hwfunc
def teo_time_ok(interval_ns: int) -> bool:
    """teo.c:244 (6.1)."""
    return bool(not tick_nohz_tick_stopped() or interval_ns >= tick_nsec())


@hwfunc
def teo_middle_of_bin(idx: int) -> int:
    """teo.c:249 (6.1)."""
    return (table(cpuidle_state, idx).target_residency_ns + table(cpuidle_state, idx + 1).target_residency_ns) // 2


@hwfunc
def teo_find_shallower_state(state_idx: int, duration_ns: int) -> int:
    """teo.c:262 (6.1): the deepest state below this one that fits into the duration, else the first enabled one."""
    i = state_idx - 1
    while i >= 0:
        s = table(cpuidle_state, i)
        if not s.disable:
            state_idx = i
            if s.target_residency_ns <= duration_ns:
                break
        i -= 1
    return state_idx


@hwfunc
def teo_candidate(drv: cpuidle_driver, cpu_data: teo_cpu, idx: int, latency_req: int) -> int:
    """Of teo_select(): the deepest enabled state that fits before the next timer, and the sums of all bins below it."""
    intercept_sum = 0
    hit_sum = 0
    recent_sum = 0
    for i in range(1, drv.state_count):
        s = table(cpuidle_state, i)
        intercept_sum += cpu_data.intercepts[i - 1]
        hit_sum += cpu_data.hits[i - 1]
        recent_sum += cpu_data.recent[i - 1]
        if s.disable:
            continue
        if idx < 0:
            idx = i
            cpu_data.idx0 = i
        if s.target_residency_ns > cpu_data.duration_ns:
            break
        idx = i
        if s.exit_latency_ns <= latency_req:
            cpu_data.constraint_idx = i
        cpu_data.idx_intercept_sum = intercept_sum
        cpu_data.idx_hit_sum = hit_sum
        cpu_data.idx_recent_sum = recent_sum
    return idx


@hwfunc
def teo_alternative(cpu_data: teo_cpu, idx: int, alt_intercepts: bool, alt_recent: bool) -> int:
    """Of teo_select(): the deepest state that was not too deep in more than half of the wakeups that came early."""
    first_suitable_idx = idx
    first_suitable_span_ns = cpu_data.duration_ns
    intercept_sum = 0
    recent_sum = 0
    i = idx
    while i > 0:
        i -= 1
        s = table(cpuidle_state, i)
        intercept_sum += cpu_data.intercepts[i]
        recent_sum += cpu_data.recent[i]
        span_ns = teo_middle_of_bin(i)
        if (not alt_recent or 2 * recent_sum > cpu_data.idx_recent_sum) and (
            not alt_intercepts or 2 * intercept_sum > cpu_data.idx_intercept_sum
        ):
            if teo_time_ok(span_ns) and not s.disable:
                cpu_data.duration_ns = span_ns
                return i
            cpu_data.duration_ns = first_suitable_span_ns
            return first_suitable_idx
        if s.disable:
            continue
        if not teo_time_ok(span_ns):
            if first_suitable_idx != idx:
                continue
            break
        first_suitable_span_ns = span_ns
        first_suitable_idx = i
    return idx


@hwfunc
def teo_begin(drv: cpuidle_driver, dev: cpuidle_device, cpu_data: teo_cpu) -> None:
    """The beginning of teo_select(): what came of the last choice, and its locals."""
    if dev.last_state_idx >= 0:
        teo_update(drv, dev, cpu_data)
        dev.last_state_idx = -1
    cpu_data.time_span_ns = local_clock()
    cpu_data.idx0 = 0
    cpu_data.constraint_idx = 0
    cpu_data.idx_intercept_sum = 0
    cpu_data.idx_hit_sum = 0
    cpu_data.idx_recent_sum = 0


@hwfunc
def teo_select(drv: cpuidle_driver, dev: cpuidle_device) -> int:
    """teo.c:285 (6.1)."""
    cpu_data = table(teo_cpu, raw_smp_processor_id())
    latency_req = cpuidle_governor_latency_req(drv)
    teo_begin(drv, dev, cpu_data)
    cpu_data.duration_ns = tick_nohz_get_sleep_length(dev)
    cpu_data.sleep_length_ns = cpu_data.duration_ns
    if drv.state_count < 2:
        return teo_keep_tick(dev, cpu_data, 0)
    idx = -1
    if not table(cpuidle_state, 0).disable:
        idx = 0
        if table(cpuidle_state, 1).target_residency_ns > cpu_data.duration_ns:
            return teo_keep_tick(dev, cpu_data, 0)
    idx = teo_candidate(drv, cpu_data, idx, latency_req)
    if idx < 0:
        return teo_keep_tick(dev, cpu_data, 0)
    if idx == cpu_data.idx0:
        return teo_keep_tick(dev, cpu_data, idx)
    alt_intercepts = bool(2 * cpu_data.idx_intercept_sum > cpu_data.total - cpu_data.idx_hit_sum)
    alt_recent = bool(cpu_data.idx_recent_sum > NR_RECENT // 2)
    if alt_recent or alt_intercepts:
        idx = teo_alternative(cpu_data, idx, alt_intercepts, alt_recent)
    return teo_keep_tick(dev, cpu_data, min(idx, cpu_data.constraint_idx))


@hwfunc
def teo_keep_tick(dev: cpuidle_device, cpu_data: teo_cpu, idx: int) -> int:
    """The end of teo_select(): no tick stops for a polling state or a short idling, and a state must fit in before the tick."""
    s = table(cpuidle_state, idx)
    if (s.flags & CPUIDLE_FLAG_POLLING == 0 and cpu_data.duration_ns >= tick_nsec()) or tick_nohz_tick_stopped():
        return idx
    dev.stop_tick = False
    if idx > cpu_data.idx0 and s.target_residency_ns > dev.delta_next:
        return teo_find_shallower_state(idx, dev.delta_next)
    return idx


@hwfunc
def teo_reflect(dev: cpuidle_device, index: int) -> None:
    """teo.c:483 (6.1)."""
    cpu_data = table(teo_cpu, raw_smp_processor_id())
    dev.last_state_idx = index
    if dev.poll_time_limit or (tick_nohz_idle_got_tick() and cpu_data.sleep_length_ns > tick_nsec()):
        dev.poll_time_limit = False
        cpu_data.time_span_ns = cpu_data.sleep_length_ns
    else:
        cpu_data.time_span_ns = local_clock() - cpu_data.time_span_ns
