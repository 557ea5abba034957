# SPDX-License-Identifier: GPL-2.0-or-later
"""A sender that sends at given times: what a guest's sender did, done again by the model's (``softnet.lab.studies.replay``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, array, kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import table
    from softnet.linux.kernel.sched.core import exit_to_user_mode, schedule_hrtimeout_abs, set_current_state, sleep_for_ever
    from softnet.machine.state import TASK_INTERRUPTIBLE
    from softnet.machine.timers import ktime_get
    from softnet.workload.senders import sender_sendmsg

SENDS_MAX = 8192


class sender(Struct, extends=True):
    """With the times of its packets: of one after the other, 0 behind the last."""

    due: int = array(SENDS_MAX)


@kfunc
def sender_thread(data: int) -> None:
    """Send at each of the times; if it fell behind, at once, until it has caught up."""
    s = table(sender, data)
    at = 0
    while at < SENDS_MAX and s.due[at] != 0:
        if ktime_get() < s.due[at]:
            set_current_state(TASK_INTERRUPTIBLE)
            schedule_hrtimeout_abs(s.due[at])
        sender_sendmsg(s)
        exit_to_user_mode()
        at += 1
    sleep_for_ever()
