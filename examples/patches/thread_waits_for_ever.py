# SPDX-License-Identifier: GPL-2.0-or-later
"""The backlog thread lets go of its NAPI and tries again while SCHED_THREADED is set, but never polls: only liveness sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.kernel.sched.core import *


@kfunc
def napi_threaded_poll_loop(napi: napi_struct) -> None:
    """net/core/dev.c:7055 (6.12), mutated: it waits for somebody else to poll."""
    while test_bit(NAPI_STATE_SCHED_THREADED, napi.state):
        local_bh_disable()
        local_bh_enable()
        cond_resched()
