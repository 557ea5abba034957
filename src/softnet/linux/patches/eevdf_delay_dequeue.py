# SPDX-License-Identifier: GPL-2.0-or-later
"""sched/fair: Implement delayed dequeue.

A task that sleeps while it has had more than its share stays on the queue, and competes, until it is owed service again: so it does
not sleep its debt away. With 54a58a787791 (DELAY_ZERO: nor does it wake with credit for that time), e1459a50ba31 (special task
states) and 82e9d0456e06 (a deadline survives migration and changes of class).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, hw, hwfunc
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.sched.core import (
        check_class_changed,
        check_preempt_curr,
        dequeue_task,
        enqueue_task,
        put_prev_task,
        set_next_task,
    )
    from softnet.linux.kernel.sched.fair import (
        account_entity_dequeue,
        calc_delta_fair,
        clear_buddies,
        rt_class,
        task_on_rq_queued,
    )
    from softnet.linux.kernel.sched.sched import *
    from softnet.linux.patches.eevdf import (
        __dequeue_entity,
        __enqueue_entity,
        avg_vruntime,
        div_s64,
        enqueue_entity,
        entity_eligible,
        pick_eevdf,
        sched_sysctls,
        update_curr,
        update_entity_lag,
    )
    from softnet.machine.state import MAX_RT_PRIO, TASK_PARKED, cpu_hw, task_struct


PATCH = {
    "commit": "152e11f6df29",
    "subject": "sched/fair: Implement delayed dequeue",
    "since": "6.12",
    "link": "https://lore.kernel.org/r/20240727105030.226163742@infradead.org",
}

DEQUEUE_SPECIAL = 0x10
DEQUEUE_DELAYED = 0x200
ENQUEUE_DELAYED = 0x200


class sched_entity(Struct, extends=True):
    """include/linux/sched.h."""

    sched_delayed: bool = hw()
    """Its task sleeps, and it competes still."""
    rel_deadline: bool = hw()
    """Off the queue: whether ``deadline`` is relative to vruntime."""


@hwfunc
def place_entity(cfs_rq: cfs_rq, se: sched_entity, flags: int) -> None:
    """fair.c:5294 (6.12): as before, but one that did not sleep keeps its deadline."""
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
    if se.rel_deadline:
        se.deadline += se.vruntime
        se.rel_deadline = False
        return
    se.deadline = se.vruntime + calc_delta_fair(se.slice, se)


@hwfunc
def finish_delayed_dequeue_entity(se: sched_entity) -> None:
    """fair.c:5541 (6.12)."""
    se.sched_delayed = False
    if se.vlag > 0:
        se.vlag = 0


@hwfunc
def dequeue_entity(cfs_rq: cfs_rq, se: sched_entity, flags: int) -> bool:
    """fair.c:5549 (6.12): false when it is put off."""
    sleep = flags & DEQUEUE_SLEEP
    update_curr(cfs_rq)
    clear_buddies(cfs_rq, se)
    if not flags & DEQUEUE_DELAYED:
        if sleep and not flags & DEQUEUE_SPECIAL and not entity_eligible(cfs_rq, se):
            se.sched_delayed = True
            return False
    update_entity_lag(cfs_rq, se)
    if not sleep:
        se.deadline -= se.vruntime
        se.rel_deadline = True
    if se != cfs_rq.curr:
        __dequeue_entity(cfs_rq, se)
    se.on_rq = False
    account_entity_dequeue(cfs_rq, se)
    if flags & DEQUEUE_DELAYED:
        finish_delayed_dequeue_entity(se)
    return True


@hwfunc
def requeue_delayed_entity(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:6984 (6.12): woken before it had left; credit that came while it slept is lost."""
    update_entity_lag(cfs_rq, se)
    if se.vlag > 0:
        cfs_rq.nr_running -= 1
        if se != cfs_rq.curr:
            __dequeue_entity(cfs_rq, se)
        se.vlag = 0
        place_entity(cfs_rq, se, 0)
        if se != cfs_rq.curr:
            __enqueue_entity(cfs_rq, se)
        cfs_rq.nr_running += 1
    se.sched_delayed = False


@hwfunc
def enqueue_task_fair(rq: cpu_hw, p: task_struct, flags: int) -> None:
    """fair.c:7020 (6.12)."""
    if flags & ENQUEUE_DELAYED:
        requeue_delayed_entity(rq.cfs, p.se)
        return
    if p.se.on_rq:
        if p.se.sched_delayed:
            requeue_delayed_entity(rq.cfs, p.se)
        return
    enqueue_entity(rq.cfs, p.se, flags)


@hwfunc
def pick_next_entity(cfs_rq: cfs_rq, curr: sched_entity) -> sched_entity:
    """fair.c:5671 (6.12): None when the chosen one only waited to leave, and left; then there is another choice to make."""
    se = pick_eevdf(cfs_rq)
    if se.sched_delayed:
        dequeue_entity(cfs_rq, se, DEQUEUE_SLEEP | DEQUEUE_DELAYED)
        return None
    return se


@hwfunc
def pick_task_fair(rq: cpu_hw) -> sched_entity:
    """fair.c:8956 (6.12)."""
    cfs_rq = rq.cfs
    se: sched_entity = None
    while se is None and cfs_rq.nr_running:
        curr = cfs_rq.curr
        if curr is not None and curr.on_rq:
            update_curr(cfs_rq)
        se = pick_next_entity(cfs_rq, curr)
    return se


@hwfunc
def ttwu_runnable(rq: cpu_hw, p: task_struct) -> None:
    """kernel/sched/core.c:3756 (6.12)."""
    if p.se.sched_delayed:
        enqueue_task(rq, p, ENQUEUE_DELAYED)
    if not p.on_cpu:
        check_preempt_curr(rq, p, 0)


@hwfunc
def try_to_block_task(rq: cpu_hw, p: task_struct) -> None:
    """kernel/sched/core.c:6575 (6.12): special states, of those here TASK_PARKED, suffer no spurious wakeup."""
    flags = DEQUEUE_SLEEP
    if p.state & TASK_PARKED:
        flags |= DEQUEUE_SPECIAL
    dequeue_task(rq, p, flags)


@hwfunc
def can_migrate_task(p: task_struct) -> bool:
    """fair.c:9478 (6.12): load balancing leaves those alone that only wait to leave."""
    return not p.se.sched_delayed


@hwfunc
def rt_mutex_setprio(p: task_struct, prio: int) -> None:
    """kernel/sched/core.c:7159 (6.12): as before, but who leaves the fair class while it waits to leave the queue leaves now."""
    oldprio = p.prio
    if oldprio == prio:
        return
    trace_sched_pi_setprio(p.pid, oldprio, prio)
    rq = table(cpu_hw, p.cpu)
    was_rt = rt_class(p)
    queue_flag = DEQUEUE_SAVE | DEQUEUE_MOVE
    if was_rt != (prio < MAX_RT_PRIO) and p.se.sched_delayed:
        dequeue_task(rq, p, DEQUEUE_SLEEP | DEQUEUE_DELAYED)
    queued = task_on_rq_queued(p)
    running = rq.task == p
    if queued:
        dequeue_task(rq, p, queue_flag)
    if running:
        put_prev_task(rq, p)
    if prio < MAX_RT_PRIO and oldprio < prio:
        queue_flag |= ENQUEUE_HEAD
    p.prio = prio
    if queued:
        enqueue_task(rq, p, queue_flag)
    if running:
        set_next_task(rq, p)
    check_class_changed(rq, p, was_rt, oldprio)
