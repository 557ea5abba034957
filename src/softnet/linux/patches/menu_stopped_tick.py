# SPDX-License-Identifier: GPL-2.0-or-later
"""cpuidle: governors: menu: Refine stopped tick handling.

Where the tick has stopped, a short guess is believed if a timer comes within two ticks: it ends a shallow state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc

if TYPE_CHECKING:
    from softnet.linux.drivers.cpuidle.governors.menu import menu_device
    from softnet.linux.kernel.time.tick_sched import *
    from softnet.machine.timers import tick_nsec


PATCH = {
    "commit": "e57c2bf2e89d",
    "subject": "cpuidle: governors: menu: Refine stopped tick handling",
    "since": "7.1",
    "link": "https://lore.kernel.org/r/3341782.5fSG56mABF@rafael.j.wysocki",
    "config": "CONFIG_CPU_IDLE",
}


@hwfunc
def menu_stopped_ns(data: menu_device, predicted_ns: int) -> int:
    """Of menu_select(), menu.c:218 (7.3), with SAFE_TIMER_RANGE_NS of gov.h."""
    if tick_nohz_tick_stopped() and predicted_ns < tick_nsec() and data.next_timer_ns > 2 * tick_nsec():
        return data.next_timer_ns
    return predicted_ns
