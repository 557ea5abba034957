# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/sched/fair.c (6.1): CFS, the completely fair scheduler.

Left out: PELT and load balancing, task groups, bandwidth control, SCHED_BATCH and SCHED_IDLE, sched_yield() and its skip buddy,
core scheduling. The tree is a list (machine/runqueue.py): run queues are short, and the order is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import container_of, fls, table

if TYPE_CHECKING:
    from softnet.linux.kernel.sched.core import check_preempt_curr
    from softnet.linux.kernel.sched.sched import *
    from softnet.machine.runqueue import rq_link, rq_unlink
    from softnet.machine.sched import resched_curr, resched_curr_lazy
    from softnet.machine.state import MAX_RT_PRIO, SCHED_IDLE_TASK, cpu_hw, task_struct
    from softnet.machine.timers import rq_clock_task


@hwfunc(inline="always")
def task_of(se: sched_entity) -> task_struct:
    """kernel/sched/fair.c (6.1)."""
    return container_of(se, task_struct, "se")


@hwfunc(inline="always")
def rq_of(cfs_rq: cfs_rq) -> cpu_hw:
    """kernel/sched/sched.h (6.1)."""
    return container_of(cfs_rq, cpu_hw, "cfs")


@hwfunc(inline="always")
def rt_class(p: task_struct) -> bool:
    """p->sched_class == &rt_sched_class: its policy or inheritance gives it a real-time priority."""
    return p.prio < MAX_RT_PRIO


@hwfunc(inline="always")
def fair_class(p: task_struct) -> bool:
    """p->sched_class == &fair_sched_class."""
    return bool(p.prio >= MAX_RT_PRIO and p.policy != SCHED_IDLE_TASK)


@hwfunc(inline="always")
def task_on_rq_queued(p: task_struct) -> bool:
    """kernel/sched/sched.h: it waits, or it runs and has not blocked, which here are one step."""
    return bool(p.on_rq or p.on_cpu)


@hwfunc
def get_update_sysctl_factor(nr_online: int) -> int:
    """fair.c:238 (6.1): SCHED_TUNABLESCALING_LOG, 1 + ilog2(min(online CPUs, 8))."""
    return fls(min(max(nr_online, 1), 8))


@hwfunc(visible="all", x86="locked")
def update_sysctl(nr_online: int) -> None:
    """fair.c:258 (6.1): at boot, and whenever a CPU comes or goes. What CONFIG_SMP's tables state is for one CPU."""
    factor = get_update_sysctl_factor(nr_online)
    t = table(sched_sysctls, 0)
    t.sysctl_sched_latency = factor * 6000000
    t.sysctl_sched_min_granularity = factor * 750000
    t.sysctl_sched_wakeup_granularity = factor * 1000000


@hwfunc
def mul_u64_u32_shr(a: int, mul: int, shift: int) -> int:
    """include/linux/math64.h: (a * mul) >> shift of a wide product; ``a`` below 2**47, ``shift`` at least 16."""
    return ((a >> 16) * mul + ((a & 0xFFFF) * mul >> 16)) >> (shift - 16)


@hwfunc
def __calc_delta(delta_exec: int, weight: int, lw: load_weight) -> int:
    """fair.c:308 (6.1): delta_exec * weight / lw->weight, by the inverse that the kernel keeps, with its rounding."""
    fact = weight
    shift = WMULT_SHIFT
    if not lw.inv_weight:
        lw.inv_weight = WMULT_CONST // lw.weight
    fact = fact * lw.inv_weight
    fact_hi = fact >> 32
    if fact_hi:
        fs = fls(fact_hi)
        shift -= fs
        fact = fact >> fs
    return mul_u64_u32_shr(delta_exec, fact, shift)


@hwfunc
def calc_delta_fair(delta: int, se: sched_entity) -> int:
    """fair.c:695 (6.1): real time as virtual time of this entity."""
    if se.load.weight != NICE_0_LOAD:
        return __calc_delta(delta, NICE_0_LOAD, se.load)
    return delta


@hwfunc
def entity_before(a: sched_entity, b: sched_entity) -> bool:
    """fair.c:582 (6.1): the tree's order."""
    return a.vruntime < b.vruntime


@hwfunc
def __enqueue_entity(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:629 (6.1): into the tree, behind its equals."""
    rq = rq_of(cfs_rq)
    before: task_struct = None
    after = rq.fair_head
    while after is not None and not entity_before(se, after.se):
        before = after
        after = after.rq_next
    rq_link(rq, before, task_of(se), False)


@hwfunc
def __dequeue_entity(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:634 (6.1): out of the tree."""
    rq_unlink(rq_of(cfs_rq), task_of(se), False)


@hwfunc
def __pick_first_entity(cfs_rq: cfs_rq) -> sched_entity:
    """fair.c:639 (6.1): the leftmost."""
    first = rq_of(cfs_rq).fair_head
    if first is None:
        return None
    return first.se


@hwfunc
def update_min_vruntime(cfs_rq: cfs_rq) -> None:
    """fair.c:592 (6.1)."""
    curr = cfs_rq.curr
    vruntime = cfs_rq.min_vruntime
    if curr is not None:
        if curr.on_rq:
            vruntime = curr.vruntime
        else:
            curr = None
    se = __pick_first_entity(cfs_rq)
    if se is not None:
        if curr is None:
            vruntime = se.vruntime
        else:
            vruntime = min(vruntime, se.vruntime)
    # Time must not be gained by being placed backwards.
    cfs_rq.min_vruntime = max(cfs_rq.min_vruntime, vruntime)


@hwfunc
def __sched_period(nr_running: int) -> int:
    """fair.c:710 (6.1): in this time everybody runs once."""
    t = table(sched_sysctls, 0)
    if nr_running > t.sched_nr_latency:
        return nr_running * t.sysctl_sched_min_granularity
    return t.sysctl_sched_latency


@hwfunc
def sched_slice(cfs_rq: cfs_rq, se: sched_entity) -> int:
    """fair.c:726 (6.1): this entity's share of the period, at least the minimal granularity (BASE_SLICE). ``se`` competes."""
    slice = __sched_period(cfs_rq.nr_running)
    slice = __calc_delta(slice, se.load.weight, cfs_rq.load)
    return max(slice, table(sched_sysctls, 0).sysctl_sched_min_granularity)


@hwfunc
def update_curr(cfs_rq: cfs_rq) -> None:
    """fair.c:882 (6.1): charge the running task for the time since it was charged last."""
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
    update_min_vruntime(cfs_rq)


@hwfunc
def account_entity_enqueue(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:3048 (6.1)."""
    cfs_rq.load.weight += se.load.weight
    cfs_rq.load.inv_weight = 0
    cfs_rq.nr_running += 1


@hwfunc
def account_entity_dequeue(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:3063 (6.1)."""
    cfs_rq.load.weight -= se.load.weight
    cfs_rq.load.inv_weight = 0
    cfs_rq.nr_running -= 1


@hwfunc
def place_entity(cfs_rq: cfs_rq, se: sched_entity, flags: int) -> None:
    """fair.c:4649 (6.1), initial = 0: whoever slept has half a latency of credit at most (GENTLE_FAIR_SLEEPERS).

    Nothing forks in the model: its tasks exist when time begins.
    """
    vruntime = cfs_rq.min_vruntime - (table(sched_sysctls, 0).sysctl_sched_latency >> 1)
    se.vruntime = max(se.vruntime, vruntime)


@hwfunc
def enqueue_entity(cfs_rq: cfs_rq, se: sched_entity, flags: int) -> None:
    """fair.c:4741 (6.1): a task that comes from another CPU has its vruntime relative to that one's min_vruntime."""
    renorm = bool(not flags & ENQUEUE_WAKEUP or flags & ENQUEUE_MIGRATED)
    curr = cfs_rq.curr == se
    if renorm and curr:
        se.vruntime += cfs_rq.min_vruntime
    update_curr(cfs_rq)
    if renorm and not curr:
        se.vruntime += cfs_rq.min_vruntime
    account_entity_enqueue(cfs_rq, se)
    if flags & ENQUEUE_WAKEUP:
        place_entity(cfs_rq, se, flags)
    if flags & ENQUEUE_MIGRATED:
        se.exec_start = 0
    if not curr:
        __enqueue_entity(cfs_rq, se)
    se.on_rq = True


@hwfunc
def clear_buddies(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:4833 (6.1)."""
    if cfs_rq.last == se:
        cfs_rq.last = None
    if cfs_rq.next == se:
        cfs_rq.next = None


@hwfunc
def dequeue_entity(cfs_rq: cfs_rq, se: sched_entity, flags: int) -> bool:
    """fair.c:4846 (6.1): always done; later releases may put it off (false)."""
    update_curr(cfs_rq)
    clear_buddies(cfs_rq, se)
    if se != cfs_rq.curr:
        __dequeue_entity(cfs_rq, se)
    se.on_rq = False
    account_entity_dequeue(cfs_rq, se)
    if not flags & DEQUEUE_SLEEP:
        se.vruntime -= cfs_rq.min_vruntime
    if flags & (DEQUEUE_SAVE | DEQUEUE_MOVE) != DEQUEUE_SAVE:
        update_min_vruntime(cfs_rq)
    return True


@hwfunc
def check_preempt_tick(cfs_rq: cfs_rq, curr: sched_entity) -> None:
    """fair.c:4910 (6.1): the slice is used up, or the leftmost is a whole slice behind."""
    ideal_runtime = sched_slice(cfs_rq, curr)
    delta_exec = curr.sum_exec_runtime - curr.prev_sum_exec_runtime
    if delta_exec > ideal_runtime:
        resched_curr_lazy(rq_of(cfs_rq))
        clear_buddies(cfs_rq, curr)
        return
    if delta_exec < table(sched_sysctls, 0).sysctl_sched_min_granularity:
        return
    se = __pick_first_entity(cfs_rq)
    if se is None:
        return
    delta = curr.vruntime - se.vruntime
    if delta > 0 and delta > ideal_runtime:
        resched_curr_lazy(rq_of(cfs_rq))


@hwfunc
def set_next_entity(cfs_rq: cfs_rq, se: sched_entity) -> None:
    """fair.c:4947 (6.1): it runs from now on, and is not kept in the tree."""
    clear_buddies(cfs_rq, se)
    if se.on_rq:
        __dequeue_entity(cfs_rq, se)
    se.exec_start = rq_clock_task()
    cfs_rq.curr = se
    se.prev_sum_exec_runtime = se.sum_exec_runtime


@hwfunc
def wakeup_gran(se: sched_entity) -> int:
    """fair.c:7583 (6.1): in the virtual time of who wakes, so that light tasks preempt less easily."""
    return calc_delta_fair(table(sched_sysctls, 0).sysctl_sched_wakeup_granularity, se)


@hwfunc
def wakeup_preempt_entity(curr: sched_entity, se: sched_entity) -> int:
    """fair.c:7618 (6.1): -1 when ``se`` is not behind, 1 when it is by more than the granularity, else 0."""
    vdiff = curr.vruntime - se.vruntime
    if vdiff <= 0:
        return -1
    if vdiff > wakeup_gran(se):
        return 1
    return 0


@hwfunc
def pick_next_entity(cfs_rq: cfs_rq, curr: sched_entity) -> sched_entity:
    """fair.c:4995 (6.1): the leftmost, or a buddy if that is not unfair; ``curr``: the running one if it goes on competing."""
    left = __pick_first_entity(cfs_rq)
    if left is None or (curr is not None and entity_before(curr, left)):
        left = curr
    se = left
    if cfs_rq.next is not None and wakeup_preempt_entity(cfs_rq.next, left) < 1:
        se = cfs_rq.next
    elif cfs_rq.last is not None and wakeup_preempt_entity(cfs_rq.last, left) < 1:
        se = cfs_rq.last
    return se


@hwfunc
def put_prev_entity(cfs_rq: cfs_rq, prev: sched_entity) -> None:
    """fair.c:5047 (6.1): it runs no more; back into the tree if it did not block."""
    if prev.on_rq:
        update_curr(cfs_rq)
        __enqueue_entity(cfs_rq, prev)
    cfs_rq.curr = None


@hwfunc
def entity_tick(cfs_rq: cfs_rq, curr: sched_entity) -> None:
    """fair.c:5072 (6.1). HRTICK is off, as everywhere."""
    update_curr(cfs_rq)
    if cfs_rq.nr_running > 1:
        check_preempt_tick(cfs_rq, curr)


@hwfunc
def enqueue_task_fair(rq: cpu_hw, p: task_struct, flags: int) -> None:
    """fair.c:5995 (6.1)."""
    enqueue_entity(rq.cfs, p.se, flags)


@hwfunc
def dequeue_task_fair(rq: cpu_hw, p: task_struct, flags: int) -> bool:
    """fair.c:6075 (6.1): whether the task is off the queue."""
    return dequeue_entity(rq.cfs, p.se, flags)


@hwfunc
def check_preempt_wakeup(rq: cpu_hw, p: task_struct, wake_flags: int) -> None:
    """fair.c:7663 (6.1): the woken preempts a running fair task that is ahead by more than the granularity."""
    curr = rq.task
    se = curr.se
    pse = p.se
    scale = rq.cfs.nr_running >= table(sched_sysctls, 0).sched_nr_latency
    if se == pse:
        return
    if rq.need_resched:
        return
    update_curr(rq.cfs)
    if wakeup_preempt_entity(se, pse) != 1:
        return
    rq.cfs.next = pse
    resched_curr_lazy(rq)
    # LAST_BUDDY, with many tasks: it is the one to return to.
    if se.on_rq and scale:
        rq.cfs.last = se


@hwfunc
def pick_task_fair(rq: cpu_hw) -> sched_entity:
    """fair.c:7828 (6.1), the choice of pick_next_task_fair(); None when nobody competes."""
    cfs_rq = rq.cfs
    if not cfs_rq.nr_running:
        return None
    curr = cfs_rq.curr
    if curr is not None:
        if curr.on_rq:
            update_curr(cfs_rq)
        else:
            curr = None
    return pick_next_entity(cfs_rq, curr)


@hwfunc
def pick_next_task_fair(rq: cpu_hw, prev: task_struct) -> task_struct:
    """fair.c:7828 (6.1): the next fair task, None when there is none. ``prev`` is what ran, None when it was put away already."""
    se = pick_task_fair(rq)
    if se is None:
        return None
    p = task_of(se)
    if prev is None or not fair_class(prev):
        set_next_entity(rq.cfs, se)
    elif prev != p:
        put_prev_entity(rq.cfs, prev.se)
        set_next_entity(rq.cfs, se)
    return p


@hwfunc
def put_prev_task_fair(rq: cpu_hw, prev: task_struct) -> None:
    """fair.c:7939 (6.1)."""
    put_prev_entity(rq.cfs, prev.se)


@hwfunc
def set_next_task_fair(rq: cpu_hw, p: task_struct) -> None:
    """fair.c:12133 (6.1)."""
    set_next_entity(rq.cfs, p.se)


@hwfunc
def task_tick_fair(rq: cpu_hw, curr: task_struct) -> None:
    """fair.c:11901 (6.1)."""
    entity_tick(rq.cfs, curr.se)


@hwfunc
def prio_changed_fair(rq: cpu_hw, p: task_struct, oldprio: int) -> None:
    """fair.c:11961 (6.1)."""
    if not task_on_rq_queued(p):
        return
    if rq.cfs.nr_running == 1:
        return
    if rq.task == p:
        if p.prio > oldprio:
            resched_curr(rq)
    else:
        check_preempt_curr(rq, p, 0)


@hwfunc
def switched_from_fair(rq: cpu_hw, p: task_struct) -> None:
    """fair.c:12104 (6.1): of a task that sleeps, the vruntime becomes relative."""
    if not task_on_rq_queued(p):
        place_entity(rq.cfs, p.se, 0)
        p.se.vruntime -= rq.cfs.min_vruntime


@hwfunc
def switched_to_fair(rq: cpu_hw, p: task_struct) -> None:
    """fair.c:12109 (6.1)."""
    if not task_on_rq_queued(p):
        p.se.vruntime += rq.cfs.min_vruntime
    elif rq.task == p:
        resched_curr(rq)
    else:
        check_preempt_curr(rq, p, 0)


@hwfunc
def migrate_task_rq_fair(p: task_struct, new_cpu: int) -> None:
    """fair.c:7530 (6.1): a task that wakes elsewhere takes along how far it is from its old CPU's min_vruntime."""
    p.se.vruntime -= table(cpu_hw, p.cpu).cfs.min_vruntime
