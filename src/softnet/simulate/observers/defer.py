# SPDX-License-Identifier: GPL-2.0-or-later
"""I6, I7, I8 and I10: the defer list, its watermark, its bound, its flag and its count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import observer
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import net_hotdata, softnet_data
    from softnet.linux.kernel.softirq import NET_RX_SOFTIRQ, irq_cpustat_t
    from softnet.machine.globals import hw
    from softnet.machine.state import cpu_hw
    from softnet.simulate.observers.notes import ck_insert, ck_say, ck_say_at
    from softnet.simulate.observers.words import (
        CK_BOUND_NS,
        CK_C1,
        CK_C4,
        CK_C6,
        CK_C6_FLAG,
        CK_COUNT,
        CK_FLAG,
        CK_MEMBERS,
        CK_NOT_OWED,
        CK_TOO_LONG,
        ck_cpu,
        ck_ctx,
        ck_env,
        ck_napi,
    )


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
    if count > limit + it.producers - 1:
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
            if table(softnet_data, cpu).defer_count > now_max >> 1:
                table(ck_cpu, cpu).lowered = 1
    e.max_was = now_max


@observer
def ck_check_defer(cpu: int, now: int) -> None:
    """I10 at once; I6 and I8 once they have been broken for CK_BOUND_NS."""
    it = table(ck_cpu, cpu)
    sd = table(softnet_data, cpu)
    if table(cpu_hw, cpu).online == 0:
        it.died = 1
    if sd.defer_lock.owner == 0 and (sd.defer_count > 0) != (sd.defer_list is not None) and it.said_count == 0:
        it.said_count = 1
        ck_say_at(10, CK_COUNT, cpu, now, sd.defer_count, 1 if sd.defer_list is not None else 0, 0, 0)
    ck_check_owed(sd, it, cpu, now)
    ck_check_flag(sd, it, cpu, now)


@observer
def ck_check_owed(sd: softnet_data, it: ck_cpu, cpu: int, now: int) -> None:
    """I6: above the watermark a flush is on its way."""
    if sd.defer_count <= ck_defer_max() >> 1 or ck_owed(sd, it, cpu):
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
        ck_say_at(row, CK_NOT_OWED, cpu, now, sd.defer_count, ck_defer_max(), 0, 0)


@observer
def ck_owed(sd: softnet_data, it: ck_cpu, cpu: int) -> bool:
    """Whether somebody will flush the list, or is just about to make somebody do it."""
    if table(irq_cpustat_t, cpu).softirq_pending & (1 << NET_RX_SOFTIRQ) != 0:
        return True
    if sd.defer_ipi_scheduled != 0 or sd.defer_csd.u_flags != 0:
        return True
    return bool(table(ck_napi, cpu).with_thread != 0 or it.deferring != 0 or it.flushing != 0)


@observer
def ck_check_flag(sd: softnet_data, it: ck_cpu, cpu: int, now: int) -> None:
    """I8: between the cmpxchg and the handler's store there is a kicker, a queued call, or the handler itself."""
    under_way = sd.defer_csd.u_flags != 0 or it.deferring != 0 or it.calling != 0
    if sd.defer_ipi_scheduled == 0 or under_way:
        it.flag_since = -1
        return
    if it.flag_since < 0:
        it.flag_since = now
    elif now - it.flag_since > CK_BOUND_NS and it.said_flag == 0:
        it.said_flag = 1
        ck_say_at(CK_C6_FLAG if it.died != 0 else 8, CK_FLAG, cpu, now, 0, 0, 0, 0)
