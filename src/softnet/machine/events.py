# SPDX-License-Identifier: GPL-2.0-or-later
"""The event loop: who acts next, and until when it may run ahead.

Every CPU, every CPU's timer, every NIC queue and the arrival stream is an *actor* with the time of its next action. A tournament
tree finds the least (time, actor); a context that runs may execute every interaction point that comes before all others'
next actions, which is what ``hw.lim`` says. Running ahead never changes the order, it only saves switches.

A node of the tree holds the key of the winner below it: its time shifted left by ACTOR_BITS, and the actor. Keys compare as
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
    from softnet.machine.state import STOP_ERROR, STOP_IDLE, STOP_REFILL, STOP_TIME, cpu_hw
    from softnet.machine.timers import timer_due


ACTOR_BITS = 12
ACTOR_MASK = 0xFFF

KEY_NEVER = 1 << 50
"""NEVER as a key's time, which has 51 bits: 13 days, where a run takes 28 hours at most."""


@hwfunc
def actor_set(actor: int, at: int) -> None:
    """The actor's next action is at ``at``; the running context may not run past it."""
    key = min(at, KEY_NEVER) << ACTOR_BITS | actor
    node = hw.leaves + actor
    mem_set(hw.tree + node, key)
    for _ in range(hw.tree_depth):
        key = min(key, mem(hw.tree + (node ^ 1)))
        node = node >> 1
        mem_set(hw.tree + node, key)
    if hw.running and actor != hw.cpu:
        bound = at if actor > hw.cpu else at - 1
        if bound < hw.lim:
            hw.lim = bound


@hwfunc
def cpu_update(c: cpu_hw) -> None:
    """Recompute when the CPU acts next: its context, or an interrupt that the context lets through."""
    at = c.t
    if c.irq_head is not None and c.cur.irqs_off == 0:
        irq_at = max(c.irq_head.at, c.irq_from)
        if irq_at < at:
            at = irq_at
    actor_set(c.id, at)


@hwfunc
def run_ahead_bound(actor: int) -> int:
    """The last time at which ``actor`` may act before any other actor does."""
    node = hw.leaves + actor
    key = KEY_NEVER << ACTOR_BITS | ACTOR_MASK
    for _ in range(hw.tree_depth):
        key = min(key, mem(hw.tree + (node ^ 1)))
        node = node >> 1
    bound = key >> ACTOR_BITS
    hw.follower = key & ACTOR_MASK
    if hw.follower < actor:
        bound -= 1
    return min(bound, hw.stop_at - 1)


@hwfunc
def next_context() -> int:
    """Suspend the context that ran, advance to the next action, and return the id of the context to resume.

    A negative result says why the loop stops: STOP_TIME, STOP_REFILL (the arrival buffer is empty), STOP_ERROR, STOP_IDLE.
    """
    if hw.running:
        hw.running = 0
        ran = table(cpu_hw, hw.cpu)
        ran.t = hw.now
        cpu_update(ran)
    while True:
        if hw.error != 0:
            return STOP_ERROR
        key = mem(hw.tree + 1)
        at = key >> ACTOR_BITS
        actor = key & ACTOR_MASK
        if at >= hw.stop_at:
            return STOP_TIME
        if at >= KEY_NEVER:
            return STOP_IDLE
        if actor < hw.nr_cpus:
            c = table(cpu_hw, actor)
            hw.cpu = actor
            line_owner(actor)
            if c.irq_head is not None and c.cur.irqs_off == 0:
                irq_at = max(c.irq_head.at, c.irq_from)
                if irq_at <= c.t:
                    irq_deliver(c, irq_at)
            hw.now = c.t
            hw.ctx = c.cur.id
            hw.lim = run_ahead_bound(actor)
            if c.irq_head is not None and c.cur.irqs_off == 0 and c.irq_head.at - 1 < hw.lim:
                hw.lim = c.irq_head.at - 1
            hw.running = 1
            hw.switches += 1
            return hw.ctx
        hw.now = at
        if actor < 2 * hw.nr_cpus:
            timer_due(table(cpu_hw, actor - hw.nr_cpus))
        elif actor < hw.nr_actors - 1:
            nic_moderation_due(actor - 2 * hw.nr_cpus)
        elif not arrival_due():
            return STOP_REFILL
