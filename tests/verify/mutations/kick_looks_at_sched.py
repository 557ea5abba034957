# SPDX-License-Identifier: GPL-2.0-or-later
"""The kick of a backlog thread saves the lock where SCHED is set already: who has it flushes after its poll. With the lock the skb
is on the list before SCHED is looked at; without it, on x86, the thread may be done with both before the skb is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import __test_and_set_bit, test_bit, trace
    from softnet.linux.include.linux.netdevice import NAPI_STATE_SCHED
    from softnet.linux.net.core.dev import __napi_schedule_irqoff
    from softnet.linux.patches.backlog_lock_no_rt import backlog_lock_irq_save, backlog_unlock_irq_restore
    from softnet.linux.patches.process_queue_bh_lock import softnet_data


@kfunc
def kick_defer_list_purge(sd: softnet_data, cpu: int) -> None:
    """net/core/dev.c:4973 (6.12), the threads' way."""
    if test_bit(NAPI_STATE_SCHED, sd.backlog.state):
        trace("kick_coalesced", cpu)
        return
    flags = backlog_lock_irq_save(sd)
    if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
        trace("kick_defer_list_purge", cpu)
        __napi_schedule_irqoff(sd.backlog)
    else:
        trace("kick_coalesced", cpu)
    backlog_unlock_irq_restore(sd, flags)
