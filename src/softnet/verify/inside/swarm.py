# SPDX-License-Identifier: GPL-2.0-or-later
"""A member of a swarm: a bounded search in an order of its own, that keeps three bits of every state.

The bits of a state are found by a hash of the member's own, in a table of a fixed size (Holzmann's bitstate hashing). If all three
are set by others, the state is taken for one that was met, and what only it leads to is missed: so a member never says that
anything holds. What it finds is a path in memory, which is real.

A member makes one *try* after the other. It walks from the first state so many steps, by chance and through whatever was met
before; from there it goes depth first into what is new, until it has expanded VX_TRY states. (Depth first from the first state
alone meets the last steps of a schedule in all their orders, and a single order of all the others.) When tries meet nothing new
any more, the last one goes depth first from the first state through all there is. A state's actions are all
done before the first of its children is gone into, so that data races between them are found as in the other searches; the
children wait as differences, as softnet.verify.inside.compact makes them, and the member's own hash says which is next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set, table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.verify.inside.compact import vx_child, vx_swap, vx_swap_back
    from softnet.verify.inside.explorer import (
        vx_enabled,
        vx_get32,
        vx_kept,
        vx_logical,
        vx_mix,
        vx_perform,
        vx_put32,
        vx_undo,
    )
    from softnet.verify.inside.properties import verify_state, verify_terminal, vx_premises
    from softnet.verify.inside.words import (
        VX_BITS,
        VX_BLOCKED,
        VX_DONE,
        VX_FULL,
        VX_IDLE,
        VX_LAST_TRY,
        VX_LEVEL_WORDS,
        VX_MACHINE,
        VX_MORE,
        VX_PENDING_WORDS,
        VX_SALT,
        VX_SAMPLE_KEY,
        VX_TRY,
        VX_VIOLATION,
        explorer,
    )


@hwfunc
def vx_bits(v: explorer, h: int, put: int) -> bool:
    """Whether one of the state's bits is clear, so that it is new; with ``put`` they are set."""
    at = vx_mix(v.seed, h)
    step = vx_mix(v.seed + 1, h) | 1
    new = False
    for _i in range(VX_BITS):
        place = at & v.bits_mask
        half = v.bits + (place >> 5)
        word = vx_get32(half)
        bit = 1 << (place & 31)
        if word & bit == 0:
            new = True
            if put != 0:
                vx_put32(half, word | bit)
        at += step
    return new


@hwfunc
def vx_swarm_met(v: explorer) -> int:
    """The present state is a new one: note it, and look whether it violates a property."""
    v.states += 1
    # Of all members' states the same are noted, whatever the order: those with a small hash.
    key = vx_logical(vx_mix(VX_SAMPLE_KEY, v.hash), 1)
    if key < v.sample_below and v.sample_n < v.sample_room:
        mem_set(v.sample + v.sample_n, key)
        v.sample_n += 1
    vx_premises()
    wrong = verify_state() & v.properties
    if wrong != 0:
        v.violated = wrong
        # The path ends in this state, and not with a further action.
        v.in_terminal = 1
        return VX_VIOLATION
    return VX_MORE


@hwfunc
def vx_swarm_sort(v: explorer) -> None:
    """Put the children in the order of the try."""
    n = v.nr_pending
    for i in range(n):
        first = i
        for j in range(i + 1, n):
            if vx_mix(v.order, mem(v.pending + VX_PENDING_WORDS * j)) < vx_mix(v.order, mem(v.pending + VX_PENDING_WORDS * first)):
                first = j
        for k in range(VX_PENDING_WORDS):
            a = v.pending + VX_PENDING_WORDS * i + k
            b = v.pending + VX_PENDING_WORDS * first + k
            word = mem(a)
            mem_set(a, mem(b))
            mem_set(b, word)


@hwfunc
def vx_swarm_children(v: explorer) -> None:
    """The children that seem new, all of them on the walk, wait on the last level of the path, with their words."""
    vx_swarm_sort(v)
    rows = v.waiting_at
    at = rows + VX_PENDING_WORDS * v.nr_pending
    count = 0
    for n in range(v.nr_pending):
        row = v.pending + VX_PENDING_WORDS * n
        if v.walk > 0 or vx_bits(v, mem(row) + v.salt, 0):
            to = rows + VX_PENDING_WORDS * count
            mem_set(to, mem(row))
            mem_set(to + 1, mem(row + 1))
            mem_set(to + 2, at)
            i = mem(row + 2)
            while i < mem(row + 3):
                mem_set(at, mem(i))
                at += 1
                i += 1
            mem_set(to + 3, at)
            count += 1
    v.waiting_at = at
    level = v.path + VX_LEVEL_WORDS * (v.path_n - 1)
    mem_set(level, rows)
    mem_set(level + 1, count)
    mem_set(level + 2, 0)


@hwfunc
def vx_swarm_expand(v: explorer) -> int:
    """All actions of the state in memory."""
    enabled = 0
    v.blocked = 0
    v.in_terminal = 0
    v.nr_pending = 0
    v.log_from = v.log
    v.stamp += 1
    vx_kept(v)
    for action in range(v.nr_actions):
        if not vx_enabled(v, action):
            continue
        v.at_action = action
        code = vx_perform(v, action)
        if hw.error != 0:
            return VX_MACHINE
        if code == VX_BLOCKED:
            v.blocked += 1
            vx_undo(v)
            continue
        enabled += 1
        vx_child(v, action)
    v.transitions += enabled
    vx_swarm_children(v)
    if enabled == 0:
        v.terminals += 1
        v.in_terminal = 1
        found = verify_terminal(v.blocked) & v.properties
        if found != 0:
            v.violated = found
            return VX_VIOLATION
    v.head += 1
    return VX_MORE


@hwfunc
def vx_swarm_enter(v: explorer, row: int) -> int:
    """Go into a child; behind the walk, only if its bits have not been set meanwhile. It is expanded."""
    h = mem(row)
    if v.path_n == v.path_room or v.waiting_at > v.waiting_end:
        v.cut += 1
        return VX_MORE
    new = vx_bits(v, h, 1)
    goes = new
    if v.salt != 0:
        goes = vx_bits(v, h + v.salt, 1)
    if not goes and v.walk == 0:
        return VX_MORE
    level = v.path + VX_LEVEL_WORDS * v.path_n
    mem_set(level + 3, mem(row + 1))
    mem_set(level + 4, mem(row + 2))
    mem_set(level + 5, mem(row + 3))
    mem_set(level + 6, v.hash)
    v.path_n += 1
    v.depth = max(v.depth, v.path_n - 1)
    v.walk = max(v.walk - 1, 0)
    vx_swap(mem(row + 2), mem(row + 3))
    v.hash = h
    if new:
        code = vx_swarm_met(v)
        if code != VX_MORE:
            return code
    return vx_swarm_expand(v)


@hwfunc
def vx_swarm_leave(v: explorer) -> None:
    """Memory is the state before."""
    level = v.path + VX_LEVEL_WORDS * (v.path_n - 1)
    v.waiting_at = mem(level)
    vx_swap_back(mem(level + 4), mem(level + 5))
    v.hash = mem(level + 6)
    v.path_n -= 1


@hwfunc
def vx_swarm_try(v: explorer) -> int:
    """Back to the first state, and another try. If they meet nothing new, one without a bound is the last; then VX_DONE."""
    while v.path_n > 1:
        vx_swarm_leave(v)
    v.idle = v.idle + 1 if v.states == v.states_then else 0
    v.states_then = v.states
    if v.salt != 0:
        return VX_DONE
    if v.tries > 0:
        v.waiting_at = mem(v.path)
    v.order = vx_mix(v.seed + 2, v.tries)
    v.walk = vx_logical(v.order, 1) % (v.depth + 1)
    v.tries += 1
    v.try_end = v.head + v.walk + VX_TRY
    if v.idle == VX_IDLE:
        v.salt = VX_SALT
        v.walk = 0
        v.try_end = v.head + VX_LAST_TRY
        vx_bits(v, v.hash + v.salt, 1)
    return vx_swarm_expand(v)


@hwfunc
def vx_swarm_explore(limit: int) -> int:
    """Expand up to ``limit`` states: VX_DONE when tries meet nothing new any more."""
    v = table(explorer, 0)
    end = v.head + limit
    code = VX_MORE
    while code == VX_MORE and v.head < end:
        level = v.path + VX_LEVEL_WORDS * (v.path_n - 1)
        at = mem(level + 2)
        left = at < mem(level + 1)
        if v.states >= v.max_states:
            code = VX_FULL
        elif v.head >= v.try_end or (not left and (v.path_n == 1 or v.walk > 0)):
            code = vx_swarm_try(v)
        elif left:
            mem_set(level + 2, at + 1)
            code = vx_swarm_enter(v, mem(level) + VX_PENDING_WORDS * at)
        else:
            vx_swarm_leave(v)
    return code


@hwfunc
def vx_swarm_start() -> int:
    """The present memory is the first state."""
    v = table(explorer, 0)
    v.hash = 1
    v.path_n = 1
    vx_bits(v, 1, 1)
    return vx_swarm_met(v)
