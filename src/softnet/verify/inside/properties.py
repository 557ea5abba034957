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
        net_hotdata,
        softnet_data,
    )
    from softnet.linux.include.linux.skbuff import SKB_STATE_IN_USE, sk_buff
    from softnet.linux.kernel.softirq import irq_cpustat_t
    from softnet.machine.globals import hw
    from softnet.machine.nic import nic_waiting
    from softnet.machine.state import CTX_TASK, NEVER, TASK_UNINTERRUPTIBLE, cpu_hw, nic_queue
    from softnet.verify.inside.buffers import VX_STORE_BUFFER, vx_buffered
    from softnet.verify.inside.calls import vx_defer_call
    from softnet.verify.inside.harness import (
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
    from softnet.verify.inside.user_properties import vx_user_pending, vx_user_state, vx_user_terminal
    from softnet.verify.inside.words import verify_env, vx_driver, vx_skb


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
    """What must hold where nothing can happen any more: a mask of the properties that do not hold.

    What is owed is looked for along the chain that would do it, and the first broken link is what is found: who waits for a
    lock; a function call or a softirq that does not run; a poll list without NET_RX; only then what nobody was asked to do.
    """
    found: int = vx_user_terminal() | vx_user_pending()
    if blocked != 0:
        return found | 1 << VX_DEADLOCK
    owed = 0
    for cpu in range(hw.nr_cpus):
        owed |= vx_cpu_owes(table(cpu_hw, cpu), table(softnet_data, cpu))
    if owed & 1 << VX_DEADLOCK != 0:
        return found | 1 << VX_DEADLOCK
    if owed != 0:
        return found | owed
    for cpu in range(hw.nr_cpus):
        if vx_polls(table(softnet_data, cpu)):
            return found | 1 << VX_POLL_LIST_STUCK
    for cpu in range(hw.nr_cpus):
        found |= vx_left_behind(table(cpu_hw, cpu), table(softnet_data, cpu))
    found |= vx_drivers_stuck()
    return found | vx_leaked() if found == 0 else found


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
    return found


@hwfunc
def vx_left_behind(c: cpu_hw, sd: softnet_data) -> int:
    """What nobody was asked to do. A dead CPU's parked thread owns its backlog."""
    found = 0
    sched = sd.backlog.state & NAPIF_STATE_SCHED != 0
    parked = c.online == 0 and sd.backlog.state & NAPIF_STATE_SCHED_THREADED != 0
    if sched and not parked and not vx_linked(sd):
        found |= 1 << VX_SCHED_WITHOUT_OWNER
    elif sd.input_pkt_queue.qlen != 0 or sd.process_queue.qlen != 0:
        found |= 1 << VX_BACKLOG_STUCK
    if address_of(sd.defer_list) == 0:
        return found
    if c.online == 0:
        found |= 1 << VX_STRANDED
    elif sd.defer_count > table(net_hotdata, 0).sysctl_skb_defer_max >> 1 and sd.defer_ipi_scheduled == 0 and not sched:
        # With defer_ipi_scheduled set it is that flag which keeps kicks away, with SCHED whoever forgot that.
        found |= 1 << VX_LOST_KICK
    return found


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
        if nic_waiting(table(nic_queue, i)) != 0:
            return 1 << VX_DRIVER_STUCK
    return 0


@hwfunc
def vx_leaked() -> int:
    """Whether an skb in use is on no defer list, and not with a device whose CPU went offline before its interrupt."""
    kept = 0
    for i in range(table_len(vx_driver)):
        d = table(vx_driver, i)
        if d.kind == VX_IRQ:
            kept += d.count - d.started + d.raised
    for cpu in range(hw.nr_cpus):
        skb = table(softnet_data, cpu).defer_list
        while skb is not None:
            kept += 1
            skb = skb.next
    for i in range(table_len(sk_buff)):
        if table(sk_buff, i).state == SKB_STATE_IN_USE:
            kept -= 1
    return 1 << VX_LEAK if kept != 0 else 0
