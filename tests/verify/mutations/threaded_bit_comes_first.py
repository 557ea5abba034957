# SPDX-License-Identifier: GPL-2.0-or-later
"""SCHED_THREADED is set before it is clear that the thread is to poll."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import (
        READ_ONCE,
        container_of,
        set_bit,
        smp_processor_id,
        test_bit,
        this_cpu_ptr,
        trace,
    )
    from softnet.linux.include.linux.list import list_add_tail
    from softnet.linux.include.linux.netdevice import (
        NAPI_STATE_SCHED_THREADED,
        NAPI_STATE_THREADED,
        napi_struct,
        softnet_data,
    )
    from softnet.linux.kernel.sched.core import wake_up_process
    from softnet.linux.kernel.softirq import NET_RX_SOFTIRQ, raise_softirq_irqoff
    from softnet.linux.patches.backlog_napi_threads import backlog_napi, use_backlog_threads


@kfunc
def ____napi_schedule(sd: softnet_data, napi: napi_struct) -> None:
    """net/core/dev.c:4688 (6.12), interrupts off: this CPU's own backlog stays in this CPU's softirq."""
    trace("napi_schedule", napi.napi_id, smp_processor_id())
    if test_bit(NAPI_STATE_THREADED, napi.state):
        thread = READ_ONCE(napi.thread)
        if thread is not None:
            set_bit(NAPI_STATE_SCHED_THREADED, napi.state)
            # Waking a thread for a packet that this CPU itself queued costs loopback traffic its throughput.
            if not (use_backlog_threads() and thread == this_cpu_ptr(backlog_napi).task):
                if wake_up_process(thread) != 0 and use_backlog_threads() and napi.dev is None:
                    trace("backlog_napi_wake", container_of(napi, softnet_data, "backlog").cpu)
                return

    list_add_tail(napi.poll_list, sd.poll_list)
    if not sd.in_net_rx_action:
        raise_softirq_irqoff(NET_RX_SOFTIRQ)
