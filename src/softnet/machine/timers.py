# SPDX-License-Identifier: GPL-2.0-or-later
"""One timer device per CPU: its high resolution timers and the tick, which stops while the CPU idles (NO_HZ_IDLE)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.machine.events import actor_set
    from softnet.machine.globals import hw, scheduler_tick
    from softnet.machine.interrupts import cpu_irq_line, irq_post
    from softnet.machine.state import NEVER, VECTOR_TIMER, cpu_hw, hrtimer


@hwfunc(price_only=True)
def cpu_timer_update(c: cpu_hw) -> None:
    """Program the CPU's timer: the tick runs unless the CPU idles; the first expiring timer counts if it is earlier."""
    if c.task == c.idle:
        if not hw.tick_in_idle:
            c.tick_at = NEVER
    elif c.tick_at >= NEVER:
        c.tick_at = (hw.now // hw.tick_ns + 1) * hw.tick_ns
    timer_program(c)


@hwfunc(price_only=True)
def tick_stop(c: cpu_hw) -> None:
    """The tick of a CPU that idles stops."""
    c.tick_at = NEVER
    timer_program(c)


@hwfunc(price_only=True)
def tick_restart(c: cpu_hw) -> None:
    """The tick of a CPU goes on."""
    c.tick_at = (hw.now // hw.tick_ns + 1) * hw.tick_ns
    timer_program(c)


@hwfunc(price_only=True)
def timer_program(c: cpu_hw) -> None:
    """Set the timer actor to the earlier of tick and first timer; not while its interrupt is pending."""
    at = c.tick_at
    if c.timer_head is not None and c.timer_head.expires < at:
        at = c.timer_head.expires
    if cpu_irq_line(c.id, VECTOR_TIMER).pending:
        at = NEVER
    actor_set(hw.nr_cpus + c.id, at)


@hwfunc
def timer_due(c: cpu_hw) -> None:
    """The programmed time came: interrupt the CPU."""
    actor_set(hw.nr_cpus + c.id, NEVER)
    irq_post(cpu_irq_line(c.id, VECTOR_TIMER), c.id, hw.now)


@hwfunc(visible="all", x86="locked")
def hrtimer_start(timer: hrtimer, expires: int) -> None:
    """Arm the timer on this CPU for the absolute time ``expires``; kernel/time/hrtimer.c."""
    if timer.active:
        hrtimer_remove(timer)
    c = table(cpu_hw, hw.cpu)
    timer.cpu = c.id
    timer.expires = max(expires, hw.now)
    timer.active = True
    before: hrtimer = None
    after = c.timer_head
    while after is not None and after.expires <= timer.expires:
        before = after
        after = after.next
    timer.next = after
    if before is None:
        c.timer_head = timer
        timer_program(c)
    else:
        before.next = timer


@hwfunc
def hrtimer_remove(timer: hrtimer) -> None:
    """Take an armed timer off its CPU's list."""
    c = table(cpu_hw, timer.cpu)
    if c.timer_head == timer:
        c.timer_head = timer.next
        timer_program(c)
    else:
        before = c.timer_head
        while before is not None and before.next != timer:
            before = before.next
        if before is not None:
            before.next = timer.next
    timer.next = None
    timer.active = False


@hwfunc(visible="all", x86="locked")
def hrtimer_cancel(timer: hrtimer) -> int:
    """Disarm; 1 if the timer was armed."""
    if not timer.active:
        return 0
    hrtimer_remove(timer)
    return 1


@hwfunc(visible="all", x86="locked")
def hrtimer_take_expired() -> hrtimer:
    """The first timer of this CPU that is due, disarmed; None when there is none."""
    c = table(cpu_hw, hw.cpu)
    timer = c.timer_head
    if timer is None or timer.expires > hw.now:
        return None
    c.timer_head = timer.next
    timer.next = None
    timer.active = False
    return timer


@hwfunc(visible="all", x86="locked")
def tick_and_reprogram() -> None:
    """The end of the timer interrupt: the tick's share if it is due, and the device programmed anew."""
    c = table(cpu_hw, hw.cpu)
    if c.tick_at <= hw.now:
        if c.task == c.idle:
            c.got_idle_tick = True
        scheduler_tick(c)
        c.tick_at = (hw.now // hw.tick_ns + 1) * hw.tick_ns
    timer_program(c)


@hwfunc(visible="all", x86="plain load")
def jiffies() -> int:
    """Ticks since the start."""
    return hw.now // hw.tick_ns


@hwfunc(visible="own context", x86="none")
def ktime_get() -> int:
    """Nanoseconds since the start."""
    return hw.now


@hwfunc(visible="own context", x86="none")
def local_clock() -> int:
    """Nanoseconds since the start."""
    return hw.now


@hwfunc
def rq_clock_task() -> int:
    """kernel/sched/sched.h: the scheduler's clock in ns. Time in interrupts counts: no CONFIG_IRQ_TIME_ACCOUNTING."""
    return hw.now


@hwfunc
def tick_nsec() -> int:
    """TICK_NSEC, the length of a tick in ns."""
    return hw.tick_ns
