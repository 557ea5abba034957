# SPDX-License-Identifier: GPL-2.0-or-later
"""Senders and other tasks as they were recorded on a machine (``softnet.host.replay`` fills their tables)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, array, kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import table, work
    from softnet.linux.kernel.sched.core import (
        exit_to_user_mode,
        schedule_hrtimeout_abs,
        set_current_state,
        sleep_for_ever,
        user_work_ns,
    )
    from softnet.machine.state import TASK_INTERRUPTIBLE
    from softnet.machine.timers import ktime_get
    from softnet.workload.senders import sender_sendmsg

SENDS_MAX = 16384
BURSTS_MAX = 8192
SPIN_NS_MAX = 50_000
"""A sender that did not sleep before a packet computes until it is due; if that is further away than this, it sleeps."""


class sender(Struct, extends=True):
    """With its packets one after the other; a time ``due`` of 0 is behind the last."""

    due: int = array(SENDS_MAX)
    wake: int = array(SENDS_MAX)
    """When it was woken to send it; 0 where it did not sleep before."""
    work_before: int = array(SENDS_MAX)
    work_after: int = array(SENDS_MAX)
    bytes: int = array(SENDS_MAX)
    hashes: int = array(SENDS_MAX)


class hog(Struct, extends=True):
    """With what it computed: ``run`` ns from ``wake`` on; a run of 0 is behind the last."""

    wake: int = array(BURSTS_MAX)
    run: int = array(BURSTS_MAX)


@kfunc(entry=True)
def sender_thread(data: int) -> None:
    """Work and send as recorded: never earlier, later where this kernel lets it come to run later."""
    s = table(sender, data)
    at = 0
    while at < SENDS_MAX and s.due[at] != 0:
        if ktime_get() < s.wake[at]:
            set_current_state(TASK_INTERRUPTIBLE)
            schedule_hrtimeout_abs(s.wake[at])
        if s.work_before[at] > 0:
            user_work_ns(s.work_before[at])
        if ktime_get() < s.due[at]:
            left = s.due[at] - ktime_get()
            if s.wake[at] == 0 or left > SPIN_NS_MAX:
                set_current_state(TASK_INTERRUPTIBLE)
                schedule_hrtimeout_abs(s.due[at])
            else:
                user_work_ns(left)
        s.size = s.bytes[at]
        s.hash = s.hashes[at]
        sender_sendmsg(s)
        exit_to_user_mode()
        if s.work_after[at] > 0:
            user_work_ns(s.work_after[at])
        at += 1
    sleep_for_ever()


@kfunc(entry=True)
def hog_thread(data: int) -> None:
    """Compute as recorded."""
    h = table(hog, data)
    at = 0
    while at < BURSTS_MAX and h.run[at] != 0:
        if ktime_get() < h.wake[at]:
            set_current_state(TASK_INTERRUPTIBLE)
            schedule_hrtimeout_abs(h.wake[at])
        user_work_ns(h.run[at])
        work("syscall")
        exit_to_user_mode()
        at += 1
    sleep_for_ever()
