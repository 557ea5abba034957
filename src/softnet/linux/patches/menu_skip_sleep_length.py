# SPDX-License-Identifier: GPL-2.0-or-later
"""cpuidle: menu: Skip tick_nohz_get_sleep_length() call in some cases.

The last intervals are looked at first: while they say that the CPU will be busy again within 15 us, nobody asks for the next timer.
As 6.12.117 has it, with 38f83090f515 (the number of waiters for I/O counts no more, and the prediction is no latency limit) and
db86f55bf81a (a physical state for the polling one in some more cases); 6.6 to 6.10 have 6.1's text here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import raw_smp_processor_id, table

if TYPE_CHECKING:
    from softnet.linux.drivers.cpuidle.cpuidle import cpuidle_governor_latency_req
    from softnet.linux.drivers.cpuidle.governors.menu import (
        BUCKETS,
        INTERVALS,
        menu_device,
        menu_keep_tick,
        menu_no_choice,
        menu_record,
        menu_timer_us,
        menu_variance,
        which_bucket,
    )
    from softnet.linux.include.linux.cpuidle import *
    from softnet.linux.kernel.time.tick_sched import *
    from softnet.machine.timers import tick_nsec


PATCH = {
    "commit": "5484e31bbbff",
    "subject": "cpuidle: menu: Skip tick_nohz_get_sleep_length() call in some cases",
    "since": "6.6",
    "link": "https://lore.kernel.org/r/12275372.O9o76ZdvQC@kreacher",
    "config": "CONFIG_CPU_IDLE",
}

RESIDENCY_THRESHOLD_NS = 15000
"""drivers/cpuidle/governors/gov.h (6.12)."""


@hwfunc
def get_typical_interval(data: menu_device) -> int:
    """menu.c:125 (6.12): as before, whatever the next timer says."""
    thresh = INT_MAX
    while True:
        most = 0
        sum = 0
        divisor = 0
        for i in range(INTERVALS):
            value = data.intervals[i]
            if value <= thresh:
                sum += value
                divisor += 1
                most = max(most, value)
        if most == 0:
            return UINT_MAX
        avg = sum // divisor
        variance = menu_variance(data, thresh, avg) // divisor
        if (avg * avg > variance * 36 and divisor * 4 >= INTERVALS * 3) or variance <= 400:
            return avg
        if divisor * 4 <= INTERVALS * 3:
            return UINT_MAX
        thresh = most - 1


@hwfunc
def menu_stopped_ns(data: menu_device, predicted_ns: int) -> int:
    """Of menu_select(): a CPU whose tick has stopped may stay in a shallow state for long: rather the timer than a guess."""
    if tick_nohz_tick_stopped() and predicted_ns < tick_nsec():
        return data.next_timer_ns
    return predicted_ns


@hwfunc
def menu_predict(dev: cpuidle_device, data: menu_device) -> int:
    """Of menu_select(): how long the CPU will idle, in ns."""
    predicted_ns = get_typical_interval(data) * NSEC_PER_USEC
    if predicted_ns > RESIDENCY_THRESHOLD_NS or tick_nohz_tick_stopped():
        data.next_timer_ns = tick_nohz_get_sleep_length(dev)
        data.bucket = which_bucket(data.next_timer_ns)
        predicted_ns = min(menu_timer_us(data) * NSEC_PER_USEC, predicted_ns)
        return menu_stopped_ns(data, predicted_ns)
    data.next_timer_ns = KTIME_MAX
    dev.delta_next = tick_nsec() // 2
    data.bucket = BUCKETS - 1
    return predicted_ns


@hwfunc
def menu_select(drv: cpuidle_driver, dev: cpuidle_device) -> int:
    """menu.c:224 (6.12)."""
    data = table(menu_device, raw_smp_processor_id())
    latency_req = cpuidle_governor_latency_req(drv)
    menu_record(dev, data)
    predicted_ns = menu_predict(dev, data)
    if menu_no_choice(drv, dev, data, latency_req):
        return 0
    idx = -1
    for i in range(drv.state_count):
        s = table(cpuidle_state, i)
        if s.disable:
            continue
        if idx == -1:
            idx = i
        if s.exit_latency_ns > latency_req:
            break
        if s.target_residency_ns <= predicted_ns:
            idx = i
            continue
        chosen = table(cpuidle_state, idx)
        if (
            chosen.flags & CPUIDLE_FLAG_POLLING
            and s.target_residency_ns < RESIDENCY_THRESHOLD_NS
            and s.target_residency_ns <= data.next_timer_ns
            and s.exit_latency_ns <= predicted_ns
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
    return menu_keep_tick(dev, max(idx, 0), predicted_ns)
