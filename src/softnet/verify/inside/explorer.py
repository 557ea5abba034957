# SPDX-License-Identifier: GPL-2.0-or-later
"""What the searches have in common, in the restricted Python: which actions a state has, doing one, undoing it.

A state is every word that can change and matters. An action's stores are logged with what was there before, by the back
end, and the frames of the context that runs are copied: so going back costs what the action changed, not the state's size.
How states are kept and found again is softnet.verify.inside.exact's and softnet.verify.inside.compact's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import address_of, mem, mem_set, table, table_len

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.machine.interrupts import cpu_irq_line, irq_deliver, irq_post
    from softnet.machine.state import (
        CTX_TASK,
        NEVER,
        VECTOR_RESCHEDULE,
        context,
        cpu_hw,
        task_struct,
    )
    from softnet.verify.inside.buffers import VX_STORE_BUFFER, vx_buffer_drain, vx_buffer_flush
    from softnet.verify.inside.harness import (
        VX_HOTPLUG,
        VX_ORDER,
        VX_RESCHED,
        vx_driver_enabled,
        vx_driver_perform,
        vx_env_enabled,
        vx_env_perform,
    )
    from softnet.verify.inside.open_accesses import VX_RACES, vx_close
    from softnet.verify.inside.properties import verify_after
    from softnet.verify.inside.words import (
        VX_BLOCKED,
        VX_END_WORD,
        VX_FRAME_WORD,
        VX_FRAME_WORDS_MAX,
        VX_FUEL,
        VX_FUEL_WORD,
        VX_IRQ,
        VX_LEARNING,
        VX_LIMIT_WORD,
        VX_MACHINE,
        VX_NIC,
        VX_OUTSIDE,
        VX_PER_CPU,
        VX_PHASE_WORD,
        VX_SWITCHED,
        VX_TASK_WORD,
        VX_UNDO_WORD,
        VX_WALK_STEPS,
        explorer,
        verify_env,
        vx_buffer,
        vx_driver,
    )


@hwfunc
def verify_step(frame: int) -> int:
    """Run the context whose frame that is to its next stop; its text is the back end's."""
    return frame


@hwfunc
def vx_mix(key: int, value: int) -> int:
    """A hash of a value in its place; its text is the back end's, like that of the next functions."""
    return key


@hwfunc
def vx_logical(word: int, bits: int) -> int:
    """Shift to the right, with zeros."""
    return word


@hwfunc
def vx_get32(at: int) -> int:
    """The half of a word; addresses are those of words times two."""
    return at


@hwfunc
def vx_put32(at: int, value: int) -> None:
    """Store the half of a word."""


@hwfunc
def vx_put8(at: int, value: int) -> None:
    """Store a byte; addresses are those of words times eight."""


@hwfunc
def vx_prefetch(address: int) -> None:
    """That word will be read soon."""


@hwfunc
def vx_owner(address: int) -> int:
    """Who owns a word, from the table of owners: 0 nobody, 1 + a CPU, VX_READ_ONLY, VX_LEARNING."""
    return address


@hwfunc
def vx_remember(address: int) -> None:
    """Write what a word holds to the undo log."""


@hwfunc
def vx_holds(v: explorer, cpu: int) -> bool:
    """Whether a task of the CPU holds a lock that others take, too: a waiter may link itself to it then."""
    for i in range(v.nr_locks):
        lock = mem(v.locks + 2 * i)
        if mem(lock) != 0 and vx_owner(lock) != cpu + 1 and table(context, mem(lock) - 1).cpu == cpu:
            return True
    return False


@hwfunc
def vx_waits(v: explorer, cpu: int) -> bool:
    """Whether a task of the CPU waits for a lock that others take, too: whoever releases it wakes the task."""
    for i in range(table_len(task_struct)):
        p = table(task_struct, i)
        if p.pi_blocked_on is not None and p.cpu == cpu and vx_owner(address_of(p.pi_blocked_on.owner)) != cpu + 1:
            return True
    return False


@hwfunc
def vx_touched(address: int, write: int) -> None:
    """Somebody touches a word who does not own it."""
    v = table(explorer, 0)
    cpu = hw.cpu
    if cpu == VX_OUTSIDE:
        cpu = v.home - 1
    elif hw.running == 0:
        return
    if cpu < 0:
        return
    owner = vx_owner(address)
    if owner == cpu + 1:
        return
    home = mem(v.machine_of + address) & 255
    if home != 0 and home != cpu + 1 and v.sleeping_locks != 0:
        if vx_waits(v, home - 1) or (mem(v.machine_of + address) & VX_TASK_WORD != 0 and vx_holds(v, home - 1)):
            return
    mem_set(v.touched + address, mem(v.touched + address) | (1 << (cpu + 32 * write)))
    if owner != VX_LEARNING:
        v.disowned = address


@hwfunc
def vx_exposed() -> bool:
    """Whether an interrupt may strike the running context: interrupts are on, and one is pending or may come at any time."""
    c = table(cpu_hw, hw.cpu)
    return c.cur.irqs_off == 0 and not vx_unreachable(c)


@hwfunc
def vx_unreachable(c: cpu_hw) -> bool:
    """Whether no interrupt is pending on the CPU, and none comes until it acts itself; and no fair task waits there."""
    v = table(explorer, 0)
    if mem(v.untouched + c.id) == 0 or c.irq_head is not None or c.fair_head is not None:
        return False
    for i in range(table_len(vx_driver)):
        d = table(vx_driver, i)
        if d.home == c.id:
            if d.kind == VX_IRQ or d.kind == VX_NIC:
                if d.started < d.count:
                    return False
            elif d.started == 0:
                return False
    return v.sleeping_locks == 0 or not vx_waits(v, c.id)


@hwfunc
def vx_calm() -> bool:
    """Whether, besides, nobody else looks at what the running CPU does to its own machine."""
    v = table(explorer, 0)
    if not vx_unreachable(table(cpu_hw, hw.cpu)):
        return False
    return v.sleeping_locks == 0 or not vx_holds(v, hw.cpu)


@hwfunc
def vx_may_move() -> bool:
    """Whether the running task, if an interrupt struck now, could be switched out and moved to another CPU."""
    c = table(cpu_hw, hw.cpu)
    if c.cur.kind != CTX_TASK or c.preempt_count != 0 or c.task.migrate_disabled != 0:
        return False
    return bool(VX_HOTPLUG != 0 or c.task.nr_allowed != 1)


@hwfunc
def vx_cpu_enabled(c: cpu_hw, what: int) -> bool:
    """Whether the CPU can act: 0 its context goes on, 1 an interrupt strikes, 2 the scheduler preempts a fair task, 3 it
    prefers another of the waiting fair tasks.
    """
    if VX_HOTPLUG != 0:
        if table(verify_env, 0).stopped_by != 0 and table(verify_env, 0).stopped_by != c.id + 1:
            return False
    if what == 0:
        return c.t < NEVER
    if what == 1:
        return bool(c.irq_head is not None and c.cur.irqs_off == 0)
    if what == 3:
        return bool(VX_ORDER != 0 and c.fair_head is not None and c.fair_head.rq_next is not None)
    if VX_RESCHED == 0 or c.need_resched != 0 or c.cur.kind != CTX_TASK or c.task == c.idle or c.fair_head is None:
        return False
    if VX_RESCHED == 2:
        if table(verify_env, 0).resched_left == 0:
            return False
    return bool(c.task.prio >= 100 and cpu_irq_line(c.id, VECTOR_RESCHEDULE).pending == 0)


@hwfunc
def vx_run(v: explorer, c: cpu_hw, phase: int) -> int:
    """Run the CPU's context to its next stop; its frames are copied before, for vx_undo()."""
    ctx = c.cur.id
    base = v.stacks + ctx * v.stack_words
    saved = v.saved
    for i in range(mem(base + 1)):
        mem_set(saved + i, mem(base + i))
    v.ran = ctx + 1
    hw.cpu = c.id
    hw.ctx = ctx
    hw.now = 0
    hw.running = True
    if VX_RACES != 0:
        vx_close(ctx)
    mem_set(VX_PHASE_WORD, phase)
    mem_set(VX_LIMIT_WORD, base + v.stack_words - VX_FRAME_WORDS_MAX)
    mem_set(VX_FUEL_WORD, VX_FUEL)
    r = verify_step(base + mem(base))
    hw.running = False
    mem_set(base + 1, mem(VX_END_WORD) - base)
    if r == VX_BLOCKED:
        return VX_BLOCKED
    mem_set(base, mem(VX_FRAME_WORD) - base)
    c.t = hw.now
    hw.now = 0
    while r == VX_SWITCHED and c.t < NEVER and vx_calm():
        r = vx_run_on(v, c)
    verify_after()
    return 0


@hwfunc
def vx_run_on(v: explorer, c: cpu_hw) -> int:
    """In the same step the context that got the CPU goes on, if it had given it away.

    Its frames go to the undo log, unless they are those that vx_run() copied.
    """
    ctx = c.cur.id
    base = v.stacks + ctx * v.stack_words
    if mem(v.switches + mem(base + mem(base))) == 0:
        return 0
    had = mem(base + 1)
    if ctx + 1 != v.ran:
        for i in range(had):
            vx_remember(base + i)
    hw.ctx = ctx
    hw.running = True
    if VX_RACES != 0:
        vx_close(ctx)
    mem_set(VX_LIMIT_WORD, base + v.stack_words - VX_FRAME_WORDS_MAX)
    r = verify_step(base + mem(base))
    hw.running = False
    has = mem(VX_END_WORD) - base
    mem_set(base + 1, has)
    if ctx + 1 != v.ran:
        for j in range(had, has):
            now = mem(base + j)
            mem_set(base + j, 0)
            vx_remember(base + j)
            mem_set(base + j, now)
    if r == VX_BLOCKED:
        return 0
    mem_set(base, mem(VX_FRAME_WORD) - base)
    c.t = hw.now
    hw.now = 0
    return r


@hwfunc
def vx_undo(v: explorer) -> None:
    """Memory is as it was before the action: what the undo log holds from ``log_from`` on, and the frames that ran."""
    i = mem(VX_UNDO_WORD)
    first = v.log_from
    while i > first:
        i -= 2
        mem_set(mem(i), mem(i + 1))
    mem_set(VX_UNDO_WORD, first)
    if v.ran != 0:
        base = v.stacks + (v.ran - 1) * v.stack_words
        saved = v.saved
        had = mem(saved + 1)
        has = mem(base + 1)
        for j in range(had):
            mem_set(base + j, mem(saved + j))
        for j in range(had, has):
            mem_set(base + j, 0)
    v.ran = 0


@hwfunc
def vx_kept(v: explorer) -> None:
    """The action stays: nothing is left to undo."""
    mem_set(VX_UNDO_WORD, v.log_from)
    v.ran = 0


@hwfunc
def vx_rotate(c: cpu_hw) -> None:
    """The first of the waiting fair tasks becomes the last."""
    first = c.fair_head
    last = first
    while last.rq_next is not None:
        last = last.rq_next
    c.fair_head = first.rq_next
    last.rq_next = first
    first.rq_next = None


@hwfunc
def vx_enabled(v: explorer, action: int) -> bool:
    """Whether an action can happen; a step may still turn out to wait for a lock."""
    if action < VX_PER_CPU * hw.nr_cpus:
        return vx_cpu_enabled(table(cpu_hw, action // VX_PER_CPU), action % VX_PER_CPU)
    if action < VX_PER_CPU * hw.nr_cpus + v.nr_drivers:
        return vx_driver_enabled(action - VX_PER_CPU * hw.nr_cpus)
    if VX_STORE_BUFFER != 0:
        if action >= v.nr_actions - hw.nr_cpus:
            return bool(table(vx_buffer, action - v.nr_actions + hw.nr_cpus).n != 0)
    return vx_env_enabled(action - VX_PER_CPU * hw.nr_cpus - v.nr_drivers)


@hwfunc
def vx_perform(v: explorer, action: int) -> int:
    """Do the action; VX_BLOCKED if it cannot happen after all."""
    hw.ctx = -1
    if action < VX_PER_CPU * hw.nr_cpus:
        c = table(cpu_hw, action // VX_PER_CPU)
        what = action % VX_PER_CPU
        if what == 0:
            return vx_run(v, c, 0)
        if what == 1:
            if VX_STORE_BUFFER != 0:
                # An interrupt drains the store buffer.
                vx_buffer_drain(c.id)
            # To enter an interrupt is a right mover: nothing of the same CPU comes between it and irq_ack(), and what other CPUs
            # do there they can as well do before, if they raise this line again, or after irq_ack().
            irq_deliver(c, 0)
            return vx_run(v, c, 1)
        hw.cpu = VX_OUTSIDE
        if what == 3:
            vx_rotate(c)
            return 0
        if VX_RESCHED == 2:
            table(verify_env, 0).resched_left -= 1
        c.need_resched = True
        irq_post(cpu_irq_line(c.id, VECTOR_RESCHEDULE), c.id, 0)
        return 0
    hw.cpu = VX_OUTSIDE
    if action < VX_PER_CPU * hw.nr_cpus + v.nr_drivers:
        v.home = table(vx_driver, action - VX_PER_CPU * hw.nr_cpus).home + 1
        vx_driver_perform(action - VX_PER_CPU * hw.nr_cpus)
        v.home = 0
        return 0
    if VX_STORE_BUFFER != 0:
        if action >= v.nr_actions - hw.nr_cpus:
            vx_buffer_flush(table(vx_buffer, action - v.nr_actions + hw.nr_cpus))
            verify_after()
            return 0
    vx_env_perform(action - VX_PER_CPU * hw.nr_cpus - v.nr_drivers)
    return 0


@hwfunc
def vx_settle(limit: int) -> int:
    """Before the search: run every CPU until it sleeps, in the order of CPUs; how many steps that took, or a code < 0."""
    v = table(explorer, 0)
    v.log_from = v.log
    vx_kept(v)
    for n in range(limit):
        ran = False
        for cpu in range(hw.nr_cpus):
            c = table(cpu_hw, cpu)
            what = 1 if vx_cpu_enabled(c, 1) else 0
            if not ran and vx_cpu_enabled(c, what):
                if what == 1:
                    irq_deliver(c, 0)
                if vx_run(v, c, what) != VX_BLOCKED:
                    ran = True
                    vx_kept(v)
                else:
                    vx_undo(v)
        if hw.error != 0:
            return -1
        if not ran:
            return n
    return -2


@hwfunc
def vx_walk(seed: int) -> int:
    """A run from the present memory to its end by chance; how many steps it took, or a code < 0."""
    v = table(explorer, 0)
    v.log_from = v.log
    vx_kept(v)
    steps = 0
    while steps < VX_WALK_STEPS:
        seed = vx_mix(seed, steps)
        v.stamp += 1
        first = vx_logical(seed, 32) % v.nr_actions
        went = False
        for i in range(v.nr_actions):
            action = (first + i) % v.nr_actions
            if not went and vx_enabled(v, action):
                if vx_perform(v, action) == VX_BLOCKED:
                    vx_undo(v)
                else:
                    vx_kept(v)
                    went = True
        if hw.error != 0:
            return -1
        if not went:
            return steps
        steps += 1
    return steps


@hwfunc
def vx_try(action: int) -> int:
    """An action on the present memory, taken back: VX_BLOCKED if it cannot happen, VX_MACHINE if it fails, or races with another
    one that was tried before, under the same stamp.
    """
    v = table(explorer, 0)
    v.log_from = v.log
    vx_kept(v)
    if not vx_enabled(v, action):
        return VX_BLOCKED
    r = vx_perform(v, action)
    vx_undo(v)
    return VX_MACHINE if hw.error != 0 else r


@hwfunc
def vx_replay(action: int) -> int:
    """One action of a counterexample on the present memory; VX_BLOCKED for one that cannot happen, which changes nothing."""
    v = table(explorer, 0)
    v.log_from = v.log
    vx_kept(v)
    if not vx_enabled(v, action):
        return VX_BLOCKED
    v.stamp += 1
    r = vx_perform(v, action)
    if r == VX_BLOCKED:
        vx_undo(v)
    return VX_MACHINE if hw.error != 0 else r
