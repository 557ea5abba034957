# SPDX-License-Identifier: GPL-2.0-or-later
"""Exact storage: a search that keeps every state whole.

A state is cut into *components* (a CPU, a task, an skb, a context's frames, …). Each distinct value of a component is stored
once; a state is the row of its components' numbers. So equal states are found exactly, and an action costs what it changed:
only components that it stored to are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set, table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.verify.inside.explorer import vx_enabled, vx_kept, vx_logical, vx_mix, vx_perform, vx_undo
    from softnet.verify.inside.properties import verify_state, verify_terminal, vx_premises
    from softnet.verify.inside.words import (
        VX_BLOCKED,
        VX_COMP_WORDS,
        VX_DISOWNED,
        VX_DONE,
        VX_FULL,
        VX_MACHINE,
        VX_MORE,
        VX_UNDO_WORD,
        VX_VIOLATION,
        explorer,
    )


@hwfunc
def vx_intern(v: explorer, k: int) -> int:
    """The number of the present value of component ``k``; the store has room for it."""
    comp = v.comps + VX_COMP_WORDS * k
    addresses = mem(comp)
    count = mem(comp + 1)
    if mem(comp + 2) != 0:
        count = mem(mem(addresses + 1))
    at = mem(v.cur + k)
    if at != 0 and vx_same(v, k, at, addresses, count):
        return at
    h = vx_mix(k, count)
    for j in range(count):
        h += vx_mix(j, mem(mem(addresses + j)))
    slot = vx_mix(k, h) & v.ctable_mask
    while True:
        at = mem(v.ctable + slot)
        if at == 0:
            return vx_intern_new(v, k, slot, addresses, count)
        if vx_same(v, k, at, addresses, count):
            return at
        slot = (slot + 1) & v.ctable_mask


@hwfunc
def vx_same(v: explorer, k: int, at: int, addresses: int, count: int) -> bool:
    """Whether the stored value is component ``k``'s present one."""
    entry = v.store + at
    if mem(entry) != (k | (count << 32)):
        return False
    i = 0
    while i < count and mem(mem(addresses + i)) == mem(entry + 1 + i):
        i += 1
    return i == count


@hwfunc
def vx_intern_new(v: explorer, k: int, slot: int, addresses: int, count: int) -> int:
    """Store a value of a component that was not met before."""
    at = v.store_used
    entry = v.store + at
    mem_set(entry, k | (count << 32))
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
    entry = v.store + at
    count = vx_logical(mem(entry), 32)
    had = 0
    if mem(comp + 2) != 0:
        had = mem(mem(addresses + 1))
    entry += 1
    for j in range(count):
        mem_set(mem(addresses + j), mem(entry + j))
    for j in range(count, had):
        mem_set(mem(addresses + j), 0)
    vx_number(v, k, at)


@hwfunc
def vx_number(v: explorer, k: int, at: int) -> None:
    """Component ``k`` has the value ``at`` now."""
    v.hash += vx_mix(k, at) - vx_mix(k, mem(v.cur + k))
    mem_set(v.cur + k, at)


@hwfunc
def vx_load(v: explorer, state: int) -> None:
    """Make memory the stored state; its row of components is in ``want``, too."""
    row = v.pool + state * (v.key_words + 1) + 1
    want = v.want
    cur = v.cur
    for k in range(v.nr_comps):
        word = mem(row + (k >> 1))
        at = (word >> 32) & 0xFFFFFFFF if k & 1 != 0 else word & 0xFFFFFFFF
        mem_set(want + k, at)
        if mem(cur + k) != at:
            vx_copy(v, k, at)


@hwfunc
def vx_mark(v: explorer, k: int) -> None:
    """Put a component on the list of those that may have changed."""
    if mem(v.marks + k) == 0:
        mem_set(v.marks + k, 1)
        mem_set(v.marked + v.nr_marked, k)
        v.nr_marked += 1


@hwfunc
def vx_changed(v: explorer) -> None:
    """Number all components that the action stored to."""
    i = v.log_from
    end = mem(VX_UNDO_WORD)
    while i < end:
        vx_mark(v, mem(v.part_of + mem(i)) - 1)
        i += 2
    if v.ran != 0:
        vx_mark(v, v.frames_comp + v.ran - 1)
    for n in range(v.nr_marked):
        k = mem(v.marked + n)
        at = vx_intern(v, k)
        if at != mem(v.cur + k):
            vx_number(v, k, at)


@hwfunc
def vx_back(v: explorer) -> None:
    """After an action: memory is the parent state again."""
    vx_undo(v)
    for n in range(v.nr_marked):
        k = mem(v.marked + n)
        mem_set(v.marks + k, 0)
        if mem(v.cur + k) != mem(v.want + k):
            vx_number(v, k, mem(v.want + k))
    v.nr_marked = 0


@hwfunc
def vx_key_word(v: explorer, k: int) -> int:
    """Two components' numbers in one word."""
    return mem(v.cur + 2 * k) | (mem(v.cur + 2 * k + 1) << 32)


@hwfunc
def vx_find(v: explorer) -> int:
    """The number of the present state, or -1 - the index's slot where it would stand."""
    h = vx_mix(0, v.hash)
    slot = h & v.index_mask
    print_ = (h >> 33) & 0x7FFFFFFF
    while True:
        found = mem(v.index + slot)
        if found == 0:
            return -1 - slot
        if found >> 32 == print_:
            state = (found & 0xFFFFFFFF) - 1
            row = v.pool + state * (v.key_words + 1) + 1
            same = True
            for k in range(v.key_words):
                if mem(row + k) != vx_key_word(v, k):
                    same = False
                    break
            if same:
                return state
        slot = (slot + 1) & v.index_mask


@hwfunc
def vx_add(v: explorer, parent: int, action: int) -> int:
    """Look the present state up and store it if it is new, with its properties checked."""
    found = vx_find(v)
    if found >= 0:
        return VX_MORE
    row = v.pool + v.states * (v.key_words + 1)
    mem_set(row, (parent << 8) | action)
    for k in range(v.key_words):
        mem_set(row + 1 + k, vx_key_word(v, k))
    mem_set(v.index - 1 - found, (((vx_mix(0, v.hash) >> 33) & 0x7FFFFFFF) << 32) | (v.states + 1))
    v.states += 1
    vx_premises()
    wrong = verify_state() & v.properties
    if wrong != 0:
        v.violated = wrong
        return VX_VIOLATION
    return VX_MORE


@hwfunc
def vx_expand(v: explorer, state: int) -> int:
    """All actions of a state."""
    vx_load(v, state)
    enabled = 0
    v.blocked = 0
    v.in_terminal = 0
    v.stamp += 1
    for action in range(v.nr_actions):
        if not vx_enabled(v, action):
            continue
        v.at_action = action
        code = vx_perform(v, action)
        if hw.error != 0:
            # In a step that waits for a lock, too, a race may have been found.
            return VX_MACHINE
        if code == VX_BLOCKED:
            v.blocked += 1
            vx_undo(v)
            continue
        enabled += 1
        v.transitions += 1
        vx_changed(v)
        code = vx_add(v, state, action)
        if code != VX_MORE:
            return code
        vx_back(v)
    if enabled == 0:
        if v.terminals < v.ends_room:
            mem_set(v.ends_at + v.terminals, state)
        v.terminals += 1
        v.in_terminal = 1
        found = verify_terminal(v.blocked) & v.properties
        if found != 0:
            v.violated = found
            return VX_VIOLATION
    return VX_MORE


@hwfunc
def vx_explore(limit: int) -> int:
    """Expand up to ``limit`` states; a state is expanded whole or, when room runs short, not at all."""
    v = table(explorer, 0)
    v.log_from = v.log
    vx_kept(v)
    end = v.head + limit
    while v.head < v.states and v.head < end:
        if v.states + v.nr_actions > v.max_states or v.store_used + v.step_room > v.store_room:
            return VX_FULL
        if (v.values + v.nr_actions * v.nr_comps) * 4 >= v.ctable_mask * 3:
            return VX_FULL
        code = vx_expand(v, v.head)
        if v.disowned != 0:
            return VX_DISOWNED
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
    v.log_from = v.log
    vx_kept(v)
    for k in range(v.nr_comps):
        vx_number(v, k, vx_intern(v, k))
    return vx_add(v, 0, 255)


@hwfunc
def vx_rebuild() -> int:
    """After a search was read from a file: both tables, which are empty, from the stored values and states."""
    v = table(explorer, 0)
    at = 1
    while at < v.store_used:
        k = mem(v.store + at) & 0xFFFFFFFF
        count = vx_logical(mem(v.store + at), 32)
        h = vx_mix(k, count)
        for j in range(count):
            h += vx_mix(j, mem(v.store + at + 1 + j))
        slot = vx_mix(k, h) & v.ctable_mask
        while mem(v.ctable + slot) != 0:
            slot = (slot + 1) & v.ctable_mask
        mem_set(v.ctable + slot, at)
        at += count + 1
    for state in range(v.states):
        vx_load(v, state)
        h = vx_mix(0, v.hash)
        slot = h & v.index_mask
        while mem(v.index + slot) != 0:
            slot = (slot + 1) & v.index_mask
        mem_set(v.index + slot, (((h >> 33) & 0x7FFFFFFF) << 32) | (state + 1))
    return VX_MORE
