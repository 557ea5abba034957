# SPDX-License-Identifier: GPL-2.0-or-later
"""sched/fair: Limit run to parity to the min slice of enqueued entities.

The running task is protected for the shortest slice on the queue, and not for its own longer one; and when its protection ends it
is asked for again, eligible or not. With 3a0baa8e6c57 (the end of the protection has a field of its own) and 0b9ca2dcabc3 (always
reschedule there). Slices are equal here, so the first does not show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, hw, hwfunc

if TYPE_CHECKING:
    from softnet.linux.kernel.sched.fair import __pick_first_entity, calc_delta_fair, clear_buddies, rq_of
    from softnet.linux.kernel.sched.sched import *
    from softnet.linux.patches.eevdf import __dequeue_entity, entity_before, entity_eligible, update_deadline
    from softnet.linux.patches.fair_server import dl_server_update
    from softnet.machine.sched import resched_curr_lazy
    from softnet.machine.state import cpu_hw, task_struct
    from softnet.machine.timers import rq_clock_task


PATCH = {
    "commit": "052c3d87c82e",
    "subject": "sched/fair: Limit run to parity to the min slice of enqueued entities",
    "since": "6.17",
    "link": "https://lore.kernel.org/r/20250708165630.1948751-5-vincent.guittot@linaro.org",
}


class sched_entity(Struct, extends=True):
    """include/linux/sched.h."""

    vprot: int = hw(statistic=True)
    """Of the running one: up to what vruntime nobody takes the CPU from it."""


@hwfunc
def cfs_rq_min_slice(cfs_rq: cfs_rq) -> int:
    """fair.c:744 (6.18): of all that compete; the tree keeps the least of each subtree, here is a walk. A second if nobody does."""
    curr = cfs_rq.curr
    min_slice = 1000000000
    if curr is not None and curr.on_rq:
        min_slice = curr.slice
    p = rq_of(cfs_rq).fair_head
    while p is not None:
        min_slice = min(min_slice, p.se.slice)
        p = p.rq_next
    return min_slice


@hwfunc
def set_protect_slice(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:866 (6.18)."""
    slice = min(cfs_rq_min_slice(cfs_rq), se.slice)
    se.vprot = se.deadline
    if slice != se.slice:
        se.vprot = min(se.vprot, se.vruntime + calc_delta_fair(slice, se))


@hwfunc
def update_protect_slice(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:881 (6.18): somebody with a shorter slice came."""
    se.vprot = min(se.vprot, se.vruntime + calc_delta_fair(cfs_rq_min_slice(cfs_rq), se))


@hwfunc
def protect_slice(se: sched_entity) -> bool:
    """fair.c:888 (6.18)."""
    return se.vprot > se.vruntime


@hwfunc
def cancel_protect_slice(se: sched_entity) -> None:
    """fair.c:893 (6.18)."""
    if protect_slice(se):
        se.vprot = se.vruntime


@hwfunc
def __pick_eevdf(cfs_rq: cfs_rq, protect: bool) -> sched_entity:
    """fair.c:917 (6.18): the eligible entity with the earliest virtual deadline."""
    first = rq_of(cfs_rq).fair_head
    curr = cfs_rq.curr
    best: sched_entity = None
    if cfs_rq.nr_running == 1:
        if curr is not None and curr.on_rq:
            return curr
        return __pick_first_entity(cfs_rq)
    if curr is not None and (not curr.on_rq or not entity_eligible(cfs_rq, curr)):
        curr = None
    if curr is not None and protect and protect_slice(curr):
        return curr
    while first is not None and best is None:
        if entity_eligible(cfs_rq, first.se):
            best = first.se
        first = first.rq_next
    if best is None or (curr is not None and entity_before(curr, best)):
        best = curr
    return best


@hwfunc
def pick_eevdf(cfs_rq: cfs_rq) -> sched_entity:
    """fair.c:976 (6.18)."""
    return __pick_eevdf(cfs_rq, True)


@hwfunc
def set_next_entity(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:5417 (6.18)."""
    clear_buddies(cfs_rq, se)
    if se.on_rq:
        __dequeue_entity(cfs_rq, se)
        set_protect_slice(cfs_rq, se)
    se.exec_start = rq_clock_task()
    cfs_rq.curr = se
    se.prev_sum_exec_runtime = se.sum_exec_runtime


@hwfunc
def update_curr(cfs_rq: cfs_rq) -> None:
    """fair.c:1181 (6.18)."""
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
    resched = update_deadline(cfs_rq, curr)
    rq = rq_of(cfs_rq)
    if rq.fair_server.dl_server_active:
        dl_server_update(rq, delta_exec)
    if cfs_rq.nr_running == 1:
        return
    if resched or not protect_slice(curr):
        resched_curr_lazy(rq)
        clear_buddies(cfs_rq, curr)


@hwfunc
def check_preempt_wakeup(rq: cpu_hw, p: task_struct, wake_flags: int) -> None:
    """fair.c:8704 (6.18), check_preempt_wakeup_fair()."""
    se = rq.task.se
    pse = p.se
    if se == pse:
        return
    if rq.need_resched:
        return
    update_curr(rq.cfs)
    short = pse.slice < se.slice
    if __pick_eevdf(rq.cfs, not short) == pse:
        if short:
            cancel_protect_slice(se)
        resched_curr_lazy(rq)
    elif short:
        update_protect_slice(rq.cfs, se)
