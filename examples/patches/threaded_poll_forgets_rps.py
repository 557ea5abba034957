# SPDX-License-Identifier: GPL-2.0-or-later
"""Version 3 of the series: the threaded poll does not send the RPS IPIs that it has gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.net.core.dev import *
    from softnet.linux.net.core.dev import __napi_poll


@kfunc
def napi_threaded_poll_loop(napi: napi_struct) -> None:
    """net/core/dev.c:7055 (6.12), taken out of napi_threaded_poll() for both kinds of thread."""
    while True:
        local_bh_disable()
        sd = this_cpu_ptr(softnet_data)
        sd.in_napi_threaded_poll = True
        __napi_poll(napi)
        repoll = sd.do_repoll
        sd.in_napi_threaded_poll = False
        barrier()

        skb_defer_free_flush(sd)
        local_bh_enable()
        if not repoll:
            break
        cond_resched()
