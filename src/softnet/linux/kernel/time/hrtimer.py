# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/time/hrtimer.c: the timer interrupt runs what is due, in hard interrupt context on both flavours.

Timers that PREEMPT_RT moves to softirq context (HRTIMER_MODE_SOFT) are not modelled: napi's and the sleepers' here are the
hard ones of HRTIMER_MODE_*_HARD or run as such; the difference is stated in docs/kernel.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.sched.core import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


@kfunc
def hrtimer_interrupt() -> None:
    """kernel/time/hrtimer.c hrtimer_interrupt(), with the tick's share at its end."""
    while timer := hrtimer_take_expired():
        trace_hrtimer_expire_entry()
        timer.function(timer)
    tick_and_reprogram()


@kfunc
def hrtimer_wakeup(timer: hrtimer) -> None:
    """kernel/time/hrtimer.c: the timer of a sleeping task; ``data`` is its pid, which is its index + 1."""
    p: task_struct = table(task_struct, timer.data - 1)
    wake_up_process(p)
