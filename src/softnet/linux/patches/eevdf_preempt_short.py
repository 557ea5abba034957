# SPDX-License-Identifier: GPL-2.0-or-later
"""sched/eevdf: Allow shorter slices to wakeup-preempt.

The running task's protection can be cancelled, by a shorter slice that wakes; and who runs unprotected and is owed nothing gives
way whenever time is charged, not only at its deadline. Slices differ by sched_attr::sched_runtime alone (857b158dc5e8), which no
scenario sets: here only the second shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc

if TYPE_CHECKING:
    from softnet.linux.kernel.sched.fair import calc_delta_fair, clear_buddies, rq_of
    from softnet.linux.kernel.sched.sched import cfs_rq, sched_entity
    from softnet.linux.patches.eevdf import entity_before, entity_eligible, pick_eevdf, protect_slice, update_deadline
    from softnet.machine.sched import resched_curr_lazy
    from softnet.machine.state import cpu_hw, task_struct
    from softnet.machine.timers import rq_clock_task


PATCH = {
    "commit": "85e511df3cec",
    "subject": "sched/eevdf: Allow shorter slices to wakeup-preempt",
    "since": "6.12",
    "link": "https://lore.kernel.org/r/20240727105030.735459544@infradead.org",
}


@hwfunc
def cancel_protect_slice(se: sched_entity) -> None:
    """fair.c:898 (6.12)."""
    if protect_slice(se):
        se.vlag = se.deadline + 1


@hwfunc
def did_preempt_short(cfs_rq: cfs_rq, curr: sched_entity) -> bool:
    """fair.c:1186 (6.12)."""
    if protect_slice(curr):
        return False
    return not entity_eligible(cfs_rq, curr)


@hwfunc
def do_preempt_short(cfs_rq: cfs_rq, pse: sched_entity, se: sched_entity) -> bool:
    """fair.c:1197 (6.12)."""
    if pse.slice >= se.slice:
        return False
    if not entity_eligible(cfs_rq, pse):
        return False
    if entity_before(pse, se):
        return True
    return not entity_eligible(cfs_rq, se)


@hwfunc
def update_curr(cfs_rq: cfs_rq) -> None:
    """fair.c:1233 (6.12)."""
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
    if cfs_rq.nr_running == 1:
        return
    if resched or did_preempt_short(cfs_rq, curr):
        resched_curr_lazy(rq_of(cfs_rq))
        clear_buddies(cfs_rq, curr)


@hwfunc
def check_preempt_wakeup(rq: cpu_hw, p: task_struct, wake_flags: int) -> None:
    """fair.c:8865 (6.12), check_preempt_wakeup_fair()."""
    se = rq.task.se
    pse = p.se
    if se == pse:
        return
    if rq.need_resched:
        return
    update_curr(rq.cfs)
    if do_preempt_short(rq.cfs, pse, se):
        cancel_protect_slice(se)
    if pick_eevdf(rq.cfs) == pse:
        resched_curr_lazy(rq)
