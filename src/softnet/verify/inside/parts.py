# SPDX-License-Identifier: GPL-2.0-or-later
"""One search by several threads, each with a memory of its own: a part of it.

All have one table of fingerprints: a state is new for who claims its place there. Who finds a state looks at it, and writes it into
a queue of its own. In a queue each state is the difference from the one before; but every so many states a chunk begins, whose
first state is the difference from the search's first one. So any thread can read a chunk. Each takes its own, as long as there
are some, because what a state leads to was mostly met by who met the state; then those of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set, table

if TYPE_CHECKING:
    from softnet.verify.inside.compact import vx_compact_next, vx_print_new
    from softnet.verify.inside.explorer import vx_logical
    from softnet.verify.inside.shared import vx_fetch_add
    from softnet.verify.inside.words import (
        VX_DONE,
        VX_FOUND,
        VX_FULL,
        VX_GROW,
        VX_LINES_WORDS,
        VX_MORE,
        VX_SHARED,
        VX_STOP,
        explorer,
    )


@hwfunc
def vx_parts_next(v: explorer) -> int:
    """Where the next chunk's row is: of those that this part wrote or, when none is left, that another one wrote; 0 for none."""
    for i in range(v.parts):
        part = (v.part + i) % v.parts
        at = v.shared + VX_LINES_WORDS * (VX_SHARED + part)
        end = mem(at + 1)
        if mem(at) < end:
            n = vx_fetch_add(at, 1)
            if n < end:
                return mem(at + 2) + 2 * n - v.here // 2
    return 0


@hwfunc
def vx_parts_take(v: explorer) -> int:
    """Take the next chunk of the level: VX_DONE if there is none. Memory is the search's first state then."""
    found = v.states - v.told
    v.told = v.states
    if vx_fetch_add(v.shared + VX_FOUND * VX_LINES_WORDS, found) + found + v.nr_actions > v.max_states:
        return VX_FULL
    row = vx_parts_next(v)
    if row == 0:
        return VX_DONE
    v.read_at = mem(row) - v.here
    v.read_end = mem(row + 1) - v.here
    marks = v.marks
    for i in range(v.nr_apart):
        slot = mem(v.apart + i)
        mem_set(v.apart_marks + slot, 0)
        mem_set(mem(v.slots + slot), mem(v.base + slot))
        if mem(marks + slot) == 0:
            mem_set(marks + slot, 1)
            mem_set(v.marked + v.nr_marked, slot)
            v.nr_marked += 1
    v.nr_apart = 0
    v.hash = 1
    return VX_MORE


@hwfunc
def vx_parts_explore(limit: int) -> int:
    """Expand up to ``limit`` states: VX_DONE when the level has no chunk left, VX_MORE also where all shall stop."""
    v = table(explorer, 0)
    end = v.head + limit
    room = v.nr_actions * (3 * v.nr_slots + 1)
    while v.head < end:
        if v.states + v.nr_actions > v.prints_max:
            return VX_GROW
        if v.write_at + room > v.write_room:
            return VX_FULL
        if v.read_at == v.read_end:
            if mem(v.shared + VX_STOP * VX_LINES_WORDS) != 0:
                return VX_MORE
            code = vx_parts_take(v)
            if code != VX_MORE:
                return code
        code = vx_compact_next(v)
        if code != VX_MORE:
            return code
    return VX_MORE


@hwfunc
def vx_parts_grow(old: int) -> int:
    """Move this part's share of the table ``old``, half as large, into the present one."""
    v = table(explorer, 0)
    size = vx_logical(-1, v.prints_shift + 1) + 1
    for slot in range(size * v.part // v.parts, size * (v.part + 1) // v.parts):
        h = mem(old + slot)
        if h != 0:
            vx_print_new(v, h)
    return VX_MORE
