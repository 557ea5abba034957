# SPDX-License-Identifier: GPL-2.0-or-later
"""Switch, wake, preempt: what a scheduler does on the machine; who is to run, linux/kernel/sched says.

``need_resched`` is TIF_NEED_RESCHED, ``need_resched_lazy`` is TIF_NEED_RESCHED_LAZY: the preemption model says
where each is acted upon (kernel/sched/core.c, kernel/entry/common.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import table, trace

if TYPE_CHECKING:
    from softnet.machine.events import cpu_update
    from softnet.machine.globals import (
        hw,
        pick_next_task,
        set_next_task_idle,
        set_task_cpu,
        try_to_block_task,
        ttwu_do_activate,
        ttwu_queue_cond,
        ttwu_runnable,
        ttwu_wakelist,
    )
    from softnet.machine.interrupts import account, is_idle_polling, set_nr_if_polling, smp_send_reschedule
    from softnet.machine.locks import rt_owner_leaves_cpu
    from softnet.machine.runqueue import pull_task, select_task_rq
    from softnet.machine.state import (
        CTX_TASK,
        ERROR_SLEEP_IN_ATOMIC,
        NEVER,
        PREEMPT_MODEL_FULL,
        PREEMPT_MODEL_LAZY,
        PREEMPT_MODEL_RT,
        TASK_INTERRUPTIBLE,
        TASK_PARKED,
        TASK_RUNNING,
        TASK_WAKING,
        TIME_USER,
        WAKE_DONE,
        WAKE_LISTED,
        WAKE_NOT,
        context,
        cpu_hw,
        task_struct,
    )
    from softnet.machine.stats import hist_record
    from softnet.machine.timers import cpu_timer_update


@hwfunc(visible="own context", x86="none")
def current() -> task_struct:
    """The task that this CPU runs, also while an interrupt borrows it."""
    return table(cpu_hw, hw.cpu).task


@hwfunc(visible="all", x86="plain load")
def task_state(p: task_struct) -> int:
    """READ_ONCE(p->__state)."""
    return p.state


@hwfunc(visible="all", x86="locked")
def task_inactive(p: task_struct, state: int) -> bool:
    """Whether the task sleeps in that state, off its CPU and run queue: what kernel/sched/core.c wait_task_inactive() waits for."""
    return p.state == state and not p.on_rq and not p.on_cpu


@hwfunc(visible="own cpu", x86="plain load")
def need_resched() -> bool:
    """TIF_NEED_RESCHED of the running task."""
    return table(cpu_hw, hw.cpu).need_resched


@hwfunc
def preempts_kernel() -> bool:
    """Whether the preemption model lets a task in the kernel be preempted, where its preempt_count() is 0."""
    model = hw.preempt_model
    return model == PREEMPT_MODEL_FULL or model == PREEMPT_MODEL_LAZY or model == PREEMPT_MODEL_RT


@hwfunc
def resched_on_return(c: cpu_hw, below: context) -> bool:
    """Whether the return from an interrupt to this context may switch tasks: irqentry_exit()."""
    if not c.need_resched and not c.need_resched_lazy:
        return False
    if below.user:
        return True
    if c.task == c.idle:
        return False
    if not c.need_resched or c.preempt_count != 0:
        return False
    return preempts_kernel()


@hwfunc(visible="own context", x86="plain load")
def preempt_enable_due() -> bool:
    """preempt_enable() reached 0: whether it must call the scheduler now."""
    c = table(cpu_hw, hw.cpu)
    if not c.need_resched or c.preempt_count != 0 or c.cur.irqs_off or c.cur.kind != CTX_TASK:
        return False
    if c.task == c.idle:
        return False
    return preempts_kernel()


@hwfunc(visible="all", x86="plain load")
def user_return_due() -> bool:
    """exit_to_user_mode_loop(): whether the scheduler must run before user mode."""
    c = table(cpu_hw, hw.cpu)
    return bool(c.need_resched or c.need_resched_lazy)


@hwfunc
def resume_computing(ctx: context) -> None:
    """The running context becomes this one: it computes for what was left of its time, or goes on waiting."""
    if ctx.remain >= NEVER:
        hw.now = NEVER
    else:
        hw.now += ctx.remain


@hwfunc
def stays(c: cpu_hw, prev: task_struct, preempted: bool) -> bool:
    """Whether the task that ran goes on competing.

    A task that is preempted between set_current_state() and schedule() stays runnable, as by __schedule(SM_PREEMPT): else the
    wakeup for which it was about to look would be lost. One in TASK_UNINTERRUPTIBLE or TASK_RTLOCK_WAIT has looked already: it
    sleeps a little earlier.
    """
    return bool(
        prev.state == TASK_RUNNING or prev == c.idle or (preempted and prev.state & (TASK_INTERRUPTIBLE | TASK_PARKED) != 0)
    )


@hwfunc
def next_task(c: cpu_hw, prev: task_struct) -> task_struct:
    """The task to run next: the kernel's choice, one of another CPU's, or the idle task."""
    p = pick_next_task(c, prev)
    if p is None and pull_task(c):
        p = pick_next_task(c, c.idle)
    if p is None:
        set_next_task_idle(c, c.idle)
        return c.idle
    return p


@hwfunc
def switch_to(c: cpu_hw, preempted: bool) -> None:
    """Pick the next task and make its context the CPU's; the caller's context suspends right after."""
    prev = c.task
    c.need_resched = False
    c.need_resched_lazy = False
    if not stays(c, prev, preempted):
        try_to_block_task(c, prev)
    following = next_task(c, prev)
    c.need_resched = False
    c.need_resched_lazy = False
    if following == prev:
        resume_computing(c.cur)
        return
    trace("sched_switch", prev.pid, following.pid, prev.state)
    c.context_switches += 1
    prev.nr_switches += 1
    prev.on_cpu = False
    prev.preempt_count = c.preempt_count
    prev.ctx.time_class = c.time_class
    if prev.rt_spinning:
        prev.ctx.remain = 0
    rt_owner_leaves_cpu(prev)
    following.on_cpu = True
    following.cpu = c.id
    following.ctx.cpu = c.id
    c.task = following
    if following.woken_at:
        hist_record(hw.wake_hists + following.time_class, hw.now - following.woken_at)
        following.woken_at = 0
    if prev.state == TASK_RUNNING and prev != c.idle:
        prev.preempted_at = hw.now
    if following.preempted_at:
        hist_record(hw.preempt_hists + following.time_class, hw.now - following.preempted_at)
        following.preempted_at = 0
    c.cur = following.ctx
    c.preempt_count = following.preempt_count
    hw.now += hw.cost_context_switch
    c.irq_from = hw.now
    account(c, hw.now, TIME_USER if c.cur.user else c.cur.time_class)
    if (prev == c.idle) != (following == c.idle):
        cpu_timer_update(c)
    resume_computing(c.cur)
    if c.cur.remain < NEVER:
        c.cur.remain = 0


@hwfunc(visible="own cpu", x86="locked")
def schedule_now() -> bool:
    """__schedule(): false when the task may simply go on (it was woken meanwhile and nobody is better)."""
    c = table(cpu_hw, hw.cpu)
    return schedule_task(c, c.preempt_count != 0 and c.task.state != TASK_RUNNING and c.task != c.idle, False)


@hwfunc(visible="own cpu", x86="locked")
def schedule_preempt() -> bool:
    """__schedule(SM_PREEMPT): the task that gives way did not ask to sleep."""
    c = table(cpu_hw, hw.cpu)
    return schedule_task(c, False, True)


@hwfunc
def schedule_task(c: cpu_hw, atomic: bool, preempted: bool) -> bool:
    """Switch tasks; whether another one runs now, or the run stops because this one may not sleep here."""
    if c.cur.kind != CTX_TASK or atomic:
        hw.error = ERROR_SLEEP_IN_ATOMIC
        hw.error_arg = c.task.pid
        return True
    c.cur.remain = 0
    was = c.task
    switch_to(c, preempted)
    return c.task != was


@hwfunc
def resched_curr(c: cpu_hw) -> None:
    """Ask the CPU to reschedule; kernel/sched/core.c."""
    if c.need_resched:
        return
    if c.id == hw.cpu:
        c.need_resched = True
    elif is_idle_polling(c.id):
        set_nr_if_polling(c.id)
        trace("sched_wake_idle_without_ipi", c.id)
    else:
        c.need_resched = True
        smp_send_reschedule(c.id)


@hwfunc
def resched_curr_lazy(c: cpu_hw) -> None:
    """Ask the CPU to reschedule on its way to user mode or at the tick, where the model has that (6.13); else at once."""
    if hw.preempt_model == PREEMPT_MODEL_LAZY and c.task != c.idle:
        c.need_resched_lazy = True
    else:
        resched_curr(c)


@hwfunc
def wake_task(p: task_struct, queue: bool) -> bool:
    """A sleeping task is to run on the CPU chosen for it; true if it is for that CPU to make it runnable, by way of its wake list.

    Else it is runnable now, and preempts there if it is better.
    """
    cpu = select_task_rq(p)
    migrated = cpu != p.cpu
    if migrated:
        trace("sched_migrate_task", p.pid, p.cpu, cpu)
        set_task_cpu(p, cpu)
    trace("sched_waking", p.pid, cpu)
    p.nr_wakeups += 1
    p.woken_at = hw.now
    if queue and ttwu_queue_cond(p, cpu):
        ttwu_wakelist(table(cpu_hw, cpu), p, migrated)
        hw.now += hw.cost_wakeup >> 1
        return True
    ttwu_do_activate(table(cpu_hw, cpu), p, migrated)
    trace("sched_wakeup", p.pid, cpu)
    hw.now += hw.cost_wakeup
    return False


@hwfunc
def wake(p: task_struct, queue: bool) -> bool:
    """A task whose state has just become TASK_RUNNING: wake it, unless it runs; as wake_task(). It may not have left its queue."""
    if p.on_rq and not p.on_cpu:
        trace("sched_waking", p.pid, p.cpu)
        p.nr_wakeups += 1
        p.woken_at = hw.now
        ttwu_runnable(table(cpu_hw, p.cpu), p)
        trace("sched_wakeup", p.pid, p.cpu)
        hw.now += hw.cost_wakeup
    elif not p.on_cpu:
        return wake_task(p, queue)
    return False


@hwfunc(visible="all", x86="locked")
def try_to_wake_up(p: task_struct, mask: int) -> int:
    """Wake ``p`` if its state is in ``mask``: WAKE_NOT or WAKE_DONE. kernel/sched/core.c ttwu_state_match() for RT locks.

    Or WAKE_LISTED + whether interrupts were off: ``p`` is to be put on the wake list of its CPU. p->pi_lock is held until then, so
    interrupts are off; nobody else can wake the task, which is in TASK_WAKING.
    """
    if p.state == TASK_RUNNING or p.state & mask == 0:
        if p.saved_state & mask != 0 and p.saved_state != TASK_RUNNING:
            p.saved_state = TASK_RUNNING
            return WAKE_DONE
        return WAKE_NOT
    p.state = TASK_RUNNING
    if not wake(p, hw.running):
        return WAKE_DONE
    p.state = TASK_WAKING
    ctx = table(cpu_hw, hw.cpu).cur
    was: int = ctx.irqs_off
    ctx.irqs_off = True
    return WAKE_LISTED + was


@hwfunc
def ttwu_activate(c: cpu_hw, p: task_struct, migrated: bool) -> None:
    """The running CPU makes a task runnable that stood on its wake list."""
    p.state = TASK_RUNNING
    ttwu_do_activate(c, p, migrated)
    trace("sched_wakeup", p.pid, c.id)
    hw.now += hw.cost_wakeup - (hw.cost_wakeup >> 1)


@hwfunc(visible="own cpu", x86="plain store task_struct.state")
def set_task_state(state: int) -> None:
    """set_current_state() without its barrier."""
    table(cpu_hw, hw.cpu).task.state = state


@hwfunc(visible="migration", x86="none")
def migrate_count(delta: int) -> None:
    """Count sections in which the running task may not migrate."""
    table(cpu_hw, hw.cpu).task.migrate_disabled += delta


@hwfunc
def rt_spinner_looks_again(p: task_struct) -> None:
    """A task that spins for a sleeping lock looks again: now if it runs, else when it is next switched in."""
    c = table(cpu_hw, p.cpu)
    if p.on_cpu and c.cur == p.ctx:
        if c.id != hw.cpu:
            c.t = max(hw.now, c.stopped_until) + hw.cost_handoff
            cpu_update(c)
    else:
        p.ctx.remain = 0
