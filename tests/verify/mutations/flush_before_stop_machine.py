# SPDX-License-Identifier: GPL-2.0-or-later
"""A CPU that goes down flushes its defer list before the others are stopped, so that they can still add to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import READ_ONCE, WRITE_ONCE, table, this_cpu_ptr
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.include.linux.preempt import local_bh_disable, local_bh_enable
    from softnet.linux.kernel.cpu import (
        cpu_stopper,
        hotplug_wait,
        stop_machine_begin,
        stop_machine_end,
        take_cpu_down,
    )
    from softnet.linux.kernel.sched.core import schedule, set_current_state
    from softnet.linux.patches.defer_lock_bh import skb_defer_free_flush
    from softnet.machine.hotplug import rq_has_pinned
    from softnet.machine.state import TASK_INTERRUPTIBLE


@kfunc
def cpu_stopper_thread(data: int) -> None:
    """kernel/stop_machine.c: migration/N, above every other task; ``data`` is its CPU."""
    stopper = table(cpu_stopper, data)
    while True:
        set_current_state(TASK_INTERRUPTIBLE)
        if READ_ONCE(stopper.work) == 0:
            schedule()
            continue
        set_current_state(0)
        # sched_cpu_wait_empty(): tasks that may not move must first leave their migrate_disable() sections.
        while rq_has_pinned(data):
            hotplug_wait()
        local_bh_disable()
        skb_defer_free_flush(this_cpu_ptr(softnet_data))
        local_bh_enable()
        stop_machine_begin()
        take_cpu_down()
        stop_machine_end()
        WRITE_ONCE(stopper.work, 0)
