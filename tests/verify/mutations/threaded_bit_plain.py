# SPDX-License-Identifier: GPL-2.0-or-later
"""SCHED_THREADED is set by a plain store, under the backlog's lock: safe on x86, since waking takes a lock before it looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import READ_ONCE, __set_bit, test_bit, this_cpu_ptr
    from softnet.linux.include.linux.list import list_add_tail
    from softnet.linux.include.linux.netdevice import (
        NAPI_STATE_SCHED_THREADED,
        NAPI_STATE_THREADED,
        napi_struct,
    )
    from softnet.linux.kernel.sched.core import wake_up_process
    from softnet.linux.kernel.softirq import NET_RX_SOFTIRQ, raise_softirq_irqoff
    from softnet.linux.patches.backlog_napi_threads import backlog_napi, use_backlog_threads
    from softnet.linux.patches.process_queue_bh_lock import softnet_data


@kfunc
def ____napi_schedule(sd: softnet_data, napi: napi_struct) -> None:
    """net/core/dev.c:4688 (6.12)."""
    if test_bit(NAPI_STATE_THREADED, napi.state):
        thread = READ_ONCE(napi.thread)
        if thread is not None:
            if not (use_backlog_threads() and thread == this_cpu_ptr(backlog_napi).task):
                __set_bit(NAPI_STATE_SCHED_THREADED, napi.state)
                wake_up_process(thread)
                return
    list_add_tail(napi.poll_list, sd.poll_list)
    if not sd.in_net_rx_action:
        raise_softirq_irqoff(NET_RX_SOFTIRQ)
