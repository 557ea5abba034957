# SPDX-License-Identifier: GPL-2.0-or-later
"""The fair class as a search has it: any of the waiting fair tasks may be preferred, at any time.

Who of the fair tasks runs depends, in the kernel, on how long each of them ran. A search knows no time: here they queue in the
order in which they came, nobody preempts by waking, and instead the search itself preempts a fair task wherever another waits
(``Config.resched``), and with ``any_order`` lets another one go first. That covers what any release's scheduler may decide. The
real-time class, wakeups and switches are the kernel's text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc

if TYPE_CHECKING:
    from softnet.linux.kernel.sched.core import check_preempt_curr
    from softnet.linux.kernel.sched.fair import fair_class, rt_class, task_on_rq_queued
    from softnet.linux.kernel.sched.rt import pick_next_task_rt, put_prev_task_rt
    from softnet.machine.runqueue import rq_link, rq_unlink
    from softnet.machine.sched import resched_curr
    from softnet.machine.state import cpu_hw, task_struct


@hwfunc
def vx_queue(rq: cpu_hw, p: task_struct) -> None:
    """Behind all others."""
    last = rq.fair_head
    while last is not None and last.rq_next is not None:
        last = last.rq_next
    rq_link(rq, last, p, False)


@hwfunc
def enqueue_task_fair(rq: cpu_hw, p: task_struct, flags: int) -> None:
    """It competes; the one that runs does not wait."""
    p.se.on_rq = True
    if rq.task != p:
        vx_queue(rq, p)


@hwfunc
def dequeue_task_fair(rq: cpu_hw, p: task_struct, flags: int) -> bool:
    """It competes no longer."""
    p.se.on_rq = False
    if p.on_rq:
        rq_unlink(rq, p, False)
    return True


@hwfunc
def check_preempt_wakeup(rq: cpu_hw, p: task_struct, wake_flags: int) -> None:
    """The search preempts."""


@hwfunc
def put_prev_task_fair(rq: cpu_hw, prev: task_struct) -> None:
    """It waits, if it did not block."""
    if prev.se.on_rq and not prev.on_rq:
        vx_queue(rq, prev)


@hwfunc
def set_next_task_fair(rq: cpu_hw, p: task_struct) -> None:
    """It runs, and waits no longer."""
    if p.on_rq:
        rq_unlink(rq, p, False)


@hwfunc
def pick_next_task_fair(rq: cpu_hw, prev: task_struct) -> task_struct:
    """The one that came first."""
    if prev is not None and fair_class(prev):
        put_prev_task_fair(rq, prev)
    p = rq.fair_head
    if p is not None:
        set_next_task_fair(rq, p)
    return p


@hwfunc
def task_tick_fair(rq: cpu_hw, curr: task_struct) -> None:
    """No slice ends."""


@hwfunc
def prio_changed_fair(rq: cpu_hw, p: task_struct, oldprio: int) -> None:
    """Who runs among the fair, the search decides."""


@hwfunc
def switched_from_fair(rq: cpu_hw, p: task_struct) -> None:
    """There are no virtual times."""


@hwfunc
def switched_to_fair(rq: cpu_hw, p: task_struct) -> None:
    """A real-time task that waits is more important now."""
    if rq.task == p:
        if rq.rt_head is not None:
            resched_curr(rq)
    elif task_on_rq_queued(p):
        check_preempt_curr(rq, p, 0)


@hwfunc
def migrate_task_rq_fair(p: task_struct, new_cpu: int) -> None:
    """There are no virtual times."""


@hwfunc(visible="all", x86="locked")
def update_sysctl(nr_online: int) -> None:
    """There are no slices."""


@hwfunc
def ttwu_runnable(rq: cpu_hw, p: task_struct) -> None:
    """Nobody leaves late."""
    check_preempt_curr(rq, p, 0)


@hwfunc
def can_migrate_task(p: task_struct) -> bool:
    """Nobody leaves late."""
    return True


@hwfunc
def start_rt_bandwidth() -> None:
    """There are no periods."""


@hwfunc
def set_next_task_idle(rq: cpu_hw, next: task_struct) -> None:
    """There is no time."""


@hwfunc
def pick_next_task(rq: cpu_hw, prev: task_struct) -> task_struct:
    """The real-time class first; no server runs fair tasks before it."""
    put_prev_task(rq, prev)
    p = pick_next_task_rt(rq)
    if p is not None:
        return p
    return pick_next_task_fair(rq, None)


@hwfunc
def put_prev_task(rq: cpu_hw, prev: task_struct) -> None:
    """As kernel/sched/core.py has it."""
    if rt_class(prev):
        put_prev_task_rt(rq, prev)
    elif fair_class(prev):
        put_prev_task_fair(rq, prev)
