# SPDX-License-Identifier: GPL-2.0-or-later
"""drivers/cpuidle/governors/menu.c (6.1): the next timer, as the past corrects such forecasts; and the last 8 intervals.

nr_iowait_cpu() is 0 here: nobody waits for a disk. So half of the correction factors are never used and performance_multiplier()
is 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, array, hw, hwfunc
from softnet.lang.intrinsics import raw_smp_processor_id, table

if TYPE_CHECKING:
    from softnet.linux.drivers.cpuidle.cpuidle import cpuidle_governor_latency_req
    from softnet.linux.include.linux.cpuidle import *
    from softnet.linux.kernel.time.tick_sched import *
    from softnet.machine.timers import tick_nsec

BUCKETS = 6
INTERVAL_SHIFT = 3
INTERVALS = 8
RESOLUTION = 1024
DECAY = 8
MAX_INTERESTING = 50000000


class menu_device(Struct, per_cpu=True):
    """menu.c:108 (6.1)."""

    needs_update: bool = hw(statistic=True)
    tick_wakeup: bool = hw(statistic=True)
    next_timer_ns: int = hw(statistic=True)
    bucket: int = hw(statistic=True)
    correction_factor: int = array(BUCKETS, hw(statistic=True, init=RESOLUTION * DECAY))
    """By the magnitude of the time to the next timer: how much of it idling lasted, times 8192."""
    intervals: int = array(INTERVALS, hw(statistic=True))
    """The last idle durations, in us."""
    interval_ptr: int = hw(statistic=True)


@hwfunc
def which_bucket(duration_ns: int) -> int:
    """menu.c:120 (6.1)."""
    if duration_ns < 10000:
        return 0
    if duration_ns < 100000:
        return 1
    if duration_ns < 1000000:
        return 2
    if duration_ns < 10000000:
        return 3
    if duration_ns < 100000000:
        return 4
    return 5


@hwfunc
def menu_update_intervals(data: menu_device, interval_us: int) -> None:
    """menu.c:161 (6.1)."""
    data.intervals[data.interval_ptr] = interval_us
    data.interval_ptr += 1
    if data.interval_ptr >= INTERVALS:
        data.interval_ptr = 0


@hwfunc
def menu_variance(data: menu_device, thresh: int, avg: int) -> int:
    """Of get_typical_interval(): the squares of how far the intervals up to a length are from their average."""
    sum = 0
    for i in range(INTERVALS):
        value = data.intervals[i]
        if value <= thresh:
            sum += (value - avg) * (value - avg)
    return sum


@hwfunc
def get_typical_interval(data: menu_device, predicted_us: int) -> int:
    """menu.c:177 (6.1): the average of the last 8 intervals, in us, if they are alike, up to two long ones left out."""
    thresh = INT_MAX
    while True:
        least = UINT_MAX
        most = 0
        sum = 0
        divisor = 0
        for i in range(INTERVALS):
            value = data.intervals[i]
            if value <= thresh:
                sum += value
                divisor += 1
                most = max(most, value)
                least = min(least, value)
        if least >= predicted_us:
            return UINT_MAX
        avg = sum // divisor
        variance = menu_variance(data, thresh, avg) // divisor
        if (avg * avg > variance * 36 and divisor * 4 >= INTERVALS * 3) or variance <= 400:
            return avg
        if divisor * 4 <= INTERVALS * 3:
            return UINT_MAX
        thresh = most - 1


@hwfunc
def menu_timer_us(data: menu_device) -> int:
    """Of menu_select(): the time to the next timer by its bucket's correction factor, in us, rounded."""
    return (data.next_timer_ns * data.correction_factor[data.bucket] + RESOLUTION * DECAY * 500) // (RESOLUTION * DECAY * 1000)


@hwfunc
def menu_record(dev: cpuidle_device, data: menu_device) -> None:
    """The beginning of menu_select(): what came of the last choice."""
    if data.needs_update:
        menu_update(dev, data)
        data.needs_update = False
    elif dev.last_residency_ns == 0:
        menu_update_intervals(data, UINT_MAX)


@hwfunc
def menu_select(drv: cpuidle_driver, dev: cpuidle_device) -> int:
    """menu.c:281 (6.1): the deepest state that fits into the prediction and the latency limit."""
    data = table(menu_device, raw_smp_processor_id())
    latency_req = cpuidle_governor_latency_req(drv)
    menu_record(dev, data)
    data.next_timer_ns = tick_nohz_get_sleep_length(dev)
    data.bucket = which_bucket(data.next_timer_ns)
    if menu_no_choice(drv, dev, data, latency_req):
        return 0
    predicted_us = menu_timer_us(data)
    predicted_ns = min(predicted_us, get_typical_interval(data, predicted_us)) * NSEC_PER_USEC
    if tick_nohz_tick_stopped():
        if predicted_ns < tick_nsec():
            predicted_ns = data.next_timer_ns
    else:
        latency_req = min(latency_req, predicted_ns)
    idx = -1
    for i in range(drv.state_count):
        s = table(cpuidle_state, i)
        if s.disable:
            continue
        if idx == -1:
            idx = i
        if s.target_residency_ns > predicted_ns:
            chosen = table(cpuidle_state, idx)
            if (
                chosen.flags & CPUIDLE_FLAG_POLLING
                and s.exit_latency_ns <= latency_req
                and s.target_residency_ns <= data.next_timer_ns
            ):
                predicted_ns = s.target_residency_ns
                idx = i
                break
            if predicted_ns < tick_nsec():
                break
            if not tick_nohz_tick_stopped():
                predicted_ns = chosen.target_residency_ns
                break
            if chosen.target_residency_ns < tick_nsec() and s.target_residency_ns <= dev.delta_next:
                idx = i
            return idx
        if s.exit_latency_ns > latency_req:
            break
        idx = i
    return menu_keep_tick(dev, max(idx, 0), predicted_ns)


@hwfunc
def menu_no_choice(drv: cpuidle_driver, dev: cpuidle_device, data: menu_device, latency_req: int) -> bool:
    """Of menu_select(): state 0 it is, no matter what else; the tick goes on if it polls."""
    first = table(cpuidle_state, 0)
    if drv.state_count > 1 and latency_req != 0:
        second = table(cpuidle_state, 1)
        if data.next_timer_ns >= second.target_residency_ns and latency_req >= second.exit_latency_ns:
            return False
        if first.disable:
            return False
    dev.stop_tick = bool(first.flags & CPUIDLE_FLAG_POLLING == 0)
    return True


@hwfunc
def menu_keep_tick(dev: cpuidle_device, idx: int, predicted_ns: int) -> int:
    """The end of menu_select(): no tick stops for a polling state or a short idling, and a state must fit in before the tick."""
    s = table(cpuidle_state, idx)
    if (s.flags & CPUIDLE_FLAG_POLLING == 0 and predicted_ns >= tick_nsec()) or tick_nohz_tick_stopped():
        return idx
    dev.stop_tick = False
    if idx > 0 and s.target_residency_ns > dev.delta_next:
        i = idx - 1
        while i >= 0:
            if not table(cpuidle_state, i).disable:
                idx = i
                if table(cpuidle_state, i).target_residency_ns <= dev.delta_next:
                    break
            i -= 1
    return idx


@hwfunc
def menu_reflect(dev: cpuidle_device, index: int) -> None:
    """menu.c:460 (6.1)."""
    data = table(menu_device, raw_smp_processor_id())
    dev.last_state_idx = index
    data.needs_update = True
    data.tick_wakeup = tick_nohz_idle_got_tick()


@hwfunc
def menu_update(dev: cpuidle_device, data: menu_device) -> None:
    """menu.c:474 (6.1): how long the CPU was idle, into its bucket's factor and the intervals."""
    target = table(cpuidle_state, dev.last_state_idx)
    if data.tick_wakeup and data.next_timer_ns > tick_nsec():
        measured_ns = 9 * MAX_INTERESTING // 10
    elif target.flags & CPUIDLE_FLAG_POLLING and dev.poll_time_limit:
        measured_ns = data.next_timer_ns
    else:
        measured_ns = dev.last_residency_ns
        if measured_ns > 2 * target.exit_latency_ns:
            measured_ns -= target.exit_latency_ns
        else:
            measured_ns = measured_ns // 2
    measured_ns = min(measured_ns, data.next_timer_ns)
    new_factor = data.correction_factor[data.bucket]
    new_factor -= new_factor // DECAY
    if data.next_timer_ns > 0 and measured_ns < MAX_INTERESTING:
        new_factor += RESOLUTION * measured_ns // data.next_timer_ns
    else:
        new_factor += RESOLUTION
    data.correction_factor[data.bucket] = new_factor
    menu_update_intervals(data, measured_ns // NSEC_PER_USEC)
