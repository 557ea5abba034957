# SPDX-License-Identifier: GPL-2.0-or-later
"""I3, I4 and I5: who owns a NAPI, where a backlog is polled, and that a filled backlog is scheduled.

Ownership is followed from hand to hand. Whoever turns SCHED from 0 to 1 carries the NAPI until it stands on a poll list, on the
way of an RPS IPI, or with a thread; whoever polls it holds it until SCHED goes to 0 or it is passed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import observer
from softnet.lang.intrinsics import address_of, index_of, table, table_len

if TYPE_CHECKING:
    from softnet.linux.include.linux.list import list_head
    from softnet.linux.include.linux.netdevice import (
        NAPIF_STATE_SCHED,
        NAPIF_STATE_SCHED_THREADED,
        softnet_data,
    )
    from softnet.machine.globals import hw
    from softnet.machine.state import TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, cpu_hw, task_struct
    from softnet.properties.history.notes import ck_report, ck_say, ck_say_at, ck_stop
    from softnet.properties.history.words import (
        CK_ASLEEP,
        CK_BOUND_NS,
        CK_C5,
        CK_CARRIERS,
        CK_ENDED_AWAY,
        CK_NO_IPI,
        CK_NO_SCHED,
        CK_OWNERS,
        CK_POLLED_AWAY,
        CK_TWO_POLL,
        ck_cpu,
        ck_ctx,
        ck_env,
        ck_found,
        ck_napi,
    )
    from softnet.properties.state import ck_on_a_list, ck_queued_not_sched


@observer
def ck_napi_at(at: int) -> ck_napi:
    """The NAPI at an address; None for one that is neither a backlog nor a receive queue's."""
    e = table(ck_env, 0)
    if at >= e.backlogs and at < e.backlogs_end:
        distance = at - e.backlogs
        if distance % e.sd_stride == 0:
            return table(ck_napi, distance // e.sd_stride)
        return None
    if at >= e.vectors and at < e.vectors_end:
        distance = at - e.vectors
        if distance % e.vector_stride == 0:
            return table(ck_napi, hw.nr_cpus + distance // e.vector_stride)
    return None


@observer
def ck_carried(n: ck_napi, ctx: int) -> int:
    """Where a context stands among those that carry the NAPI, -1 if it does not."""
    for i in range(n.nr_carriers):
        if n.carriers[i] == ctx:
            return i
    return -1


@observer
def ck_add(n: ck_napi, ctx: int) -> None:
    """The context carries the NAPI from here on. More at a time than there is room for are too many by far."""
    if ck_carried(n, ctx) < 0 and n.nr_carriers < CK_CARRIERS:
        n.carriers[n.nr_carriers] = ctx
        n.nr_carriers += 1
        table(ck_ctx, ctx).carries += 1


@observer
def ck_drop(n: ck_napi, ctx: int) -> None:
    """The context has passed it on."""
    at = ck_carried(n, ctx)
    if at < 0:
        return
    n.nr_carriers -= 1
    for i in range(at, n.nr_carriers):
        n.carriers[i] = n.carriers[i + 1]
    table(ck_ctx, ctx).carries -= 1


@observer
def ck_thread_ctx(n: ck_napi) -> int:
    """The context of the NAPI's thread, -1 for none."""
    thread = n.napi.thread
    return thread.ctx.id if thread is not None else -1


@observer
def ck_owners(n: ck_napi) -> int:
    """How many own the NAPI; the thread that polls it is one owner."""
    count = n.nr_carriers
    if ck_on_a_list(n.napi):
        count += 1
    thread = ck_thread_ctx(n)
    if n.with_thread != 0 or (thread >= 0 and n.polled_by == thread):
        count += 1
        if thread >= 0 and ck_carried(n, thread) >= 0:
            count -= 1
        if n.polled_by != -1 and n.polled_by != thread:
            count += 1
    elif n.polled_by >= 0:
        count += 1
    return count + n.on_ipi


@observer
def ck_check(n: ck_napi) -> None:
    """I3 here and now."""
    if ck_owners(n) == n.napi.state & NAPIF_STATE_SCHED:
        n.broken = 0
        return
    if n.broken != 0:
        return
    n.broken = 1
    if ck_report(3, CK_OWNERS, hw.cpu, hw.now):
        found = table(ck_found, 3)
        found.args[0] = index_of(n)
        found.args[1] = n.napi.state & NAPIF_STATE_SCHED
        found.args[2] = int_of(ck_on_a_list(n.napi))
        found.args[3] = n.with_thread
        found.args[4] = ck_thread_ctx(n)
        found.args[5] = n.polled_by
        found.args[6] = n.on_ipi
        found.args[7] = n.nr_carriers
        for i in range(n.nr_carriers):
            found.args[8 + i] = n.carriers[i]
    ck_stop(3)


@observer
def int_of(truth: bool) -> int:
    """1 or 0."""
    return 1 if truth else 0


@observer
def ck_state_stored(n: ck_napi) -> None:
    """SCHED or SCHED_THREADED may have changed hands."""
    ctx = hw.ctx
    now = n.napi.state
    was = n.was
    n.was = now
    if now & NAPIF_STATE_SCHED != 0 and was & NAPIF_STATE_SCHED == 0:
        ck_add(n, ctx)
    elif was & NAPIF_STATE_SCHED != 0 and now & NAPIF_STATE_SCHED == 0:
        n.polled_by = -1
        n.with_thread = 0
        n.on_ipi = 0
        ck_drop(n, ctx)
    if now & NAPIF_STATE_SCHED_THREADED != 0 and was & NAPIF_STATE_SCHED_THREADED == 0:
        if ck_carried(n, ctx) >= 0:
            ck_drop(n, ctx)
            n.with_thread = 1
    elif was & NAPIF_STATE_SCHED_THREADED != 0 and now & NAPIF_STATE_SCHED_THREADED == 0:
        if now & NAPIF_STATE_SCHED != 0:
            # napi_complete_done() that saw MISSED: the poller schedules the NAPI anew.
            n.with_thread = 0
            if n.polled_by == ctx:
                n.polled_by = -1
            ck_add(n, ctx)
    if now & NAPIF_STATE_SCHED != was & NAPIF_STATE_SCHED:
        ck_check(n)


@observer
def ck_schedule(n: ck_napi) -> None:
    """____napi_schedule() begins: who polled it, or whose IPI it was, carries it now."""
    ctx = hw.ctx
    if n.polled_by == ctx:
        n.polled_by = -1
    if n.with_thread != 0 and ctx == ck_thread_ctx(n):
        n.with_thread = 0
    n.on_ipi = 0
    ck_add(n, ctx)
    ck_check(n)


@observer
def ck_rps_scheduled(sd: softnet_data) -> None:
    """napi_schedule_rps() returns: what it did not schedule here goes by an IPI."""
    n = ck_napi_at(address_of(sd.backlog))
    if n is not None and ck_carried(n, hw.ctx) >= 0:
        ck_drop(n, hw.ctx)
        n.on_ipi = 1
        n.ipi_from = hw.cpu
        ck_check(n)


@observer
def ck_waking(p: task_struct) -> None:
    """A carrier that wakes the NAPI's thread has passed it on."""
    ctx = hw.ctx
    if table(ck_ctx, ctx).carries == 0:
        return
    for i in range(table_len(ck_napi)):
        n = table(ck_napi, i)
        if n.napi.thread == p and ck_carried(n, ctx) >= 0:
            ck_drop(n, ctx)
            n.with_thread = 1


@observer
def ck_polling(n: ck_napi) -> None:
    """The NAPI's poll function begins."""
    ctx = hw.ctx
    if n.cpu >= 0 and hw.cpu != n.cpu:
        ck_say(4, CK_POLLED_AWAY, index_of(n), hw.cpu, ctx, 0)
    ck_drop(n, ctx)
    if n.polled_by != -1 and n.polled_by != ctx:
        ck_say(3, CK_TWO_POLL, index_of(n), ctx, n.polled_by, 0)
    n.polled_by = ctx
    ck_check(n)


@observer
def ck_polled(n: ck_napi) -> None:
    """It returns."""
    if n.cpu >= 0 and hw.cpu != n.cpu:
        ck_say(4, CK_ENDED_AWAY, index_of(n), hw.cpu, 0, 0)


@observer
def ck_claim() -> None:
    """A function that may take SCHED begins."""
    table(ck_ctx, hw.ctx).claiming += 1


@observer
def ck_claimed() -> None:
    """It returns; who took SCHED and leaves the outermost without having passed the NAPI on leaves it to nobody."""
    ctx = hw.ctx
    me = table(ck_ctx, ctx)
    me.claiming -= 1
    if me.claiming != 0 or me.carries == 0:
        return
    for i in range(table_len(ck_napi)):
        n = table(ck_napi, i)
        if n.polled_by != ctx and ck_carried(n, ctx) >= 0:
            ck_drop(n, ctx)
            ck_check(n)


@observer
def ck_node_linked(node: list_head) -> None:
    """A node goes on a list: if it is a NAPI's, who carried it has passed it on."""
    n = ck_napi_at(address_of(node) - table(ck_env, 0).napi_node)
    if n is not None:
        ck_drop(n, hw.ctx)


@observer
def ck_check_backlog(cpu: int, now: int) -> None:
    """I5 for the CPU's backlog, and I3's long view: what owns it must be able to go on."""
    n = table(ck_napi, cpu)
    ck_check(n)
    if ck_queued_not_sched(cpu):
        ck_say_at(5, CK_NO_SCHED, cpu, now, cpu, table(softnet_data, cpu).input_pkt_queue.qlen, 0, 0)
    ck_check_progress(n, now)


@observer
def ck_check_device(index: int, now: int) -> None:
    """The long view for a device's NAPI."""
    n = table(ck_napi, index)
    ck_check(n)
    ck_check_progress(n, now)


@observer
def ck_check_progress(n: ck_napi, now: int) -> None:
    """Whoever has the NAPI must be awake, or on the way."""
    what = 0
    row = 3
    if n.with_thread != 0 and ck_asleep(n.napi.thread):
        what = CK_ASLEEP
    elif n.on_ipi != 0 and not ck_ipi_under_way(n):
        what = CK_NO_IPI
        if table(cpu_hw, n.cpu).online == 0:
            row = CK_C5
    if what == 0:
        n.suspect_since = -1
    elif n.suspect_since < 0:
        n.suspect_since = now
    elif now - n.suspect_since > CK_BOUND_NS and n.broken == 0:
        n.broken = 1
        ck_say_at(row, what, max(n.cpu, 0), now, index_of(n), 0, 0, 0)


@observer
def ck_asleep(p: task_struct) -> bool:
    """Whether a task sleeps and nobody has woken it."""
    if p is None:
        return True
    if p.on_cpu != 0 or p.on_rq != 0:
        return False
    return bool(p.state == TASK_INTERRUPTIBLE or p.state == TASK_UNINTERRUPTIBLE)


@observer
def ck_ipi_under_way(n: ck_napi) -> bool:
    """Whether the backlog's function call is queued, runs, or stands on a list of calls to send."""
    sd = table(softnet_data, n.cpu)
    if sd.csd.u_flags != 0 or table(ck_env, 0).sending != 0 or table(ck_cpu, n.cpu).calling != 0:
        return True
    if ck_on_ipi_list(sd, n.ipi_from):
        return True
    for cpu in range(hw.nr_cpus):
        if ck_on_ipi_list(sd, cpu):
            return True
    return False


@observer
def ck_on_ipi_list(sd: softnet_data, cpu: int) -> bool:
    """Whether it stands on that CPU's list."""
    at = table(softnet_data, cpu).rps_ipi_list
    for _ in range(hw.nr_cpus):
        if at is None:
            return False
        if at == sd:
            return True
        at = at.rps_ipi_next
    return False
