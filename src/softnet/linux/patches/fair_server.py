# SPDX-License-Identifier: GPL-2.0-or-later
"""sched/fair: Add trivial fair server.

A deadline server runs fair tasks that real-time tasks starve, 50 ms of each second: kernel/sched/deadline.c (6.12). With
a110a81c52a9 (it is put off to the last moment) and 5f6bd380c7bd (real-time throttling goes). There are no SCHED_DEADLINE tasks
here: the server is the only deadline entity, and there is nothing to be admitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, hw, hwfunc, kfunc
from softnet.lang.intrinsics import table, table_len

if TYPE_CHECKING:
    from softnet.linux.kernel.sched.core import put_prev_task
    from softnet.linux.kernel.sched.fair import (
        calc_delta_fair,
        clear_buddies,
        fair_class,
        pick_next_task_fair,
        put_prev_task_fair,
        rq_of,
        rt_class,
        set_next_task_fair,
        task_of,
    )
    from softnet.linux.kernel.sched.rt import pick_next_task_rt, put_prev_task_rt, sched_rr_timeslice
    from softnet.linux.kernel.sched.sched import *
    from softnet.linux.patches.eevdf import enqueue_entity, update_deadline, update_sysctl
    from softnet.linux.patches.eevdf_delay_dequeue import ENQUEUE_DELAYED, pick_task_fair, requeue_delayed_entity
    from softnet.linux.patches.eevdf_preempt_short import did_preempt_short
    from softnet.machine.interrupts import nr_cpu_ids
    from softnet.machine.sched import resched_curr, resched_curr_lazy
    from softnet.machine.state import cpu_hw, hrtimer, task_struct
    from softnet.machine.timers import hrtimer_cancel, hrtimer_start, rq_clock_task


PATCH = {
    "commit": "557a6bfc662c",
    "subject": "sched/fair: Add trivial fair server",
    "since": "6.12",
    "link": "https://lore.kernel.org/r/b6b0bcefaf25391bcf5b6ecdb9f1218de402d42e.1716811044.git.bristot@kernel.org",
}

DL_RUNTIME = 50000000
"""deadline.c:1839 (6.12), in ns, of each DL_PERIOD."""
DL_PERIOD = 1000000000
DL_SERVER_MIN_RES = 1000000
"""deadline.c:1203 (6.12): the timer is not put off for less, in ns."""
DL_SCALE = 10
DL_DENSITY = 52428
"""DL_RUNTIME << 20, by DL_PERIOD."""
BW_SHIFT = 20


class sched_dl_entity(Struct):
    """include/linux/sched.h: the server of a CPU."""

    runtime: int = hw(statistic=True)
    """What is left of the period's runtime, in ns."""
    deadline: int = hw(statistic=True)
    """The end of the period, in ns."""
    dl_throttled: bool = hw(statistic=True)
    dl_defer_armed: bool = hw(statistic=True)
    """Its timer waits for the last moment at which it can have its runtime before the deadline."""
    dl_defer_running: bool = hw(statistic=True)
    """That came: the fair tasks were starved."""
    dl_server_active: bool = hw(statistic=True)
    on_dl_rq: bool = hw(statistic=True)
    """Whether it competes, above all real-time tasks."""
    dl_timer: hrtimer = embed()


class cpu_hw(Struct, extends=True):
    """kernel/sched/sched.h, struct rq."""

    fair_server: sched_dl_entity = embed()


@hwfunc
def replenish_dl_new_period(dl_se: sched_dl_entity) -> None:
    """deadline.c:758 (6.12)."""
    dl_se.deadline = rq_clock_task() + DL_PERIOD
    dl_se.runtime = DL_RUNTIME
    if not dl_se.dl_defer_running:
        dl_se.dl_throttled = True
        dl_se.dl_defer_armed = True


@hwfunc
def dl_entity_overflow(dl_se: sched_dl_entity, t: int) -> bool:
    """deadline.c:956 (6.12): what is left is more than the bandwidth allows until the deadline."""
    left = (DL_PERIOD >> DL_SCALE) * (dl_se.runtime >> DL_SCALE)
    right = ((dl_se.deadline - t) >> DL_SCALE) * (DL_RUNTIME >> DL_SCALE)
    return right < left


@hwfunc
def start_dl_timer(dl_se: sched_dl_entity) -> bool:
    """deadline.c:1124 (6.12): at the last moment, or at the next period; false if that has passed."""
    act = dl_se.deadline
    if dl_se.dl_defer_armed:
        act = dl_se.deadline - dl_se.runtime
    if act < rq_clock_task():
        return False
    if not dl_se.dl_timer.active:
        hrtimer_start(dl_se.dl_timer, act)
    return True


@hwfunc
def replenish_dl_entity(dl_se: sched_dl_entity) -> None:
    """deadline.c:839 (6.12)."""
    now = rq_clock_task()
    if dl_se.dl_defer_armed and dl_entity_overflow(dl_se, now):
        dl_se.deadline = now + DL_PERIOD
        dl_se.runtime = DL_RUNTIME
    while dl_se.runtime <= 0:
        dl_se.deadline += DL_PERIOD
        dl_se.runtime += DL_RUNTIME
    if dl_se.deadline < now:
        replenish_dl_new_period(dl_se)
    dl_se.dl_throttled = False
    if dl_se.dl_defer_armed:
        dl_se.dl_defer_armed = False
        return
    if not dl_se.dl_defer_running and now < dl_se.deadline - dl_se.runtime:
        dl_se.dl_defer_armed = True
        dl_se.dl_throttled = True
        if not start_dl_timer(dl_se):
            hrtimer_cancel(dl_se.dl_timer)
            dl_se.dl_defer_armed = False
            dl_se.dl_throttled = False


@hwfunc
def update_dl_entity(dl_se: sched_dl_entity) -> None:
    """deadline.c:1077 (6.12): the rule of the constant bandwidth server for one that starts again."""
    now = rq_clock_task()
    if dl_se.deadline < now or dl_entity_overflow(dl_se, now):
        if dl_se.dl_defer_running and dl_se.deadline >= now:
            dl_se.runtime = DL_DENSITY * (dl_se.deadline - now) >> BW_SHIFT
            return
        dl_se.dl_defer_running = False
        replenish_dl_new_period(dl_se)
    elif not dl_se.dl_defer_running:
        dl_se.dl_defer_armed = True
        dl_se.dl_throttled = True


@hwfunc
def enqueue_dl_entity(dl_se: sched_dl_entity, wakeup: bool) -> None:
    """deadline.c:1997 (6.12): with ENQUEUE_WAKEUP, else ENQUEUE_REPLENISH. A deferred one waits for its timer first."""
    if wakeup:
        update_dl_entity(dl_se)
    else:
        replenish_dl_entity(dl_se)
    if dl_se.dl_throttled and start_dl_timer(dl_se):
        return
    if dl_se.dl_throttled:
        hrtimer_cancel(dl_se.dl_timer)
        dl_se.dl_defer_armed = False
        dl_se.dl_throttled = False
    dl_se.on_dl_rq = True


@hwfunc
def dl_server_start(rq: cpu_hw) -> None:
    """deadline.c:1829 (6.12)."""
    dl_se = rq.fair_server
    if dl_se.dl_server_active:
        return
    dl_se.dl_server_active = True
    enqueue_dl_entity(dl_se, True)
    resched_curr(rq)


@hwfunc
def dl_server_stop(dl_se: sched_dl_entity) -> None:
    """deadline.c:1861 (6.12)."""
    dl_se.on_dl_rq = False
    hrtimer_cancel(dl_se.dl_timer)
    dl_se.dl_defer_armed = False
    dl_se.dl_throttled = False
    dl_se.dl_server_active = False


@hwfunc
def dl_server_update(rq: cpu_hw, delta_exec: int) -> None:
    """deadline.c:1622, update_curr_dl_se():1474 (6.12): fair tasks ran, by the server or without it."""
    dl_se = rq.fair_server
    dl_se.runtime -= delta_exec
    if dl_se.runtime > 0:
        return
    if dl_se.dl_throttled:
        # It was not needed in this period.
        dl_se.dl_defer_running = False
        hrtimer_cancel(dl_se.dl_timer)
        replenish_dl_new_period(dl_se)
        start_dl_timer(dl_se)
        return
    dl_se.dl_throttled = True
    dl_se.on_dl_rq = False
    if not start_dl_timer(dl_se):
        enqueue_dl_entity(dl_se, False)
    if not dl_se.on_dl_rq:
        resched_curr(rq)


@hwfunc
def dl_server_update_idle_time(rq: cpu_hw, p: task_struct) -> None:
    """deadline.c:1597 (6.12): a CPU that idles gave the fair tasks that time."""
    dl_se = rq.fair_server
    if dl_se.runtime < 0:
        return
    delta_exec = rq_clock_task() - p.se.exec_start
    if delta_exec < 0:
        return
    dl_se.runtime -= delta_exec
    if dl_se.runtime < 0:
        dl_se.dl_defer_running = False
        dl_se.runtime = 0
    p.se.exec_start = rq_clock_task()


@hwfunc(visible="all", x86="locked")
def dl_server_timer(cpu: int) -> None:
    """deadline.c:1205 (6.12)."""
    rq = table(cpu_hw, cpu)
    dl_se = rq.fair_server
    if not dl_se.dl_throttled:
        return
    if dl_se.dl_defer_armed:
        now = rq_clock_task()
        if now < dl_se.deadline - dl_se.runtime - DL_SERVER_MIN_RES:
            # Fair tasks ran meanwhile: there is more time.
            hrtimer_start(dl_se.dl_timer, dl_se.dl_timer.expires + dl_se.deadline - now - dl_se.runtime)
            return
        dl_se.dl_defer_running = True
    enqueue_dl_entity(dl_se, False)
    resched_curr(rq)


@kfunc(entry=True)
def dl_task_timer(timer: hrtimer) -> None:
    """deadline.c:1268 (6.12): the timer's ``data`` is its CPU."""
    dl_server_timer(timer.data)


@kfunc
def sched_init(nr_online: int) -> None:
    """kernel/sched/core.c (6.12): instead of the period's timer each CPU has its server's, fair_server_init()."""
    update_sysctl(nr_online)
    for i in range(table_len(task_struct)):
        table(task_struct, i).rt.time_slice = sched_rr_timeslice()
    for cpu in range(nr_cpu_ids()):
        timer = table(cpu_hw, cpu).fair_server.dl_timer
        timer.function = dl_task_timer
        timer.data = cpu


@hwfunc
def put_prev_task(rq: cpu_hw, prev: task_struct) -> None:
    """kernel/sched/sched.h (6.12), and put_prev_task_idle(), kernel/sched/idle.c:474."""
    if rt_class(prev):
        put_prev_task_rt(rq, prev)
    elif fair_class(prev):
        put_prev_task_fair(rq, prev)
    else:
        dl_server_update_idle_time(rq, prev)


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
    rq = rq_of(cfs_rq)
    if rq.fair_server.dl_server_active:
        dl_server_update(rq, delta_exec)
    if cfs_rq.nr_running == 1:
        return
    if resched or did_preempt_short(cfs_rq, curr):
        resched_curr_lazy(rq)
        clear_buddies(cfs_rq, curr)


@hwfunc
def enqueue_task_fair(rq: cpu_hw, p: task_struct, flags: int) -> None:
    """fair.c:7020 (6.12): the first fair task starts the server."""
    if flags & ENQUEUE_DELAYED:
        requeue_delayed_entity(rq.cfs, p.se)
        return
    if p.se.on_rq:
        if p.se.sched_delayed:
            requeue_delayed_entity(rq.cfs, p.se)
        return
    enqueue_entity(rq.cfs, p.se, flags)
    if rq.cfs.nr_running == 1:
        if not rq.rt.rt_nr_running and not rq.fair_server.on_dl_rq:
            dl_server_update_idle_time(rq, rq.task)
        dl_server_start(rq)


@hwfunc
def pick_next_task_dl(rq: cpu_hw, prev: task_struct) -> task_struct:
    """deadline.c:2611 __pick_task_dl() (6.12), and the switch to its choice; None when the server has nobody to run, and stops."""
    if not rq.fair_server.on_dl_rq:
        return None
    se = pick_task_fair(rq)
    if se is None:
        dl_server_stop(rq.fair_server)
        return None
    p = task_of(se)
    if p != prev:
        put_prev_task(rq, prev)
        set_next_task_fair(rq, p)
    return p


@hwfunc
def pick_next_task(rq: cpu_hw, prev: task_struct) -> task_struct:
    """kernel/sched/core.c:5986 (6.12)."""
    p = pick_next_task_dl(rq, prev)
    if p is not None:
        return p
    if not rt_class(prev) and rq.rt_head is None:
        if not fair_class(prev):
            put_prev_task(rq, prev)
        p = pick_next_task_fair(rq, prev)
        if p is None and fair_class(prev):
            put_prev_task(rq, prev)
        return p
    put_prev_task(rq, prev)
    p = pick_next_task_rt(rq)
    if p is not None:
        return p
    return pick_next_task_fair(rq, None)


@hwfunc
def account_rt_time(rq: cpu_hw, delta_exec: int) -> None:
    """rt.c (6.12): real-time tasks are not throttled. 5f6bd380c7bd."""


@hwfunc
def start_rt_bandwidth() -> None:
    """rt.c (6.12): nor is there a timer for that."""
