# SPDX-License-Identifier: GPL-2.0-or-later
"""cpuidle: menu: Avoid discarding useful information.

Short intervals are left out of the last eight as long ones are, whichever is farther from the average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc

if TYPE_CHECKING:
    from softnet.linux.drivers.cpuidle.governors.menu import INTERVALS, menu_device
    from softnet.linux.include.linux.cpuidle import *


PATCH = {
    "commit": "85975daeaa4d",
    "subject": "cpuidle: menu: Avoid discarding useful information",
    "since": "6.16",
    "link": "https://git.kernel.org/linus/85975daeaa4d",
    "config": "CONFIG_CPU_IDLE",
}


@hwfunc
def get_typical_interval(data: menu_device) -> int:
    """menu.c:116 (6.18)."""
    min_thresh = -1
    max_thresh = UINT_MAX
    while True:
        most = 0
        least = UINT_MAX
        avg = 0
        variance = 0
        divisor = 0
        for i in range(INTERVALS):
            value = data.intervals[i]
            if value > min_thresh and value < max_thresh:
                divisor += 1
                avg += value
                variance += value * value
                most = max(most, value)
                least = min(least, value)
        if most == 0:
            return UINT_MAX
        avg = avg // divisor
        variance = variance // divisor - avg * avg
        if (avg * avg > variance * 36 and divisor * 4 >= INTERVALS * 3) or variance <= 400:
            return avg
        if divisor * 4 <= INTERVALS * 3:
            return UINT_MAX
        if avg - least > most - avg:
            min_thresh = least
        else:
            max_thresh = most
