# SPDX-License-Identifier: GPL-2.0-or-later
"""Hash compaction: a search that keeps 64 bits of every state, and whole only the states that wait to be expanded.

A state's fingerprint is a sum of hashes over its words, so an action changes it by what the action changed. The queue holds
each state as its difference from the state written before it: reading in the same order makes one from the other, and the
words that differ are all that is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set, table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.verify.inside.explorer import (
        vx_enabled,
        vx_get32,
        vx_kept,
        vx_logical,
        vx_mix,
        vx_perform,
        vx_prefetch,
        vx_put8,
        vx_put32,
        vx_undo,
    )
    from softnet.verify.inside.properties import verify_state, verify_terminal, vx_premises
    from softnet.verify.inside.shared import vx_apart, vx_chunk_on, vx_claim
    from softnet.verify.inside.words import (
        VX_BLOCKED,
        VX_DISOWNED,
        VX_DONE,
        VX_FULL,
        VX_GROW,
        VX_MACHINE,
        VX_MORE,
        VX_PENDING_WORDS,
        VX_RECENT_WORDS,
        VX_UNDO_WORD,
        VX_VIOLATION,
        explorer,
    )


@hwfunc
def vx_child(v: explorer, action: int) -> None:
    """After an action: memory is the parent again, the log holds the child's words, its fingerprint is in ``pending``; but not of a
    child that was met lately.
    """
    h = v.hash
    first = v.log_from
    end = mem(VX_UNDO_WORD)
    i = end
    while i > first:
        i -= 2
        a = mem(i)
        old = mem(i + 1)
        now = mem(a)
        if now != old:
            h += vx_mix(a, now) - vx_mix(a, old)
            mem_set(a, old)
            mem_set(i + 1, now)
    if v.ran != 0:
        base = v.stacks + (v.ran - 1) * v.stack_words
        saved = v.saved
        had = mem(saved + 1)
        has = mem(base + 1)
        for j in range(had):
            old = mem(saved + j)
            now = mem(base + j)
            if now != old:
                h += vx_mix(base + j, now) - vx_mix(base + j, old)
                mem_set(base + j, old)
                mem_set(end, base + j)
                mem_set(end + 1, now)
                end += 2
        for j in range(had, has):
            now = mem(base + j)
            if now != 0:
                h += vx_mix(base + j, now) - vx_mix(base + j, 0)
                mem_set(base + j, 0)
                mem_set(end, base + j)
                mem_set(end + 1, now)
                end += 2
        v.ran = 0
    if h == 0:
        h = 1
    if v.recent != 0:
        at = v.recent + (h & (VX_RECENT_WORDS - 1))
        if mem(at) == h:
            mem_set(VX_UNDO_WORD, first)
            return
        mem_set(at, h)
    vx_prefetch(v.prints + vx_logical(h, v.prints_shift))
    row = v.pending + VX_PENDING_WORDS * v.nr_pending
    mem_set(row, h)
    mem_set(row + 1, action)
    mem_set(row + 2, first)
    mem_set(row + 3, end)
    v.nr_pending += 1
    v.log_from = end
    mem_set(VX_UNDO_WORD, end)


@hwfunc
def vx_print_new(v: explorer, h: int) -> bool:
    """Whether the fingerprint is new; then it is stored."""
    prints = v.prints
    shift = v.prints_shift
    mask = vx_logical(-1, shift)
    slot = vx_logical(h, shift)
    while True:
        found = mem(prints + slot)
        if found == h:
            return False
        if found == 0:
            if v.parts == 0:
                mem_set(prints + slot, h)
                return True
            found = vx_claim(prints + slot, h)
            if found == 0:
                return True
            if found == h:
                return False
        slot = (slot + 1) & mask


@hwfunc
def vx_swap(first: int, end: int) -> None:
    """Exchange memory and the words of the log, in their order."""
    while first < end:
        a = mem(first)
        old = mem(a)
        mem_set(a, mem(first + 1))
        mem_set(first + 1, old)
        first += 2


@hwfunc
def vx_swap_back(first: int, end: int) -> None:
    """Exchange them again, in the other order."""
    while end > first:
        end -= 2
        a = mem(end)
        old = mem(a)
        mem_set(a, mem(end + 1))
        mem_set(end + 1, old)


@hwfunc
def vx_write_slot(v: explorer, slot: int, at: int) -> int:
    """Append a word to the queue if it differs from that of the state written before; where the next goes."""
    value = mem(mem(v.slots + slot))
    if value == mem(v.shadow + slot):
        return at
    mem_set(v.shadow + slot, value)
    escape = (1 << v.value_bits) - 1
    if value >= 0 and value < escape:
        vx_put32(at, (slot << v.value_bits) | value)
        return at + 1
    vx_put32(at, (slot << v.value_bits) | escape)
    vx_put32(at + 1, value)
    vx_put32(at + 2, value >> 32)
    return at + 3


@hwfunc
def vx_write(v: explorer, first: int, end: int) -> None:
    """Append the present state, whose log is given, to the queue."""
    begin = v.write_at
    at = begin + 1
    part_of = v.part_of
    marks = v.marks
    marked = v.marked
    for n in range(v.nr_marked):
        slot = mem(marked + n)
        mem_set(marks + slot, 0)
        at = vx_write_slot(v, slot, at)
    count = 0
    i = first
    while i < end:
        slot = mem(part_of + mem(i)) - 1
        if mem(marks + slot) == 0:
            mem_set(marks + slot, 1)
            mem_set(marked + count, slot)
            count += 1
            at = vx_write_slot(v, slot, at)
        i += 2
    v.nr_marked = count
    vx_put32(begin, at - begin)
    v.write_at = at


@hwfunc
def vx_read(v: explorer) -> None:
    """Make memory, which is the state read before, the next state of the queue."""
    at = v.read_at
    end = at + vx_get32(at)
    at += 1
    bits = v.value_bits
    escape = (1 << bits) - 1
    h = v.hash
    slots = v.slots
    marks = v.marks
    while at < end:
        word = vx_get32(at)
        slot = word >> bits
        value = word & escape
        at += 1
        if value == escape:
            value = vx_get32(at) | (vx_get32(at + 1) << 32)
            at += 2
        a = mem(slots + slot)
        h += vx_mix(a, value) - vx_mix(a, mem(a))
        mem_set(a, value)
        if mem(marks + slot) == 0:
            mem_set(marks + slot, 1)
            mem_set(v.marked + v.nr_marked, slot)
            v.nr_marked += 1
        if v.parts != 0:
            vx_apart(v, slot)
    v.hash = h
    v.read_at = end


@hwfunc
def vx_compact_children(v: explorer) -> int:
    """Store the children that are new."""
    for n in range(v.nr_pending):
        row = v.pending + VX_PENDING_WORDS * n
        if vx_print_new(v, mem(row)):
            first = mem(row + 2)
            end = mem(row + 3)
            vx_swap(first, end)
            if v.parts == 0:
                vx_put32(2 * v.trail + v.states, v.head)
                vx_put8(8 * v.trail_action + v.states, mem(row + 1))
            else:
                vx_chunk_on(v, first, end)
            v.states += 1
            vx_write(v, first, end)
            vx_premises()
            wrong = verify_state() & v.properties
            if wrong != 0:
                v.at_action = mem(row + 1)
                v.violated = wrong
                return VX_VIOLATION
            vx_swap_back(first, end)
    return VX_MORE


@hwfunc
def vx_compact_expand(v: explorer) -> int:
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
            # In a step that waits for a lock, too, a race may have been found.
            return VX_MACHINE
        if code == VX_BLOCKED:
            v.blocked += 1
            vx_undo(v)
            continue
        enabled += 1
        vx_child(v, action)
    v.transitions += enabled
    if enabled != 0:
        return vx_compact_children(v)
    v.terminals += 1
    v.ends += v.hash
    v.in_terminal = 1
    found = verify_terminal(v.blocked) & v.properties
    if found != 0:
        v.violated = found
        return VX_VIOLATION
    return VX_MORE


@hwfunc
def vx_compact_next(v: explorer) -> int:
    """Expand the next state of the queue that is read."""
    vx_read(v)
    code = vx_compact_expand(v)
    if v.disowned != 0:
        return VX_DISOWNED
    if code == VX_MORE:
        v.head += 1
    return code


@hwfunc
def vx_compact_level(v: explorer) -> None:
    """The queue that was written is read next; what was read is written over."""
    v.peak = max(v.peak, v.write_at - v.queue)
    v.read_at = v.queue
    v.read_end = v.write_at
    begin = v.other
    room = v.other_room
    v.other = v.queue
    v.other_room = v.write_room
    v.queue = begin
    v.write_at = begin
    v.write_room = room


@hwfunc
def vx_compact_explore(limit: int) -> int:
    """Expand up to ``limit`` states; a state is expanded whole or, when room runs short, not at all."""
    v = table(explorer, 0)
    end = v.head + limit
    while v.head < v.states and v.head < end:
        if v.states + v.nr_actions > v.max_states:
            return VX_FULL
        if v.states + v.nr_actions > v.prints_max:
            return VX_GROW
        if v.read_at == v.read_end:
            vx_compact_level(v)
        if v.write_at + v.nr_actions * (3 * v.nr_slots + 1) > v.write_room:
            return VX_FULL
        code = vx_compact_next(v)
        if code != VX_MORE:
            return code
        if v.head == v.level_end and v.head < v.states:
            v.depth += 1
            v.level_end = v.states
    return VX_DONE if v.head == v.states else VX_MORE


@hwfunc
def vx_compact_start() -> int:
    """The present memory is the first state."""
    v = table(explorer, 0)
    for slot in range(v.nr_slots):
        mem_set(v.shadow + slot, mem(mem(v.slots + slot)))
    vx_put8(8 * v.trail_action, 255)
    v.hash = 1
    v.states = 1
    if vx_print_new(v, 1):
        vx_write(v, v.log, v.log)
    found = verify_state() & v.properties
    if found != 0:
        v.violated = found
        return VX_VIOLATION
    return VX_MORE


@hwfunc
def vx_compact_grow(old: int) -> int:
    """Move the fingerprints of the table ``old``, half as large, into the present one."""
    v = table(explorer, 0)
    for slot in range(vx_logical(-1, v.prints_shift + 1) + 1):
        h = mem(old + slot)
        if h != 0:
            vx_print_new(v, h)
    return VX_MORE
