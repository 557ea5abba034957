# SPDX-License-Identifier: GPL-2.0-or-later
"""Liveness, the part in the restricted Python: the edges of a finished search, what is owed in each state, and components.

Who an edge is: a context's number for its step, 48 + a CPU for the interrupt that strikes it, 56 + a driver for a completion
that a hotplug task waited for, VX_NOBODY for what need never happen (a driver's start, a tick, a change of a setting).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set, table, table_len

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.kernel.softirq import irq_cpustat_t
    from softnet.machine.globals import hw
    from softnet.machine.state import TASK_UNINTERRUPTIBLE, cpu_hw
    from softnet.verify.inside.exact import vx_back, vx_changed, vx_find, vx_load
    from softnet.verify.inside.explorer import vx_enabled, vx_kept, vx_perform, vx_undo
    from softnet.verify.inside.properties import vx_must_be_flushed
    from softnet.verify.inside.user_properties import vx_user_pending
    from softnet.verify.inside.words import VX_BLOCKED, VX_DONE, VX_FULL, VX_MORE, VX_PER_CPU, VX_PLUG, explorer, vx_driver

VX_NOBODY = 62
VX_WHO_IRQ = 48
VX_WHO_PLUG = 56

# Bits of what is owed: one for each CPU or driver from these on. A user's properties have their numbers.
VX_OWED_FLUSH = 0
VX_OWED_POLL = 8
VX_OWED_SOFTIRQ = 16
VX_OWED_DRIVER = 24
VX_OWED_REST = 39


@hwfunc
def vx_owed() -> int:
    """What may be so now, but not for ever."""
    found: int = vx_user_pending() | (1 << VX_OWED_REST)
    for cpu in range(hw.nr_cpus):
        if table(cpu_hw, cpu).online != 0:
            sd = table(softnet_data, cpu)
            if vx_must_be_flushed(cpu):
                found |= 1 << (VX_OWED_FLUSH + cpu)
            if sd.input_pkt_queue.qlen != 0 or sd.process_queue.qlen != 0:
                found |= 1 << (VX_OWED_POLL + cpu)
            if table(irq_cpustat_t, cpu).softirq_pending != 0:
                found |= 1 << (VX_OWED_SOFTIRQ + cpu)
    for i in range(min(table_len(vx_driver), VX_OWED_REST - VX_OWED_DRIVER)):
        d = table(vx_driver, i)
        if d.task is not None and d.started != 0 and d.task.state != TASK_UNINTERRUPTIBLE:
            found |= 1 << (VX_OWED_DRIVER + i)
    return found


@hwfunc
def vx_who(v: explorer, action: int) -> int:
    """Whose step the action is."""
    if action < VX_PER_CPU * hw.nr_cpus:
        if action % VX_PER_CPU == 0:
            who: int = table(cpu_hw, action // VX_PER_CPU).cur.id
            return who
        return VX_WHO_IRQ + action // VX_PER_CPU if action % VX_PER_CPU == 1 else VX_NOBODY
    number = action - VX_PER_CPU * hw.nr_cpus
    if number < v.nr_drivers and number < VX_NOBODY - VX_WHO_PLUG:
        d = table(vx_driver, number)
        if d.kind == VX_PLUG and d.started != 0:
            return VX_WHO_PLUG + number
    return VX_NOBODY


@hwfunc
def vx_edges(limit: int) -> int:
    """Write down the actions of up to ``limit`` stored states, by the numbers of the states that they lead to."""
    v = table(explorer, 0)
    v.log_from = v.log
    vx_kept(v)
    end = v.live_state + limit
    while v.live_state < v.states and v.live_state < end:
        state = v.live_state
        v.stamp += 1
        vx_load(v, state)
        mem_set(v.live_first + state, v.live_nr_edges)
        mem_set(v.live_owed + state, vx_owed())
        enabled = 0
        for action in range(v.nr_actions):
            if not vx_enabled(v, action):
                continue
            who = vx_who(v, action)
            if vx_perform(v, action) == VX_BLOCKED:
                vx_undo(v)
                continue
            enabled |= 1 << who
            vx_changed(v)
            found = vx_find(v)
            if found < 0 or v.live_nr_edges >= v.live_max_edges:
                return VX_FULL
            mem_set(v.live_edges + v.live_nr_edges, (found << 16) | (who << 8) | action)
            v.live_nr_edges += 1
            vx_back(v)
        mem_set(v.live_enabled + state, enabled)
        v.live_state += 1
    mem_set(v.live_first + v.live_state, v.live_nr_edges)
    return VX_DONE if v.live_state == v.states else VX_MORE


@hwfunc
def vx_scc() -> int:
    """Tarjan's strongly connected components of the states that are alive: their numbers from 1; how many there are."""
    v = table(explorer, 0)
    count = 0
    components = 0
    top = 0
    for root in range(v.states):
        if mem(v.live_alive + root) == 0 or mem(v.live_index + root) != 0:
            continue
        count += 1
        top = vx_scc_push(v, root, count, top)
        mem_set(v.live_call, root)
        depth = 1
        while depth > 0:
            s = mem(v.live_call + depth - 1)
            e = mem(v.live_at + s)
            if e < mem(v.live_first + s + 1):
                mem_set(v.live_at + s, e + 1)
                d = mem(v.live_edges + e) >> 16
                if mem(v.live_alive + d) != 0 and mem(v.live_edges + e) >> 8 & 0xFF != VX_NOBODY:
                    if mem(v.live_index + d) == 0:
                        count += 1
                        top = vx_scc_push(v, d, count, top)
                        mem_set(v.live_call + depth, d)
                        depth += 1
                    elif mem(v.live_comp + d) == 0:
                        mem_set(v.live_low + s, min(mem(v.live_low + s), mem(v.live_index + d)))
                continue
            depth -= 1
            if depth > 0:
                above = mem(v.live_call + depth - 1)
                mem_set(v.live_low + above, min(mem(v.live_low + above), mem(v.live_low + s)))
            if mem(v.live_low + s) == mem(v.live_index + s):
                components += 1
                while mem(v.live_comp + s) == 0:
                    top -= 1
                    mem_set(v.live_comp + mem(v.live_stack + top), components)
    return components


@hwfunc
def vx_scc_push(v: explorer, state: int, count: int, top: int) -> int:
    """Meet a state for the first time; how high the stack is then."""
    mem_set(v.live_index + state, count)
    mem_set(v.live_low + state, count)
    mem_set(v.live_at + state, mem(v.live_first + state))
    mem_set(v.live_stack + top, state)
    return top + 1
