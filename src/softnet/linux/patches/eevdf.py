# SPDX-License-Identifier: GPL-2.0-or-later
"""sched/fair: Implement an EEVDF-like scheduling policy.

Of the entities that are owed service, that with the earliest virtual deadline runs: kernel/sched/fair.c of v6.6, with e8f331bcc270
(lag survives sleep and migration), 5e963f2bd465 (CFS goes) and 63304558ba5d (RUN_TO_PARITY). The tree is ordered by deadline, as
since 2227a957e1d5 (v6.8, in 6.6.y); before it was ordered by vruntime and searched for the same entity. v0 of the sums is
zero_vruntime, as since 79f3f9bedd14 (in 6.12.y); before it was min_vruntime. The average does not depend on v0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, hw, hwfunc
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.linux.kernel.sched.core import check_preempt_curr
    from softnet.linux.kernel.sched.fair import (
        __pick_first_entity,
        account_entity_dequeue,
        account_entity_enqueue,
        calc_delta_fair,
        clear_buddies,
        get_update_sysctl_factor,
        rq_of,
        task_of,
        task_on_rq_queued,
    )
    from softnet.linux.kernel.sched.sched import ENQUEUE_MIGRATED
    from softnet.machine.runqueue import rq_link, rq_unlink
    from softnet.machine.sched import resched_curr, resched_curr_lazy
    from softnet.machine.state import cpu_hw, task_struct
    from softnet.machine.timers import rq_clock_task, tick_nsec


PATCH = {
    "commit": "147f3efaa241",
    "subject": "sched/fair: Implement an EEVDF-like scheduling policy",
    "since": "6.6",
    "link": "https://lore.kernel.org/r/20230531124603.931005524@infradead.org",
}


class sched_entity(Struct, extends=True):
    """include/linux/sched.h."""

    deadline: int = hw(statistic=True)
    """When its request is to be served, in virtual time."""
    slice: int = hw(statistic=True)
    """How long its request is, in ns."""
    vlag: int = hw(statistic=True)
    """Off the queue: the virtual time that it was owed. Of the running one: its deadline when it was picked."""


class cfs_rq(Struct, extends=True):
    """kernel/sched/sched.h: the sums from which the average vruntime follows, of those in the tree."""

    avg_vruntime: int = hw(statistic=True)
    """Of (vruntime - zero_vruntime) * weight."""
    avg_load: int = hw(statistic=True)
    """Of weight."""
    zero_vruntime: int = hw(init=-(1 << 20), statistic=True)
    """v0, near the average, so that the products stay small."""


class sched_sysctls(Struct, extends=True):
    """e4ec3318a17f: base_slice_ns takes the place of CFS's three."""

    sysctl_sched_base_slice: int = hw(init=700000)
    """In ns."""


@hwfunc(visible="all", x86="locked")
def update_sysctl(nr_online: int) -> None:
    """fair.c:207 (6.12)."""
    table(sched_sysctls, 0).sysctl_sched_base_slice = get_update_sysctl_factor(nr_online) * 700000


@hwfunc
def div_s64(dividend: int, divisor: int) -> int:
    """include/linux/math64.h: towards zero, of a positive divisor."""
    if dividend < 0:
        return -(-dividend // divisor)
    return dividend // divisor


@hwfunc
def entity_before(a: sched_entity, b: sched_entity) -> bool:
    """fair.c:545 (6.12)."""
    return a.deadline < b.deadline


@hwfunc
def entity_key(cfs_rq: cfs_rq, se: sched_entity) -> int:
    """fair.c:569 (6.12)."""
    return se.vruntime - cfs_rq.zero_vruntime


@hwfunc
def avg_vruntime_add(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:635 (6.12)."""
    cfs_rq.avg_vruntime += entity_key(cfs_rq, se) * se.load.weight
    cfs_rq.avg_load += se.load.weight


@hwfunc
def avg_vruntime_sub(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:645 (6.12)."""
    cfs_rq.avg_vruntime -= entity_key(cfs_rq, se) * se.load.weight
    cfs_rq.avg_load -= se.load.weight


@hwfunc
def update_zero_vruntime(cfs_rq: cfs_rq, delta: int) -> None:
    """fair.c:655 (6.12)."""
    cfs_rq.avg_vruntime -= cfs_rq.avg_load * delta
    cfs_rq.zero_vruntime += delta


@hwfunc
def avg_vruntime(cfs_rq: cfs_rq) -> int:
    """fair.c:676 (6.12): V, the weighted average of all that compete, rounded down, so that who stands there is eligible."""
    curr = cfs_rq.curr
    weight = cfs_rq.avg_load
    delta = 0
    if curr is not None and not curr.on_rq:
        curr = None
    if weight:
        runtime = cfs_rq.avg_vruntime
        if curr is not None:
            runtime += entity_key(cfs_rq, curr) * curr.load.weight
            weight += curr.load.weight
        if runtime < 0:
            runtime -= weight - 1
        delta = div_s64(runtime, weight)
    elif curr is not None:
        delta = curr.vruntime - cfs_rq.zero_vruntime
    update_zero_vruntime(cfs_rq, delta)
    return cfs_rq.zero_vruntime


@hwfunc
def entity_lag(avruntime: int, se: sched_entity) -> int:
    """fair.c:729 (6.12): the lag, within two slices and at least a tick either way."""
    limit = calc_delta_fair(max(2 * se.slice, tick_nsec()), se)
    return min(max(avruntime - se.vruntime, -limit), limit)


@hwfunc
def update_entity_lag(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:739 (6.12)."""
    se.vlag = entity_lag(avg_vruntime(cfs_rq), se)


@hwfunc
def entity_eligible(cfs_rq: cfs_rq, se: sched_entity) -> bool:
    """fair.c:779 (6.12), vruntime_eligible(): it got no more than its share. Without the rounding of a division."""
    curr = cfs_rq.curr
    avg = cfs_rq.avg_vruntime
    load = cfs_rq.avg_load
    if curr is not None and curr.on_rq:
        avg += entity_key(cfs_rq, curr) * curr.load.weight
        load += curr.load.weight
    return avg >= entity_key(cfs_rq, se) * load


@hwfunc
def __enqueue_entity(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:848 (6.12): into the tree, behind its equals."""
    avg_vruntime_add(cfs_rq, se)
    rq = rq_of(cfs_rq)
    before: task_struct = None
    after = rq.fair_head
    while after is not None and not entity_before(se, after.se):
        before = after
        after = after.rq_next
    rq_link(rq, before, task_of(se), False)


@hwfunc
def __dequeue_entity(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:857 (6.12): out of the tree."""
    rq_unlink(rq_of(cfs_rq), task_of(se), False)
    avg_vruntime_sub(cfs_rq, se)


@hwfunc
def set_protect_slice(se: sched_entity) -> None:
    """fair.c:888 (6.12), there a function of its own: nobody takes the CPU before the deadline of now. A hack, says the kernel."""
    se.vlag = se.deadline


@hwfunc
def protect_slice(se: sched_entity) -> bool:
    """fair.c:893 (6.12): the running one still has the deadline with which it was picked."""
    return se.vlag == se.deadline


@hwfunc
def pick_eevdf(cfs_rq: cfs_rq) -> sched_entity:
    """fair.c:926 (6.12): the eligible entity with the earliest virtual deadline; the tree's heap search is a walk here."""
    first = rq_of(cfs_rq).fair_head
    curr = cfs_rq.curr
    best: sched_entity = None
    if cfs_rq.nr_running == 1:
        if curr is not None and curr.on_rq:
            return curr
        return __pick_first_entity(cfs_rq)
    if curr is not None and (not curr.on_rq or not entity_eligible(cfs_rq, curr)):
        curr = None
    # RUN_TO_PARITY: until it is no longer eligible, or has had its slice.
    if curr is not None and protect_slice(curr):
        return curr
    while first is not None and best is None:
        if entity_eligible(cfs_rq, first.se):
            best = first.se
        first = first.rq_next
    if best is None or (curr is not None and entity_before(curr, best)):
        best = curr
    return best


@hwfunc
def update_deadline(cfs_rq: cfs_rq, se: sched_entity) -> bool:
    """fair.c:1028 (6.12): whether the running one has consumed its request; then it has a new one."""
    if se.vruntime < se.deadline:
        return False
    se.slice = table(sched_sysctls, 0).sysctl_sched_base_slice
    se.deadline = se.vruntime + calc_delta_fair(se.slice, se)
    avg_vruntime(cfs_rq)
    return True


@hwfunc
def update_curr(cfs_rq: cfs_rq) -> None:
    """fair.c:1169 (6.6): up to 6.11 update_deadline() itself asks to reschedule."""
    curr = cfs_rq.curr
    if curr is None:
        return
    now = rq_clock_task()
    delta_exec = now - curr.exec_start
    if delta_exec <= 0:
        return
    curr.exec_start = now
    curr.sum_exec_runtime += delta_exec
    curr.vruntime += calc_delta_fair(delta_exec, curr)
    if update_deadline(cfs_rq, curr) and cfs_rq.nr_running > 1:
        resched_curr_lazy(rq_of(cfs_rq))
        clear_buddies(cfs_rq, curr)


@hwfunc
def place_entity(cfs_rq: cfs_rq, se: sched_entity, flags: int) -> None:
    """fair.c:5294 (6.12): with the lag that it had; that it counts in the average itself is made up for. 86bfbb7ce4f6.

    ENQUEUE_INITIAL's half slice is not there: nothing forks in the model.
    """
    vruntime = avg_vruntime(cfs_rq)
    lag = 0
    se.slice = table(sched_sysctls, 0).sysctl_sched_base_slice
    if cfs_rq.nr_running:
        curr = cfs_rq.curr
        load = cfs_rq.avg_load
        if curr is not None and curr.on_rq:
            load += curr.load.weight
        lag = se.vlag * (load + se.load.weight)
        lag = div_s64(lag, max(load, 1))
    se.vruntime = vruntime - lag
    se.deadline = se.vruntime + calc_delta_fair(se.slice, se)


@hwfunc
def enqueue_entity(cfs_rq: cfs_rq, se: sched_entity, flags: int) -> None:
    """fair.c:5410 (6.12)."""
    curr = cfs_rq.curr == se
    if curr:
        place_entity(cfs_rq, se, flags)
    update_curr(cfs_rq)
    if not curr:
        place_entity(cfs_rq, se, flags)
    account_entity_enqueue(cfs_rq, se)
    if flags & ENQUEUE_MIGRATED:
        se.exec_start = 0
    if not curr:
        __enqueue_entity(cfs_rq, se)
    se.on_rq = True


@hwfunc
def dequeue_entity(cfs_rq: cfs_rq, se: sched_entity, flags: int) -> bool:
    """fair.c:5226 (6.6)."""
    update_curr(cfs_rq)
    clear_buddies(cfs_rq, se)
    update_entity_lag(cfs_rq, se)
    if se != cfs_rq.curr:
        __dequeue_entity(cfs_rq, se)
    se.on_rq = False
    account_entity_dequeue(cfs_rq, se)
    return True


@hwfunc
def set_next_entity(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:5621 (6.12)."""
    clear_buddies(cfs_rq, se)
    if se.on_rq:
        __dequeue_entity(cfs_rq, se)
        set_protect_slice(se)
    se.exec_start = rq_clock_task()
    cfs_rq.curr = se
    se.prev_sum_exec_runtime = se.sum_exec_runtime


@hwfunc
def pick_next_entity(cfs_rq: cfs_rq, curr: sched_entity) -> sched_entity:
    """fair.c:5311 (6.6). NEXT_BUDDY is off."""
    return pick_eevdf(cfs_rq)


@hwfunc
def entity_tick(cfs_rq: cfs_rq, curr: sched_entity) -> None:
    """fair.c:5720 (6.12): a slice ends in update_curr()."""
    update_curr(cfs_rq)


@hwfunc
def check_preempt_wakeup(rq: cpu_hw, p: task_struct, wake_flags: int) -> None:
    """fair.c:8187 (6.6), check_preempt_wakeup_fair() since 6.7: the woken preempts if it is the one to be picked."""
    if rq.task == p:
        return
    if rq.need_resched:
        return
    update_curr(rq.cfs)
    if pick_eevdf(rq.cfs) == p.se:
        resched_curr_lazy(rq)


@hwfunc
def switched_from_fair(rq: cpu_hw, p: task_struct) -> None:
    """fair.c:13351 (6.12): its lag stays with it. e8f331bcc270."""


@hwfunc
def switched_to_fair(rq: cpu_hw, p: task_struct) -> None:
    """fair.c:13356 (6.12)."""
    if not task_on_rq_queued(p):
        return
    if rq.task == p:
        resched_curr(rq)
    else:
        check_preempt_curr(rq, p, 0)


@hwfunc
def migrate_task_rq_fair(p: task_struct, new_cpu: int) -> None:
    """fair.c:8764 (6.12): lag is the same on every CPU. e8f331bcc270."""
