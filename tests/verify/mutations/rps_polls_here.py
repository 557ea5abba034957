# SPDX-License-Identifier: GPL-2.0-or-later
"""RPS schedules another CPU's backlog on this CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import IS_ENABLED, this_cpu_ptr, trace
    from softnet.linux.config import CONFIG_RPS
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.net.core.dev import __napi_schedule_irqoff
    from softnet.linux.patches.backlog_napi_threads import use_backlog_threads


@kfunc
def napi_schedule_rps(sd: softnet_data) -> None:
    """net/core/dev.c:4948 (6.12): with threads another CPU's backlog is scheduled from here, no IPI list."""
    mysd = this_cpu_ptr(softnet_data)
    trace("napi_schedule_rps", sd.cpu)
    if IS_ENABLED(CONFIG_RPS):
        if sd != mysd:
            if use_backlog_threads():
                __napi_schedule_irqoff(sd.backlog)
                return
            __napi_schedule_irqoff(sd.backlog)
            return
    __napi_schedule_irqoff(mysd.backlog)
