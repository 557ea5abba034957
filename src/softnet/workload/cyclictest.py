# SPDX-License-Identifier: GPL-2.0-or-later
"""rt-tests' cyclictest: how late a task wakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.sched.core import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


class cyclic(Struct):
    """One task of it."""

    index: int = private()
    hist: int = private()
    interval_ns: int = private()
    work_ns: int = private()
    wakeups: int = private()


@kfunc(entry=True)
def cyclictest_thread(data: int) -> None:
    """clock_nanosleep(TIMER_ABSTIME), and how late that returned."""
    c = table(cyclic, data)
    next = ktime_get() + c.interval_ns
    while True:
        work("syscall")
        set_current_state(TASK_INTERRUPTIBLE)
        schedule_hrtimeout_abs(next)
        exit_to_user_mode()
        now = ktime_get()
        latency = now - next
        trace_cyclictest(c.index, latency)
        hist_add(c.hist, latency)
        c.wakeups += 1
        if c.work_ns:
            user_work_ns(c.work_ns)
        next += c.interval_ns
        while next <= ktime_get():
            next += c.interval_ns
