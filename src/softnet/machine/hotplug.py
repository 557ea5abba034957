# SPDX-License-Identifier: GPL-2.0-or-later
"""CPUs that go offline and come back: what the hardware and the scheduler do; the kernel's steps are linux/kernel/cpu.py's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import table, table_len

if TYPE_CHECKING:
    from softnet.machine.events import actor_set, cpu_update
    from softnet.machine.globals import hw, move_queued_task, update_sysctl
    from softnet.machine.interrupts import account, irq_post
    from softnet.machine.runqueue import cpu_allowed, select_fallback_rq
    from softnet.machine.sched import resched_curr
    from softnet.machine.state import (
        CTX_TASK,
        NEVER,
        TIME_IDLE,
        VECTOR_DEVICE,
        cpu_hw,
        irq_line,
        nic_queue,
        task_struct,
    )
    from softnet.machine.timers import timer_program


@hwfunc
def fallback_cpu() -> int:
    """The first online CPU: where select_fallback_rq() ends when no allowed CPU is online."""
    for i in range(hw.nr_cpus):
        if table(cpu_hw, i).online:
            return i
    return 0


@hwfunc(visible="all", x86="locked")
def rq_has_pinned(cpu: int) -> bool:
    """Whether a task waits there that may not be moved yet: it is in a migrate_disable() section."""
    c = table(cpu_hw, cpu)
    p = c.rt_head
    while p is not None:
        if p.migrate_disabled:
            return True
        p = p.rq_next
    p = c.fair_head
    while p is not None:
        if p.migrate_disabled:
            return True
        p = p.rq_next
    return False


@hwfunc
def cpu_preemptible(c: cpu_hw) -> bool:
    """Whether the CPU is where the most important task could preempt."""
    return bool(c.cur.kind == CTX_TASK and c.preempt_count == 0 and not c.cur.irqs_off)


@hwfunc(visible="all", x86="locked")
def others_preemptible() -> bool:
    """Whether all other online CPUs could go to their stoppers now."""
    for i in range(hw.nr_cpus):
        c = table(cpu_hw, i)
        if i != hw.cpu and c.online and not cpu_preemptible(c):
            return False
    return True


@hwfunc(visible="all", x86="locked")
def set_cpu_active(cpu: int, active: bool) -> None:
    """The CPU joins or leaves cpu_active_mask; kernel/cpu.c."""
    table(cpu_hw, cpu).active = active


@hwfunc(visible="all", x86="locked")
def cpu_disable() -> None:
    """__cpu_disable(): this CPU leaves cpu_online_mask; its device interrupts go elsewhere (fixup_irqs())."""
    c = table(cpu_hw, hw.cpu)
    c.online = False
    update_sysctl(nr_online())
    target = fallback_cpu()
    for i in range(table_len(nic_queue)):
        q = table(nic_queue, i)
        if q.irq_cpu == c.id:
            q.irq_cpu = target
    keep: irq_line = None
    line = c.irq_head
    c.irq_head = None
    while line is not None:
        after = line.next
        line.next = None
        if line.vector == VECTOR_DEVICE:
            line.pending = False
            irq_post(line, target, hw.now)
        elif keep is None:
            keep = line
            c.irq_head = line
        else:
            keep.next = line
            keep = line
        line = after


@hwfunc(visible="all", x86="locked")
def migrate_dying_cpu() -> None:
    """Queued tasks and timers of this CPU move to another (migrate_tasks(), hrtimers_cpu_dying()), allowed there or not."""
    c = table(cpu_hw, hw.cpu)
    target = table(cpu_hw, fallback_cpu())
    while c.rt_head is not None:
        move_task(c, target, c.rt_head)
    while c.fair_head is not None:
        move_task(c, target, c.fair_head)
    while c.timer_head is not None:
        timer = c.timer_head
        c.timer_head = timer.next
        timer.cpu = target.id
        after = target.timer_head
        if after is None or timer.expires < after.expires:
            timer.next = after
            target.timer_head = timer
        else:
            while after.next is not None and after.next.expires <= timer.expires:
                after = after.next
            timer.next = after.next
            after.next = timer
    timer_program(target)


@hwfunc
def move_task(c: cpu_hw, target: cpu_hw, p: task_struct) -> None:
    """A queued task goes to another CPU's queue."""
    move_queued_task(c, p, target)
    resched_curr(target)


@hwfunc(visible="all", x86="locked")
def unbind_task(p: task_struct, cpu: int) -> None:
    """set_cpus_allowed_ptr() with every CPU, of which is_cpu_allowed() takes the one that goes down."""
    allow(p, cpu, True)
    place_task(p)


@hwfunc(visible="all", x86="locked")
def bind_task(p: task_struct, cpu: int) -> bool:
    """set_cpus_allowed_ptr() with one CPU; false while the task runs on another one, from where C's migration thread takes it."""
    allow(p, cpu, False)
    return place_task(p)


@hwfunc
def allow(p: task_struct, cpu: int, others: bool) -> None:
    """The task may run on that CPU only, or on all others. An idle CPU does not pull it: hw.nr_movable stays."""
    p.nr_allowed = 0
    for i in range(hw.nr_cpus):
        if (i == cpu) != others:
            p.allowed[i >> 5] |= 1 << (i & 31)
            p.nr_allowed += 1
        else:
            p.allowed[i >> 5] &= ~(1 << (i & 31))


@hwfunc
def place_task(p: task_struct) -> bool:
    """A task that waits, or sleeps, where it may not run goes to a CPU where it may."""
    if cpu_allowed(p, p.cpu):
        return True
    if p.on_cpu:
        return False
    target = select_fallback_rq(p)
    if p.on_rq:
        move_task(table(cpu_hw, p.cpu), table(cpu_hw, target), p)
    else:
        p.cpu = target
    return True


@hwfunc
def nr_online() -> int:
    """How many CPUs are online."""
    n = 0
    for i in range(hw.nr_cpus):
        if table(cpu_hw, i).online:
            n += 1
    return n


@hwfunc(visible="all", x86="locked")
def cpu_play_dead() -> None:
    """arch_cpu_idle_dead(): this CPU stops; the caller suspends until the CPU is brought up."""
    c = table(cpu_hw, hw.cpu)
    account(c, hw.now, TIME_IDLE)
    c.polling = False
    c.tick_at = NEVER
    actor_set(hw.nr_cpus + c.id, NEVER)
    c.cur.irqs_off = True
    hw.now = NEVER


@hwfunc(visible="all", x86="locked")
def cpu_is_dead(cpu: int) -> bool:
    """Whether the CPU has stopped: its idle task reported itself dead."""
    c = table(cpu_hw, cpu)
    return bool(not c.online and c.t >= NEVER and c.task == c.idle)


@hwfunc(visible="all", x86="locked")
def cpu_bring_up(cpu: int) -> None:
    """The CPU starts again in its idle task, online, interrupts on."""
    c = table(cpu_hw, cpu)
    c.online = True
    update_sysctl(nr_online())
    c.cur.irqs_off = False
    c.irq_from = hw.now
    c.need_resched = False
    c.need_resched_lazy = False
    c.t = hw.now + hw.cost_idle_exit
    cpu_update(c)
