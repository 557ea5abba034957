# SPDX-License-Identifier: GPL-2.0-or-later
"""net: Remove conditional threaded-NAPI wakeup based on task state. The series, 1/4.

SCHED_THREADED is set whatever the thread's state, and it alone says that the thread owns the NAPI. Before, a sleeping
thread was only woken and took the wakeup for ownership, which smpboot threads could not do: they wake to park, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.sched.core import __set_current_state
    from softnet.linux.kernel.softirq import *
    from softnet.machine.state import *


PATCH = {
    "commit": "56364c910691",
    "subject": "net: Remove conditional threaded-NAPI wakeup based on task state.",
    "since": "6.10",
    "link": "https://lore.kernel.org/r/20240325074943.289909-2-bigeasy@linutronix.de",
}


@kfunc
def ____napi_schedule(sd: softnet_data, napi: napi_struct) -> None:
    """net/core/dev.c, interrupts off."""
    trace_napi_schedule(napi, smp_processor_id())
    if test_bit(NAPI_STATE_THREADED, napi.state):
        thread = READ_ONCE(napi.thread)
        if thread:
            set_bit(NAPI_STATE_SCHED_THREADED, napi.state)
            wake_up_process(thread)
            return

    list_add_tail(napi.poll_list, sd.poll_list)
    if not sd.in_net_rx_action:
        raise_softirq_irqoff(NET_RX_SOFTIRQ)


@kfunc
def napi_thread_wait(napi: napi_struct) -> int:
    """net/core/dev.c:7030 (6.12): sleep until SCHED_THREADED is set."""
    set_current_state(TASK_INTERRUPTIBLE)
    while True:
        if test_bit(NAPI_STATE_SCHED_THREADED, napi.state):
            WARN_ON_ONCE(not list_empty(napi.poll_list))
            __set_current_state(TASK_RUNNING)
            return 0
        schedule()
        set_current_state(TASK_INTERRUPTIBLE)
