# SPDX-License-Identifier: GPL-2.0-or-later
"""I6, I7, I8 and I10: the defer list, its watermark, its bound, its flag and its count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import observer
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import net_hotdata, softnet_data
    from softnet.machine.globals import hw
    from softnet.machine.state import cpu_hw
    from softnet.properties.history.notes import ck_insert, ck_say, ck_say_at
    from softnet.properties.history.words import (
        CK_BOUND_NS,
        CK_C1,
        CK_C4,
        CK_C6,
        CK_C6_FLAG,
        CK_C10,
        CK_C11,
        CK_COUNT,
        CK_FLAG,
        CK_MEMBERS,
        CK_NOT_OWED,
        CK_STOPPED,
        CK_TOO_LONG,
        ck_cpu,
        ck_ctx,
        ck_env,
        ck_napi,
    )
    from softnet.properties.state import ck_above_watermark, ck_count_disagrees, ck_flag_alone, ck_flush_due, ck_over_limit
    from softnet.properties.where import defer_list_count, defer_list_first, defer_list_stuck


@observer
def ck_defer_max() -> int:
    """skb_defer_max as it is now."""
    return table(net_hotdata, 0).sysctl_skb_defer_max


@observer
def ck_pushed(cpu: int, count: int) -> None:
    """I7: each task reads the limit without the lock, so each other one may overshoot it by one."""
    ctx = hw.ctx
    it = table(ck_cpu, cpu)
    rows = (table(ck_env, 0).contexts + CK_MEMBERS - 1) // CK_MEMBERS
    if ck_insert(cpu * rows, ctx):
        it.producers += 1
    limit = max(table(ck_ctx, ctx).entry_max, ck_defer_max())
    if ck_over_limit(count, limit, it.producers):
        ck_say(7, CK_TOO_LONG, count, cpu, limit, it.producers)


@observer
def ck_flushed(cpu: int) -> None:
    """The list has been taken off."""
    it = table(ck_cpu, cpu)
    it.lowered = 0
    it.on_softirq = 0
    it.died = 0
    it.said_owed = 0
    it.unowed_since = -1


@observer
def ck_coalesced(cpu: int) -> None:
    """A kick found SCHED set: if a softirq has the backlog of a thread, its run may end without a flush."""
    threads = table(ck_env, 0).threads != 0 and table(softnet_data, cpu).backlog.thread is not None
    table(ck_cpu, cpu).on_softirq = 1 if threads and table(ck_napi, cpu).with_thread == 0 else 0


@observer
def check_settings() -> None:
    """A sysctl may have changed: a list above its new watermark was never kicked for it."""
    e = table(ck_env, 0)
    now_max = ck_defer_max()
    if now_max < e.max_was:
        for cpu in range(hw.nr_cpus):
            if ck_above_watermark(cpu):
                table(ck_cpu, cpu).lowered = 1
    if e.max_was <= 1 and now_max > 1:
        e.switched_on = 1
    e.max_was = now_max


@observer
def ck_check_defer(cpu: int, now: int) -> None:
    """I10 at once; I6 and I8 once they have been broken for CK_BOUND_NS."""
    it = table(ck_cpu, cpu)
    sd = table(softnet_data, cpu)
    if table(cpu_hw, cpu).online == 0:
        it.died = 1
    if it.said_count == 0 and ck_count_disagrees(cpu):
        it.said_count = 1
        ck_say_at(10, CK_COUNT, cpu, now, defer_list_count(cpu), 1 if defer_list_first(cpu) is not None else 0, 0, 0)
    elif it.said_count == 0 and it.deferring == 0 and defer_list_stuck(cpu):
        it.said_count = 1
        row = CK_C10 if table(ck_env, 0).switched_on != 0 else CK_C11
        ck_say_at(row, CK_STOPPED, cpu, now, ck_defer_max(), 0, 0, 0)
    ck_check_owed(it, cpu, now)
    ck_check_flag(sd, it, cpu, now)


@observer
def ck_check_owed(it: ck_cpu, cpu: int, now: int) -> None:
    """I6: above the watermark a flush is on its way."""
    if not ck_above_watermark(cpu) or ck_owed(it, cpu):
        it.unowed_since = -1
        return
    if it.unowed_since < 0:
        it.unowed_since = now
    elif now - it.unowed_since > CK_BOUND_NS and it.said_owed == 0:
        it.said_owed = 1
        row = 6
        if it.lowered != 0:
            row = CK_C4
        elif it.on_softirq != 0:
            row = CK_C1
        elif it.died != 0:
            row = CK_C6
        ck_say_at(row, CK_NOT_OWED, cpu, now, defer_list_count(cpu), ck_defer_max(), 0, 0)


@observer
def ck_owed(it: ck_cpu, cpu: int) -> bool:
    """Whether somebody will flush the list, or is just about to make somebody do it."""
    return ck_flush_due(cpu) or bool(table(ck_napi, cpu).with_thread != 0 or it.deferring != 0 or it.flushing != 0)


@observer
def ck_check_flag(sd: softnet_data, it: ck_cpu, cpu: int, now: int) -> None:
    """I8: between the cmpxchg and the handler's store there is a kicker, a queued call or work item, or the handler itself."""
    # On 6.1-rt an item is under way for an offline CPU, too: its worker is unbound, and runs elsewhere.
    if not ck_flag_alone(sd) or it.deferring != 0 or it.calling != 0 or it.works != 0:
        it.flag_since = -1
        return
    if it.flag_since < 0:
        it.flag_since = now
    elif now - it.flag_since > CK_BOUND_NS and it.said_flag == 0:
        it.said_flag = 1
        ck_say_at(CK_C6_FLAG if it.died != 0 else 8, CK_FLAG, cpu, now, 0, 0, 0, 0)
