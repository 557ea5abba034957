# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own work on a CPU that handles packets: mm/vmstat.c folds its counters, by a kworker, once a second.

For what it does to idleness: without it a CPU that only serves interrupts would never leave its idle loop, so that its tick stayed
stopped for ever, and governors choose otherwise where it has stopped. Linked only where a governor chooses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.linux.kernel.sched.core import schedule_hrtimeout_abs, set_current_state
    from softnet.machine.state import TASK_UNINTERRUPTIBLE

STAT_INTERVAL_NS = 1000000000
"""mm/vmstat.c:1952 (6.12): sysctl_stat_interval."""


@kfunc(entry=True)
def vmstat_worker(first_ns: int) -> None:
    """mm/vmstat.c:2005 (6.12), vmstat_update() as vmstat_shepherd() queues it: woken every second from ``first_ns`` on.

    It takes no time, and has a timer of its own on its CPU, where C has a deferrable one on some CPU.
    """
    at = first_ns
    while True:
        set_current_state(TASK_UNINTERRUPTIBLE)
        schedule_hrtimeout_abs(at)
        at += STAT_INTERVAL_NS
