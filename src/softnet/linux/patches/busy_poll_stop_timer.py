# SPDX-License-Identifier: GPL-2.0-or-later
"""net: napi: Avoid gro timer misfiring at end of busypoll.

A task that preferred to poll and stops gives the NAPI up before it arms the timer, and polls no more. Before, the timer was armed
first: if it fired during the last poll and that poll used its whole budget, nobody ever polled the card again. The commit arms the
timer behind the poll; 7.2.12 and 7.3.4 have a later one, too, which leaves the poll out, as it is here; its commit is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.net.core.dev import __napi_schedule
    from softnet.linux.net.core.gro import gro_normal_list, napi_gro_flush
    from softnet.machine.timers import *


PATCH = {
    "commit": "58e2330bd455",
    "subject": "net: napi: Avoid gro timer misfiring at end of busypoll",
    "since": "7.1",
    "link": "https://patch.msgid.link/20260506090808.820559-2-dtatulea@nvidia.com",
}


@kfunc
def busy_poll_stop(napi: napi_struct, prefer_busy_poll: bool, budget: int) -> None:
    """net/core/dev.c (7.3)."""
    timeout = 0
    clear_bit(NAPI_STATE_MISSED, napi.state)
    clear_bit(NAPI_STATE_IN_BUSY_POLL, napi.state)

    local_bh_disable()
    if prefer_busy_poll:
        napi.defer_hard_irqs_count = READ_ONCE(napi.dev.napi_defer_hard_irqs)
        if napi.defer_hard_irqs_count:
            timeout = READ_ONCE(napi.dev.gro_flush_timeout)
    if timeout:
        if napi.gro_bitmask:
            napi_gro_flush(napi, HZ >= 1000)
        gro_normal_list(napi)
        clear_bit(NAPI_STATE_SCHED, napi.state)
        hrtimer_start(napi.timer, ktime_get() + timeout)
    else:
        work("napi_poll")
        rc = napi.poll(napi, budget)
        trace_napi_poll(napi, rc, budget)
        if rc == budget:
            gro_normal_list(napi)
            __napi_schedule(napi)
    local_bh_enable()
