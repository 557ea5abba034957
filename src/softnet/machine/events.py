# SPDX-License-Identifier: GPL-2.0-or-later
"""The event loop: who acts next, and until when it may run ahead.

Every CPU, every CPU's timer, every NIC queue and the arrival stream is an *actor* with the time of its next action. Two tournament
trees, one of the CPUs and one of all others, find the least (time, actor); a context that runs may execute every interaction
point that comes before all others' next actions, which is what ``hw.lim`` says. Running ahead never changes the order, it only
saves switches. The trees are two because nearly all changes are from CPU to CPU: those climb the small one.

A node of a tree holds the key of the winner below it: its time shifted left by ACTOR_BITS, and the actor. Keys compare as
(time, actor), so that a match is one minimum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set, table

if TYPE_CHECKING:
    from softnet.machine.cache import line_owner
    from softnet.machine.globals import hw
    from softnet.machine.interrupts import irq_deliver
    from softnet.machine.nic import arrival_due, nic_moderation_due
    from softnet.machine.noise import noise_due
    from softnet.machine.state import STOP_ERROR, STOP_IDLE, STOP_REFILL, STOP_TIME, cpu_hw
    from softnet.machine.timers import timer_due


ACTOR_BITS = 12
ACTOR_MASK = 0xFFF
STOP_ACTOR = 0xFFF
"""The end of a run in a key's place for the actor."""

KEY_NEVER = 1 << 50
"""NEVER as a key's time, which has 51 bits: 13 days, where a run takes 28 hours at most."""


@hwfunc(inline="always")
def climb(tree: int, leaf: int, depth: int, key: int) -> None:
    """Put a key on its leaf and play its matches up to the root, which is node 1."""
    node = leaf
    mem_set(tree + node, key)
    for _ in range(depth):
        key = min(key, mem(tree + (node ^ 1)))
        node = node >> 1
        mem_set(tree + node, key)


@hwfunc(inline="always")
def best_other(tree: int, leaf: int, depth: int, key: int) -> int:
    """The least of ``key`` and the keys of all leaves but this one."""
    node = leaf
    for _ in range(depth):
        key = min(key, mem(tree + (node ^ 1)))
        node = node >> 1
    return key


@hwfunc(price_only=True)
def actor_set(actor: int, at: int) -> None:
    """The next action of an actor that is no CPU is at ``at``; the running context may not run past it."""
    climb(hw.devices, hw.device_leaves + actor, hw.device_depth, min(at, KEY_NEVER) << ACTOR_BITS | actor)
    if hw.running:
        look_ahead()
        hw.lim = min(hw.lim, run_ahead_bound())


@hwfunc
def stop_set(at: int) -> None:
    """The run stops at ``at``, before all who act then: as an actor of its own, whose key is less than all of that time."""
    hw.stop_at = min(at, KEY_NEVER)
    climb(hw.devices, hw.device_leaves + hw.nr_actors, hw.device_depth, (hw.stop_at << ACTOR_BITS) - 1)


@hwfunc
def look_ahead() -> None:
    """Who acts next after the CPU that runs."""
    hw.next_key = best_other(hw.cpus, hw.cpu_leaves + hw.cpu, hw.cpu_depth, mem(hw.devices + 1))


@hwfunc
def run_ahead_bound() -> int:
    """The last time at which the CPU that runs may act before any other actor does: its key must be the smaller one."""
    return (hw.next_key - hw.cpu - 1) >> ACTOR_BITS


@hwfunc(inline="always")
def due_key(c: cpu_hw) -> int:
    """When the CPU acts next, as a key: its context does, or an interrupt that the context lets through."""
    at = c.t
    if c.irq_head is not None and not c.cur.irqs_off:
        at = min(at, max(c.irq_head.at, c.irq_from))
    return min(at, KEY_NEVER) << ACTOR_BITS | c.id


@hwfunc(price_only=True)
def cpu_update(c: cpu_hw) -> None:
    """Recompute when a CPU acts next; the running context may not run past it."""
    climb(hw.cpus, hw.cpu_leaves + c.id, hw.cpu_depth, due_key(c))
    if hw.running and c.id != hw.cpu:
        look_ahead()
        hw.lim = min(hw.lim, run_ahead_bound())


@hwfunc
def next_context() -> int:
    """Suspend the context that ran, advance to the next action, and return the id of the context to resume.

    A negative result says why the loop stops: STOP_TIME, STOP_REFILL (the arrival buffer is empty), STOP_ERROR, STOP_IDLE.
    """
    key = hw.next_key
    if hw.running:
        ran = table(cpu_hw, hw.cpu)
        ran.t = hw.now
        mine = due_key(ran)
        climb(hw.cpus, hw.cpu_leaves + hw.cpu, hw.cpu_depth, mine)
        key = min(key, mine)
    if not hw.running or key & ACTOR_MASK >= hw.nr_cpus or hw.error != 0:
        key = devices_act()
        if key < 0:
            return key
    hw.cpu = key & ACTOR_MASK
    c = table(cpu_hw, hw.cpu)
    hw.ctx = c.cur.id
    hw.now = c.t
    line_owner(c)
    look_ahead()
    hw.lim = run_ahead_bound()
    if c.irq_head is not None and not c.cur.irqs_off:
        irq_next(c)
    hw.running = True
    hw.switches += 1
    return hw.ctx


@hwfunc
def devices_act() -> int:
    """Let all act who come before the next CPU: that one's key, or negative why the loop stops."""
    hw.running = False
    while hw.error == 0:
        key = min(mem(hw.cpus + 1), mem(hw.devices + 1))
        actor = key & ACTOR_MASK
        if actor < hw.nr_cpus:
            return key
        if actor == STOP_ACTOR:
            return STOP_TIME if hw.stop_at < KEY_NEVER else STOP_IDLE
        hw.now = key >> ACTOR_BITS
        if actor < 2 * hw.nr_cpus:
            timer_due(table(cpu_hw, actor - hw.nr_cpus))
        elif actor < hw.noise_first:
            nic_moderation_due(actor - 2 * hw.nr_cpus)
        elif actor < hw.nr_actors - 1:
            noise_due(actor - hw.noise_first)
        elif not arrival_due():
            return STOP_REFILL
    return STOP_ERROR


@hwfunc
def irq_next(c: cpu_hw) -> None:
    """Deliver the interrupt that waits for this CPU if its time has come; else its context runs up to then."""
    irq_at = max(c.irq_head.at, c.irq_from)
    if irq_at <= c.t:
        irq_deliver(c, irq_at)
        hw.ctx = c.cur.id
        hw.now = c.t
    else:
        hw.lim = min(hw.lim, irq_at - 1)
