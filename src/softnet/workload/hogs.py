# SPDX-License-Identifier: GPL-2.0-or-later
"""Hogs: tasks that compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.kernel.sched.core import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


HOG_SLICE_NS = 1000000


class hog(Struct):
    """A task that computes for ``run_ns`` of each ``period_ns``."""

    run_ns: int = private()
    period_ns: int = private()


@kfunc(entry=True)
def hog_thread(data: int) -> None:
    """Compute; with a duty cycle, sleep for the rest of each period."""
    h = table(hog, data)
    if h.run_ns >= h.period_ns:
        while True:
            user_work_ns(HOG_SLICE_NS)
            exit_to_user_mode()
    next = ktime_get()
    while True:
        user_work_ns(h.run_ns)
        work("syscall")
        next += h.period_ns
        if next > ktime_get():
            set_current_state(TASK_INTERRUPTIBLE)
            schedule_hrtimeout_abs(next)
        exit_to_user_mode()
