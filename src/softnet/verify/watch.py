# SPDX-License-Identifier: GPL-2.0-or-later
"""The properties themselves, in the restricted Python: what must hold in every state, and where nothing can happen any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import address_of, index_of, table, table_len

if TYPE_CHECKING:
    from softnet.kernel.include.linux.netdevice import (
        NAPIF_STATE_SCHED,
        NAPIF_STATE_SCHED_THREADED,
        net_hotdata,
        softnet_data,
    )
    from softnet.kernel.include.linux.skbuff import SKB_STATE_IN_USE, sk_buff
    from softnet.kernel.kernel.softirq import irq_cpustat_t
    from softnet.machine.globals import hw
    from softnet.machine.state import CTX_TASK, NEVER, TASK_UNINTERRUPTIBLE, cpu_hw
    from softnet.verify.buffers import VX_STORE_BUFFER, vx_buffered
    from softnet.verify.calls import vx_defer_call
    from softnet.verify.harness import (
        VX_BACKLOG_STUCK,
        VX_COUNT_WITHOUT_LIST,
        VX_CSD_STUCK,
        VX_DEADLOCK,
        VX_DRIVER_STUCK,
        VX_FLAG_WITHOUT_CSD,
        VX_IRQ,
        VX_LEAK,
        VX_LINKED_NOT_SCHED,
        VX_LOST_KICK,
        VX_NIC,
        VX_OVER_LIMIT,
        VX_PENDING_SOFTIRQ,
        VX_POLL_LIST_STUCK,
        VX_QUEUED_NOT_SCHED,
        VX_SCHED_WITHOUT_OWNER,
        VX_SET_DEFER_MAX,
        VX_STRANDED,
        VX_TWO_OWNERS,
    )
    from softnet.verify.user_properties import vx_user_pending, vx_user_state, vx_user_terminal
    from softnet.verify.words import verify_env, vx_driver, vx_skb


@hwfunc
def vx_linked(sd: softnet_data) -> bool:
    """Whether the CPU's backlog is on some list."""
    return address_of(sd.backlog.poll_list.next) != address_of(sd.backlog.poll_list)


@hwfunc
def verify_after() -> None:
    """After every step: note the skbs that are on a defer list."""
    for cpu in range(hw.nr_cpus):
        skb = table(softnet_data, cpu).defer_list
        while skb is not None:
            note = table(vx_skb, index_of(skb))
            # One that is noted has those below it noted, too.
            if note.deferred != 0:
                break
            if VX_STORE_BUFFER == 0:
                note.deferred = 1
            elif skb.state == SKB_STATE_IN_USE:
                # Memory may still name one that its CPU has taken off and freed.
                note.deferred = 1
            skb = skb.next


@hwfunc
def vx_freeing() -> bool:
    """Whether some driver is inside skb_attempt_defer_free()."""
    busy = 0
    for i in range(table_len(vx_driver)):
        busy |= table(vx_driver, i).busy
    return busy != 0


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
        sd = table(softnet_data, cpu)
        state = sd.backlog.state
        if vx_linked(sd):
            if state & NAPIF_STATE_SCHED == 0:
                found |= 1 << VX_LINKED_NOT_SCHED
            if state & NAPIF_STATE_SCHED_THREADED != 0:
                found |= 1 << VX_TWO_OWNERS
        if sd.input_pkt_queue.qlen != 0 and state & NAPIF_STATE_SCHED == 0 and table(cpu_hw, cpu).online != 0:
            found |= 1 << VX_QUEUED_NOT_SCHED
        if VX_SET_DEFER_MAX == 0:
            if sd.defer_count > table(net_hotdata, 0).sysctl_skb_defer_max + e.nr_producers - 1:
                found |= 1 << VX_OVER_LIMIT
        if sd.defer_lock.owner == 0 and sd.defer_count != 0 and sd.defer_list is None:
            found |= 1 << VX_COUNT_WITHOUT_LIST
        if sd.defer_ipi_scheduled != 0 and not vx_defer_call(sd) and not vx_freeing():
            found |= 1 << VX_FLAG_WITHOUT_CSD
    return found


@hwfunc
def verify_terminal(blocked: int) -> int:
    """What must hold where nothing can happen any more: a mask of the properties that do not hold."""
    found: int = vx_user_terminal() | vx_user_pending()
    if blocked != 0:
        found |= 1 << VX_DEADLOCK
    kept = 0
    for cpu in range(hw.nr_cpus):
        sd = table(softnet_data, cpu)
        alive = table(cpu_hw, cpu).online != 0
        found |= vx_cpu_rests(table(cpu_hw, cpu), sd)
        if sd.defer_count > table(net_hotdata, 0).sysctl_skb_defer_max >> 1 and alive:
            found |= 1 << VX_LOST_KICK
        skb = sd.defer_list
        while skb is not None:
            kept += 1
            skb = skb.next
            if not alive:
                found |= 1 << VX_STRANDED
    for i in range(table_len(vx_driver)):
        d = table(vx_driver, i)
        if d.raised != 0 or ((d.kind == VX_IRQ or d.kind == VX_NIC) and d.started != d.count):
            found |= 1 << VX_DRIVER_STUCK
        if d.task is not None and d.task.state != TASK_UNINTERRUPTIBLE:
            found |= 1 << VX_DRIVER_STUCK
    if found == 0:
        for i in range(table_len(sk_buff)):
            if table(sk_buff, i).state == SKB_STATE_IN_USE:
                kept -= 1
        if kept != 0:
            found |= 1 << VX_LEAK
    return found


@hwfunc
def vx_cpu_rests(c: cpu_hw, sd: softnet_data) -> int:
    """What a CPU may not leave behind when nothing can happen any more. A dead CPU's parked thread owns its backlog."""
    found = 0
    if c.t >= NEVER and (c.cur.kind != CTX_TASK or c.task != c.idle):
        found |= 1 << VX_DEADLOCK
    if sd.input_pkt_queue.qlen != 0 or sd.process_queue.qlen != 0:
        found |= 1 << VX_BACKLOG_STUCK
    parked = c.online == 0 and sd.backlog.state & NAPIF_STATE_SCHED_THREADED != 0
    if not vx_linked(sd) and sd.backlog.state & NAPIF_STATE_SCHED != 0 and not parked:
        found |= 1 << VX_SCHED_WITHOUT_OWNER
    if address_of(sd.poll_list.next) != address_of(sd.poll_list):
        found |= 1 << VX_POLL_LIST_STUCK
    if table(irq_cpustat_t, c.id).softirq_pending != 0 and c.online != 0:
        found |= 1 << VX_PENDING_SOFTIRQ
    if sd.defer_ipi_scheduled != 0 or sd.defer_csd.u_flags != 0 or sd.csd.u_flags != 0:
        found |= 1 << VX_CSD_STUCK
    return found

