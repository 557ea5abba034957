# SPDX-License-Identifier: GPL-2.0-or-later
# mypy: strict-optional=False, warn-unreachable=False, disable-error-code="redundant-expr"
"""The search itself, in the restricted Python: actions, states, breadth first.

A state is every word that can change and matters, cut into *components* (a CPU, a task, an skb, a context's frames, …).
Each distinct value of a component is stored once; a state is the row of its components' numbers, stored exactly. So equal
states are found exactly, a state costs some dozens of bytes, and going back to a state copies only what differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set, table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.machine.interrupts import cpu_irq_line, irq_deliver, irq_post
    from softnet.machine.sched import try_to_wake_up
    from softnet.machine.state import (
        CTX_TASK,
        NEVER,
        TASK_INTERRUPTIBLE,
        VECTOR_RESCHEDULE,
        VECTOR_TIMER,
        cpu_hw,
    )
    from softnet.verify.harness import (
        VX_IRQ,
        VX_ORDER,
        VX_RESCHED,
        verify_state,
        verify_terminal,
        vx_env_enabled,
        vx_env_perform,
    )
    from softnet.verify.words import (
        VX_BLOCKED,
        VX_COMP_WORDS,
        VX_DONE,
        VX_FRAME_WORD,
        VX_FRAME_WORDS_MAX,
        VX_FUEL,
        VX_FUEL_WORD,
        VX_FULL,
        VX_LIMIT_WORD,
        VX_MACHINE,
        VX_MORE,
        VX_MULTIPLIER,
        VX_OUTSIDE,
        VX_PER_CPU,
        VX_PHASE_WORD,
        VX_VIOLATION,
        explorer,
        vx_driver,
    )

@hwfunc
def verify_step(frame: int) -> int:
    """Run the context whose frame that is to its next stop; its text is the back end's."""
    return frame


@hwfunc
def vx_hash(h: int, word: int) -> int:
    """Mix a word into a hash."""
    x = (h ^ word) * VX_MULTIPLIER
    return x ^ (x >> 29)


@hwfunc
def vx_intern(v: explorer, k: int) -> int:
    """The number of the present value of component ``k``; 0 when there is no room for a new one."""
    comp = v.comps + VX_COMP_WORDS * k
    addresses = mem(comp)
    count = mem(comp + 1)
    entry = v.store + mem(v.cur + k)
    i = 0
    while i < count and mem(mem(addresses + i)) == mem(entry + 1 + i):
        i += 1
    if i == count:
        return mem(v.cur + k)
    h = k
    for j in range(count):
        h = vx_hash(h, mem(mem(addresses + j)))
    slot = (h >> 7) & v.ctable_mask
    while True:
        at = mem(v.ctable + slot)
        if at == 0:
            return vx_intern_new(v, k, slot, addresses, count)
        entry = v.store + at
        if mem(entry) == k:
            i = 0
            while i < count and mem(mem(addresses + i)) == mem(entry + 1 + i):
                i += 1
            if i == count:
                return at
        slot = (slot + 1) & v.ctable_mask


@hwfunc
def vx_intern_new(v: explorer, k: int, slot: int, addresses: int, count: int) -> int:
    """Store a value of a component that was not met before."""
    if v.store_used + count + 1 >= v.store_room or v.values * 4 >= v.ctable_mask * 3:
        return 0
    at = v.store_used
    entry = v.store + at
    mem_set(entry, k)
    for j in range(count):
        mem_set(entry + 1 + j, mem(mem(addresses + j)))
    v.store_used += count + 1
    v.values += 1
    mem_set(v.ctable + slot, at)
    return at


@hwfunc
def vx_copy(v: explorer, k: int, at: int) -> None:
    """Make component ``k`` of memory the stored value ``at``."""
    comp = v.comps + VX_COMP_WORDS * k
    addresses = mem(comp)
    entry = v.store + at + 1
    for j in range(mem(comp + 1)):
        mem_set(mem(addresses + j), mem(entry + j))
    mem_set(v.cur + k, at)


@hwfunc
def vx_load(v: explorer, state: int) -> None:
    """Make memory the stored state; its row of components is in ``want``, too."""
    row = v.pool + state * (v.key_words + 1) + 1
    for k in range(v.nr_comps):
        word = mem(row + (k >> 1))
        at = (word >> 32) & 0xFFFFFFFF if k & 1 != 0 else word & 0xFFFFFFFF
        mem_set(v.want + k, at)
        if mem(v.cur + k) != at:
            vx_copy(v, k, at)


@hwfunc
def vx_back(v: explorer, ctx: int) -> None:
    """After an action: memory is the parent state again."""
    for k in range(v.nr_comps):
        if mem(v.cur + k) != mem(v.want + k):
            vx_copy(v, k, mem(v.want + k))


@hwfunc
def vx_undo(v: explorer, ctx: int) -> None:
    """After an action that was none: whatever it changed is undone."""
    for k in range(v.nr_comps):
        owner = mem(v.comps + VX_COMP_WORDS * k + 2)
        if owner == 0 or owner == ctx + 1:
            vx_copy(v, k, mem(v.want + k))


@hwfunc
def vx_changed(v: explorer, ctx: int) -> bool:
    """Number all components that the action may have changed; false when there is no room."""
    for k in range(v.nr_comps):
        owner = mem(v.comps + VX_COMP_WORDS * k + 2)
        if owner == 0 or owner == ctx + 1:
            at = vx_intern(v, k)
            if at == 0:
                return False
            mem_set(v.cur + k, at)
    return True


@hwfunc
def vx_add(v: explorer, parent: int, action: int) -> int:
    """Look the present state up and store it if it is new, with its properties checked."""
    h = 0
    for k in range(v.nr_comps):
        h = vx_hash(h, mem(v.cur + k))
    slot = (h >> 7) & v.index_mask
    print_ = (h >> 33) & 0x7FFFFFFF
    while True:
        found = mem(v.index + slot)
        if found == 0:
            break
        if found >> 32 == print_:
            row = v.pool + ((found & 0xFFFFFFFF) - 1) * (v.key_words + 1) + 1
            same = True
            for k in range(v.key_words):
                if mem(row + k) != vx_key_word(v, k):
                    same = False
                    break
            if same:
                return VX_MORE
        slot = (slot + 1) & v.index_mask
    if v.states >= v.max_states:
        return VX_FULL
    row = v.pool + v.states * (v.key_words + 1)
    mem_set(row, (parent << 8) | action)
    for k in range(v.key_words):
        mem_set(row + 1 + k, vx_key_word(v, k))
    mem_set(v.index + slot, (print_ << 32) | (v.states + 1))
    v.states += 1
    found = verify_state() & v.properties
    if found != 0:
        v.violated = found
        return VX_VIOLATION
    return VX_MORE


@hwfunc
def vx_key_word(v: explorer, k: int) -> int:
    """Two components' numbers in one word."""
    return mem(v.cur + 2 * k) | (mem(v.cur + 2 * k + 1) << 32)


@hwfunc
def vx_cpu_enabled(c: cpu_hw, what: int) -> bool:
    """Whether the CPU can act: 0 its context goes on, 1 an interrupt strikes, 2 the scheduler preempts a fair task, 3 it
    prefers another of the waiting fair tasks.
    """
    if what == 0:
        return c.t < NEVER
    if what == 1:
        return bool(c.irq_head is not None and c.cur.irqs_off == 0)
    if what == 3:
        return bool(VX_ORDER != 0 and c.fair_head is not None and c.fair_head.rq_next is not None)
    if VX_RESCHED == 0 or c.need_resched != 0 or c.cur.kind != CTX_TASK or c.task == c.idle or c.fair_head is None:
        return False
    return bool(c.task.prio >= 100 and cpu_irq_line(c.id, VECTOR_RESCHEDULE).pending == 0)


@hwfunc
def vx_run(v: explorer, c: cpu_hw, phase: int) -> int:
    """Run the CPU's context to its next stop."""
    ctx = c.cur.id
    base = v.stacks + ctx * v.stack_words
    hw.cpu = c.id
    hw.ctx = ctx
    hw.now = 0
    hw.running = 1
    mem_set(VX_PHASE_WORD, phase)
    mem_set(VX_LIMIT_WORD, base + v.stack_words - VX_FRAME_WORDS_MAX)
    mem_set(VX_FUEL_WORD, VX_FUEL)
    r = verify_step(base + mem(v.sp + ctx))
    hw.running = 0
    if r == VX_BLOCKED:
        return VX_BLOCKED
    mem_set(v.sp + ctx, mem(VX_FRAME_WORD) - base)
    c.t = hw.now
    hw.now = 0
    return 0


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
        d = table(vx_driver, action - VX_PER_CPU * hw.nr_cpus)
        if d.kind == VX_IRQ:
            return bool(d.started < d.count and d.raised == 0)
        return bool(d.started == 0 and d.task.state == TASK_INTERRUPTIBLE)
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
            irq_deliver(c, 0)
            return vx_run(v, c, 1)
        hw.cpu = VX_OUTSIDE
        if what == 3:
            vx_rotate(c)
            return 0
        c.need_resched = 1
        irq_post(cpu_irq_line(c.id, VECTOR_RESCHEDULE), c.id, 0)
        return 0
    hw.cpu = VX_OUTSIDE
    if action < VX_PER_CPU * hw.nr_cpus + v.nr_drivers:
        d = table(vx_driver, action - VX_PER_CPU * hw.nr_cpus)
        d.started += 1
        if d.kind == VX_IRQ:
            d.raised = 1
            irq_post(cpu_irq_line(d.target, VECTOR_TIMER), d.target, 0)
            return 0
        try_to_wake_up(d.task, TASK_INTERRUPTIBLE)
        return 0
    vx_env_perform(action - VX_PER_CPU * hw.nr_cpus - v.nr_drivers)
    return 0


@hwfunc
def vx_expand(v: explorer, state: int) -> int:
    """All actions of a state."""
    vx_load(v, state)
    enabled = 0
    v.blocked = 0
    v.in_terminal = 0
    for action in range(v.nr_actions):
        if not vx_enabled(v, action):
            continue
        v.at_action = action
        if vx_perform(v, action) == VX_BLOCKED:
            v.blocked += 1
            vx_undo(v, hw.ctx)
            continue
        enabled += 1
        v.transitions += 1
        if hw.error != 0:
            return VX_MACHINE
        if not vx_changed(v, hw.ctx):
            return VX_FULL
        code = vx_add(v, state, action)
        if code != VX_MORE:
            return code
        vx_back(v, hw.ctx)
    if enabled == 0:
        v.terminals += 1
        v.in_terminal = 1
        found = verify_terminal(v.blocked) & v.properties
        if found != 0:
            v.violated = found
            return VX_VIOLATION
    return VX_MORE


@hwfunc
def vx_explore(limit: int) -> int:
    """Expand up to ``limit`` states."""
    v = table(explorer, 0)
    end = v.head + limit
    while v.head < v.states and v.head < end:
        code = vx_expand(v, v.head)
        if code != VX_MORE:
            return code
        v.head += 1
        if v.head == v.level_end and v.head < v.states:
            v.depth += 1
            v.level_end = v.states
    return VX_DONE if v.head == v.states else VX_MORE


@hwfunc
def vx_start() -> int:
    """The present memory is the first state."""
    v = table(explorer, 0)
    for k in range(v.nr_comps):
        comp = v.comps + VX_COMP_WORDS * k
        h = k
        for j in range(mem(comp + 1)):
            h = vx_hash(h, mem(mem(mem(comp) + j)))
        slot = (h >> 7) & v.ctable_mask
        while mem(v.ctable + slot) != 0:
            slot = (slot + 1) & v.ctable_mask
        at = vx_intern_new(v, k, slot, mem(comp), mem(comp + 1))
        if at == 0:
            return VX_FULL
        mem_set(v.cur + k, at)
    return vx_add(v, 0, 255)


@hwfunc
def vx_settle(limit: int) -> int:
    """Before the search: run every CPU until it sleeps, in the order of CPUs; how many steps that took, or a code < 0."""
    v = table(explorer, 0)
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
        if hw.error != 0:
            return -1
        if not ran:
            return n
    return -2


@hwfunc
def vx_replay(action: int) -> int:
    """One action of a counterexample on the present memory."""
    r = vx_perform(table(explorer, 0), action)
    return VX_MACHINE if hw.error != 0 else r
