# SPDX-License-Identifier: GPL-2.0-or-later
"""Hard interrupts: lines that become pending, delivery in the middle of work, return with a scheduling decision.

A context that is suspended at time t is *computing until t*. An interrupt that comes at x < t runs at once, and what was
left of the computation, t - x, is added when the context resumes: exact, since computing has no effect on memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import table, trace

if TYPE_CHECKING:
    from softnet.machine.events import cpu_update
    from softnet.machine.globals import hw
    from softnet.machine.sched import resched_on_return, resume_computing, switch_to
    from softnet.machine.state import (
        CTX_TASK,
        HARDIRQ_MASK,
        NEVER,
        TIME_HARDIRQ,
        TIME_IDLE,
        TIME_SOFTIRQ,
        TIME_USER,
        VECTOR_CALL_FUNCTION_SINGLE,
        VECTOR_RESCHEDULE,
        cpu_hw,
        irq_line,
    )


@hwfunc(price_only=True)
def account(c: cpu_hw, at: int, time_class: int) -> None:
    """Close the running class of CPU time at ``at`` and open another."""
    if at > c.time_since:
        c.time_spent[c.time_class] += at - c.time_since
        c.time_since = at
    c.time_class = time_class


@hwfunc
def irq_post(line: irq_line, cpu: int, at: int) -> None:
    """The line becomes pending on ``cpu`` at ``at``; a line that is pending already stays as it is."""
    if line.pending:
        return
    line.pending = True
    line.at = at
    line.cpu = cpu
    c = table(cpu_hw, cpu)
    before: irq_line = None
    after = c.irq_head
    while after is not None and after.at <= at:
        before = after
        after = after.next
    line.next = after
    if before is None:
        c.irq_head = line
    else:
        before.next = line
    if hw.running and cpu == hw.cpu:
        if not c.cur.irqs_off and at - 1 < hw.lim:
            hw.lim = at - 1
    else:
        cpu_update(c)


@hwfunc
def irq_deliver(c: cpu_hw, at: int) -> None:
    """Enter the first pending interrupt at ``at``, above whatever the CPU was doing."""
    ctx = c.irq1 if c.depth else c.irq0
    c.depth += 1
    interrupted = c.cur
    interrupted.remain = c.t - at if c.t < NEVER else NEVER
    if c.idle_waiting and interrupted.kind == CTX_TASK:
        c.idle_waiting = False
        c.polling = c.idle_spins
        interrupted.remain = 0
        at = at + c.idle_exit
        c.idle_left = at
    ctx.prev = interrupted
    ctx.irqs_off = True
    ctx.time_class = c.time_class
    c.cur = ctx
    account(c, at, TIME_HARDIRQ)
    c.t = at + hw.cost_irq_entry


@hwfunc(visible="all", x86="none")
def irq_ack() -> irq_line:
    """Take the first pending line off this CPU's list; the interrupt context reads its vector and data."""
    c = table(cpu_hw, hw.cpu)
    line = c.irq_head
    if line is not None:
        c.irq_head = line.next
        line.next = None
        line.pending = False
    return line


@hwfunc(visible="own cpu", x86="locked")
def irq_return() -> None:
    """Leave the interrupt: back to what was interrupted, or to another task if the kernel may preempt here."""
    c = table(cpu_hw, hw.cpu)
    ctx = c.cur
    below = ctx.prev
    account(c, hw.now + hw.cost_irq_exit, ctx.time_class)
    c.depth -= 1
    c.cur = below
    c.irq_from = hw.now + hw.cost_irq_exit
    if below.kind == CTX_TASK and resched_on_return(c, below):
        switch_to(c, True)
    else:
        resume_computing(below)
    if hw.now < NEVER:
        hw.now += hw.cost_irq_exit


@hwfunc(visible="irq disable", x86="none")
def irq_local_disable() -> int:
    """Interrupts off on this CPU; whether they were off before."""
    ctx = table(cpu_hw, hw.cpu).cur
    was = ctx.irqs_off
    ctx.irqs_off = True
    return was


@hwfunc(visible="irq restore", x86="none")
def irq_local_restore(was: int) -> None:
    """Interrupts as they were; one that waits strikes before the context's next interaction."""
    c = table(cpu_hw, hw.cpu)
    ctx = c.cur
    if was == 0 and ctx.irqs_off:
        ctx.irqs_off = False
        c.irq_from = hw.now
        if c.irq_head is not None:
            bound = max(c.irq_head.at, hw.now) - 1
            if bound < hw.lim:
                hw.lim = bound
    elif was != 0:
        ctx.irqs_off = True


@hwfunc(visible="own context", x86="none")
def irqs_disabled() -> bool:
    """Whether this context runs with interrupts off."""
    return table(cpu_hw, hw.cpu).cur.irqs_off


@hwfunc(visible="own context", x86="none")
def in_hardirq() -> bool:
    """Whether this CPU serves a hard interrupt."""
    return table(cpu_hw, hw.cpu).preempt_count & HARDIRQ_MASK != 0


@hwfunc(visible="own context", x86="none")
def preempt_count() -> int:
    """This CPU's preempt_count()."""
    return table(cpu_hw, hw.cpu).preempt_count


@hwfunc(visible="preempt_count", x86="none")
def preempt_count_add(value: int) -> None:
    """Add to preempt_count()."""
    table(cpu_hw, hw.cpu).preempt_count += value


@hwfunc(visible="preempt_count", x86="none")
def preempt_count_sub(value: int) -> None:
    """Subtract from preempt_count(); does not reschedule."""
    table(cpu_hw, hw.cpu).preempt_count -= value


@hwfunc(visible="own context", x86="none")
def vtime_softirq_enter() -> int:
    """CPU time is softirq time from here, unless a kernel thread exists for it; the class before."""
    c = table(cpu_hw, hw.cpu)
    was = c.time_class
    if c.cur.kind != CTX_TASK or was <= TIME_SOFTIRQ:
        account(c, hw.now, TIME_SOFTIRQ)
    return was


@hwfunc(visible="own context", x86="none")
def vtime_softirq_exit(was: int) -> None:
    """CPU time is of the class that vtime_softirq_enter() returned."""
    account(table(cpu_hw, hw.cpu), hw.now, was)


@hwfunc(visible="own interrupts", x86="none")
def vtime_user_enter() -> None:
    """This task goes to user mode."""
    c = table(cpu_hw, hw.cpu)
    c.cur.user = True
    account(c, hw.now, TIME_USER)


@hwfunc(visible="own interrupts", x86="none")
def vtime_user_exit() -> None:
    """This task enters the kernel."""
    c = table(cpu_hw, hw.cpu)
    c.cur.user = False
    account(c, hw.now, c.cur.task.time_class)


@hwfunc(visible="own context", x86="none")
def cpu_irq_line(cpu: int, vector: int) -> irq_line:
    """The line of a CPU's own vectors: timer, function call, reschedule."""
    return table(irq_line, cpu * 4 + vector)


@hwfunc(visible="all", x86="locked")
def arch_send_call_function_single_ipi(cpu: int) -> None:
    """Send the CALL_FUNCTION_SINGLE interrupt; arch/x86/kernel/smp.c."""
    trace("ipi_send_cpu", cpu, VECTOR_CALL_FUNCTION_SINGLE)
    trace("ipi_call_function", cpu)
    irq_post(cpu_irq_line(cpu, VECTOR_CALL_FUNCTION_SINGLE), cpu, hw.now + hw.cost_ipi)
    hw.now += hw.cost_ipi_send


@hwfunc(visible="all", x86="locked")
def smp_send_reschedule(cpu: int) -> None:
    """Send the RESCHEDULE interrupt; arch/x86/kernel/smp.c."""
    trace("ipi_send_cpu", cpu, VECTOR_RESCHEDULE)
    irq_post(cpu_irq_line(cpu, VECTOR_RESCHEDULE), cpu, hw.now + hw.cost_ipi)
    hw.now += hw.cost_ipi_send


@hwfunc(visible="own context", reads="cpu_hw.online", x86="plain load")
def cpu_online(cpu: int) -> bool:
    """Whether the CPU is online."""
    return table(cpu_hw, cpu).online


@hwfunc(visible="own context", reads="cpu_hw.online", x86="plain load")
def cpu_is_offline(cpu: int) -> bool:
    """Whether the CPU is not online."""
    return not table(cpu_hw, cpu).online


@hwfunc(visible="own context", x86="none")
def nr_cpu_ids() -> int:
    """How many CPUs the machine has."""
    return hw.nr_cpus


@hwfunc(visible="own context", x86="none")
def cpu_to_node(cpu: int) -> int:
    """The NUMA node of the CPU, from 0."""
    return table(cpu_hw, cpu).node


@hwfunc(visible="own context", x86="none")
def nr_node_ids() -> int:
    """How many NUMA nodes the machine has: CPUs are dealt to them in their order."""
    return table(cpu_hw, hw.nr_cpus - 1).node + 1


@hwfunc(visible="own cpu", x86="locked")
def idle_enter() -> bool:
    """Halt until an interrupt or a remote NEED_RESCHED; false if there is something to do already."""
    c = table(cpu_hw, hw.cpu)
    if c.need_resched or c.need_resched_lazy:
        return False
    c.idle_waiting = True
    account(c, hw.now, TIME_IDLE)
    hw.now = NEVER
    return True


@hwfunc(visible="own cpu", x86="locked")
def idle_enter_state(wake_ns: int) -> bool:
    """As idle_enter(), in a state that it takes ``wake_ns`` to wake from."""
    c = table(cpu_hw, hw.cpu)
    c.idle_exit = wake_ns
    c.idle_wake = hw.cost_line_local + wake_ns
    return idle_enter()


@hwfunc(visible="own cpu", x86="locked")
def idle_poll(until: int) -> bool:
    """Spin until an interrupt, a remote NEED_RESCHED or that time; false if there is something to do already.

    Interrupts are on, and NEED_RESCHED is watched while one is served, too.
    """
    c = table(cpu_hw, hw.cpu)
    c.idle_exit = 0
    c.idle_wake = hw.cost_line_local
    if not idle_enter():
        return False
    c.idle_spins = True
    hw.now = until
    return True


@hwfunc(visible="own cpu", x86="none")
def idle_poll_end() -> None:
    """The spinning is over, perhaps because its time is."""
    c = table(cpu_hw, hw.cpu)
    c.idle_waiting = False
    c.idle_spins = False


@hwfunc(visible="own cpu", x86="locked")
def set_polling() -> None:
    """TIF_POLLING_NRFLAG: the idle loop watches need_resched, so no interrupt is needed to wake it."""
    table(cpu_hw, hw.cpu).polling = True


@hwfunc(visible="own cpu", x86="locked")
def clear_polling() -> None:
    """The idle loop stops watching need_resched."""
    table(cpu_hw, hw.cpu).polling = False


@hwfunc(visible="all", x86="plain load")
def is_idle_polling(cpu: int) -> bool:
    """Whether the CPU idles and watches need_resched."""
    return table(cpu_hw, cpu).polling


@hwfunc(visible="all", x86="locked")
def set_nr_if_polling(cpu: int) -> bool:
    """Set need_resched on a polling idle CPU, which sees it without an interrupt; kernel/sched/core.c."""
    c = table(cpu_hw, cpu)
    if not c.polling:
        return False
    c.need_resched = True
    if c.idle_waiting:
        c.idle_waiting = False
        wake_at = max(hw.now, c.stopped_until) + c.idle_wake
        c.idle_left = wake_at
        if c.cur.kind == CTX_TASK:
            c.t = wake_at
            cpu_update(c)
        else:
            c.cur.prev.remain = 0
    return True
