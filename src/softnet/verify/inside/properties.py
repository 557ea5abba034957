# SPDX-License-Identifier: GPL-2.0-or-later
"""The properties themselves, in the restricted Python: what must hold in every state, and where nothing can happen any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import address_of, index_of, table, table_len

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import (
        NAPIF_STATE_SCHED,
        NAPIF_STATE_SCHED_THREADED,
        softnet_data,
    )
    from softnet.linux.include.linux.skbuff import SKB_STATE_IN_USE, sk_buff
    from softnet.linux.kernel.softirq import irq_cpustat_t
    from softnet.machine.globals import hw
    from softnet.machine.nic import nic_waiting
    from softnet.machine.state import CTX_TASK, NEVER, TASK_UNINTERRUPTIBLE, cpu_hw, nic_queue
    from softnet.properties.numbers import (
        VX_BACKLOG_STUCK,
        VX_COUNT_WITHOUT_LIST,
        VX_CSD_STUCK,
        VX_DEADLOCK,
        VX_DEFERRAL_STOPPED,
        VX_DRIVER_STUCK,
        VX_FLAG_WITHOUT_CSD,
        VX_LEAK,
        VX_LINKED_NOT_SCHED,
        VX_LOST_KICK,
        VX_NEVER_FLUSHED,
        VX_NEVER_POLLED,
        VX_NEVER_RUN,
        VX_OVER_LIMIT,
        VX_PENDING_SOFTIRQ,
        VX_POLL_LIST_STUCK,
        VX_QUEUED_NOT_SCHED,
        VX_SCHED_WITHOUT_OWNER,
        VX_STRANDED,
        VX_TWO_OWNERS,
    )
    from softnet.properties.state import (
        ck_count_disagrees,
        ck_linked_and_threaded,
        ck_linked_not_sched,
        ck_on_a_list,
        ck_over_limit,
        ck_queued_not_sched,
        ck_watermark,
    )
    from softnet.properties.where import (
        defer_list_busy,
        defer_list_count,
        defer_list_first,
        defer_list_next,
        defer_list_stuck,
        defer_lists,
    )
    from softnet.verify.inside.buffers import VX_STORE_BUFFER, vx_buffered
    from softnet.verify.inside.calls import vx_defer_call
    from softnet.verify.inside.user_properties import vx_user_pending, vx_user_state, vx_user_terminal
    from softnet.verify.inside.words import VX_BH_UNLOCKED, VX_IRQ, VX_NIC, verify_env, vx_driver, vx_saw, vx_sd, vx_skb


@hwfunc
def verify_after() -> None:
    """After every step: note the skbs that are on a defer list, and who has given a backlog up."""
    for cpu in range(hw.nr_cpus):
        if VX_BH_UNLOCKED != 0:
            if table(softnet_data, cpu).backlog.state & NAPIF_STATE_SCHED == 0:
                table(vx_sd, cpu).polling = 0
        skb = defer_list_first(cpu)
        while skb is not None:
            note = table(vx_skb, index_of(skb))
            # One that is noted has those below it noted, too, as far as its list goes.
            if note.deferred != 0 and defer_lists() == 1:
                break
            if VX_STORE_BUFFER == 0:
                note.deferred = 1
            elif skb.state == SKB_STATE_IN_USE:
                # Memory may still name one that its CPU has taken off and freed.
                note.deferred = 1
            skb = defer_list_next(skb)


@hwfunc
def verify_state() -> int:
    """What must hold in every state: a mask of the properties that do not hold.

    With store buffers: in every state in which they are empty, since memory alone is what no CPU sees. What a function of the
    harness found counts always.
    """
    e = table(verify_env, 0)
    if VX_STORE_BUFFER != 0:
        if vx_buffered():
            broken: int = e.broken
            return broken
    found: int = e.broken | vx_user_state()
    for cpu in range(hw.nr_cpus):
        napi = table(softnet_data, cpu).backlog
        if ck_linked_not_sched(napi):
            found |= 1 << VX_LINKED_NOT_SCHED
        if ck_linked_and_threaded(napi):
            found |= 1 << VX_TWO_OWNERS
        if ck_queued_not_sched(cpu):
            found |= 1 << VX_QUEUED_NOT_SCHED
        if e.list_unknown == 0:
            if ck_over_limit(defer_list_count(cpu), e.defer_max_most, table(vx_sd, cpu).producers):
                found |= 1 << VX_OVER_LIMIT
            if ck_count_disagrees(cpu):
                found |= 1 << VX_COUNT_WITHOUT_LIST
    return found


@hwfunc
def verify_terminal(blocked: int) -> int:
    """What must hold where nothing can happen any more: a mask of the properties that do not hold, all of them.

    A broken link hides no other one: softnet.properties.statements.CHAIN says which of them is named first.
    """
    found: int = vx_user_terminal() | vx_user_pending() | vx_drivers_stuck() | vx_leaked()
    if blocked != 0:
        found |= 1 << VX_DEADLOCK
    for cpu in range(hw.nr_cpus):
        c = table(cpu_hw, cpu)
        sd = table(softnet_data, cpu)
        found |= vx_cpu_owes(c, sd) | vx_left_behind(c, sd)
    return found


@hwfunc
def vx_premises() -> None:
    """Count, in a new state and for each CPU, what the properties are about: one that is about nothing has nothing to hold."""
    if VX_STORE_BUFFER != 0:
        if vx_buffered():
            return
    unknown = table(verify_env, 0).list_unknown != 0
    for cpu in range(hw.nr_cpus):
        sd = table(softnet_data, cpu)
        if sd.backlog.state & NAPIF_STATE_SCHED != 0:
            vx_saw(VX_SCHED_WITHOUT_OWNER)
        if ck_on_a_list(sd.backlog):
            vx_saw(VX_LINKED_NOT_SCHED)
            vx_saw(VX_TWO_OWNERS)
        if vx_polls(sd):
            vx_saw(VX_POLL_LIST_STUCK)
        if sd.input_pkt_queue.qlen != 0:
            vx_saw(VX_QUEUED_NOT_SCHED)
        if sd.input_pkt_queue.qlen != 0 or sd.process_queue.qlen != 0:
            vx_saw(VX_BACKLOG_STUCK)
            vx_saw(VX_NEVER_POLLED)
        if table(irq_cpustat_t, cpu).softirq_pending != 0:
            vx_saw(VX_PENDING_SOFTIRQ)
            vx_saw(VX_NEVER_RUN)
        if sd.defer_ipi_scheduled != 0:
            vx_saw(VX_FLAG_WITHOUT_CSD)
        if sd.csd.u_flags != 0 or vx_defer_call(sd):
            vx_saw(VX_CSD_STUCK)
        if table(cpu_hw, cpu).online == 0:
            vx_saw(VX_STRANDED)
        if vx_must_be_flushed(cpu):
            vx_saw(VX_LOST_KICK)
            vx_saw(VX_NEVER_FLUSHED)
        if not unknown and vx_deferred_to(cpu) != 0:
            vx_saw(VX_OVER_LIMIT)
            vx_saw(VX_DEFERRAL_STOPPED)
            # Without a lock in common list and count never need to agree.
            if table(verify_env, 0).list_own == 0 or not defer_list_busy(cpu):
                vx_saw(VX_COUNT_WITHOUT_LIST)


@hwfunc
def vx_polls(sd: softnet_data) -> bool:
    """Whether the CPU's poll list has an entry."""
    return address_of(sd.poll_list.next) != address_of(sd.poll_list)


@hwfunc
def vx_cpu_owes(c: cpu_hw, sd: softnet_data) -> int:
    """What a CPU was asked to run and did not, and whether it waits for ever."""
    found = 0
    if c.t >= NEVER and (c.cur.kind != CTX_TASK or c.task != c.idle):
        found |= 1 << VX_DEADLOCK
    if table(irq_cpustat_t, c.id).softirq_pending != 0 and c.online != 0:
        found |= 1 << VX_PENDING_SOFTIRQ
    if sd.defer_csd.u_flags != 0 or sd.csd.u_flags != 0 or (sd.defer_ipi_scheduled != 0 and vx_defer_call(sd)):
        found |= 1 << VX_CSD_STUCK
    if vx_polls(sd):
        found |= 1 << VX_POLL_LIST_STUCK
    return found


@hwfunc
def vx_left_behind(c: cpu_hw, sd: softnet_data) -> int:
    """What nobody was asked to do. A dead CPU's parked thread owns its backlog."""
    found = 0
    sched = sd.backlog.state & NAPIF_STATE_SCHED != 0
    parked = c.online == 0 and sd.backlog.state & NAPIF_STATE_SCHED_THREADED != 0
    if sched and not parked and not ck_on_a_list(sd.backlog):
        found |= 1 << VX_SCHED_WITHOUT_OWNER
    if sd.input_pkt_queue.qlen != 0 or sd.process_queue.qlen != 0:
        found |= 1 << VX_BACKLOG_STUCK
    if sd.defer_ipi_scheduled != 0 and not vx_defer_call(sd):
        found |= 1 << VX_FLAG_WITHOUT_CSD
    if c.online == 0:
        if vx_deferred_to(c.id) != 0:
            found |= 1 << VX_STRANDED
    else:
        if vx_must_be_flushed(c.id):
            found |= 1 << VX_LOST_KICK
        if table(verify_env, 0).list_unknown == 0 and defer_list_stuck(c.id):
            found |= 1 << VX_DEFERRAL_STOPPED
    return found


@hwfunc
def vx_must_be_flushed(cpu: int) -> bool:
    """Whether so many skbs of that CPU are deferred that a list is past its watermark.

    Where list and count have no lock in common, the list may be longer than it is counted, by one for each producer.
    """
    slack = table(vx_sd, cpu).producers if table(verify_env, 0).list_own != 0 else 0
    return vx_deferred_to(cpu) > ck_watermark() * defer_lists() + slack


@hwfunc
def vx_deferred_to(cpu: int) -> int:
    """How many skbs of that CPU were deferred and are not freed, wherever the kernel keeps them."""
    count = 0
    for i in range(table_len(sk_buff)):
        skb = table(sk_buff, i)
        if table(vx_skb, i).deferred != 0 and skb.state == SKB_STATE_IN_USE and skb.alloc_cpu == cpu:
            count += 1
    return count


@hwfunc
def vx_drivers_stuck() -> int:
    """Whether a task of the harness is not done, a device's interrupt did not come, or a card's ring is not emptied."""
    for i in range(table_len(vx_driver)):
        d = table(vx_driver, i)
        if (d.kind == VX_IRQ or d.kind == VX_NIC) and table(cpu_hw, d.target).online != 0:
            # A real device's interrupt moves to another CPU when its own goes offline.
            if d.raised != 0 or d.started != d.count:
                return 1 << VX_DRIVER_STUCK
        if d.task is not None and d.task.state != TASK_UNINTERRUPTIBLE:
            return 1 << VX_DRIVER_STUCK
    for i in range(table_len(nic_queue)):
        if nic_waiting(table(nic_queue, i)) != 0 and table(verify_env, 0).closed >> i & 1 == 0:
            return 1 << VX_DRIVER_STUCK
    return 0


@hwfunc
def vx_leaked() -> int:
    """Whether an skb in use is nowhere, or one that is on a defer list is not in use.

    It may be on a defer list, on a backlog's queue (which is *lost work*), or with a driver that has not come to it: one that is
    stuck, or a device whose CPU went offline before its interrupt. What was deferred to a list that the harness does not know
    counts as being there.
    """
    kept = 0
    for i in range(table_len(vx_driver)):
        d = table(vx_driver, i)
        if d.kind == VX_IRQ:
            kept += d.count - d.started + d.raised
        elif d.task is not None and d.task.state != TASK_UNINTERRUPTIBLE:
            # A task that is stuck has some of its skbs: how many, it alone knows.
            vx_saw(0)
            return 0
    for cpu in range(hw.nr_cpus):
        sd = table(softnet_data, cpu)
        kept += sd.input_pkt_queue.qlen + sd.process_queue.qlen
        if table(verify_env, 0).list_unknown != 0:
            kept += vx_deferred_to(cpu)
            continue
        skb = defer_list_first(cpu)
        for _ in range(table_len(sk_buff)):
            if skb is not None:
                kept += 1
                skb = defer_list_next(skb)
    for i in range(table_len(sk_buff)):
        if table(sk_buff, i).state == SKB_STATE_IN_USE:
            kept -= 1
    return 1 << VX_LEAK if kept != 0 else 0
