# SPDX-License-Identifier: GPL-2.0-or-later
"""What threads of one search do to memory that they share, and how they write what others read (softnet.verify.inside.parts)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set

if TYPE_CHECKING:
    from softnet.verify.inside.words import explorer


@hwfunc
def vx_claim(address: int, value: int) -> int:
    """Store a value where 0 is, in one step for all threads; what was there. Its text is the back end's."""
    return address


@hwfunc
def vx_fetch_add(address: int, value: int) -> int:
    """Add to a word, in one step for all threads; what was there. Its text is the back end's."""
    return address


@hwfunc
def vx_apart(v: explorer, slot: int) -> None:
    """In that slot memory may differ from the search's first state from now on."""
    if mem(v.apart_marks + slot) == 0:
        mem_set(v.apart_marks + slot, 1)
        mem_set(v.apart + v.nr_apart, slot)
        v.nr_apart += 1


@hwfunc
def vx_chunk_on(v: explorer, first: int, end: int) -> None:
    """The present state, whose log is given, is the next of a chunk. The first one is told by what it differs in from the search's
    first state.
    """
    if v.chunk_left != 0:
        v.chunk_left -= 1
        return
    v.chunk_left = v.chunk_states - 1
    row = v.written + 2 * v.nr_written
    begin = v.here + v.write_at
    mem_set(row, begin)
    if v.nr_written != 0:
        mem_set(row - 1, begin)
    v.nr_written += 1
    for n in range(v.nr_marked):
        slot = mem(v.marked + n)
        mem_set(v.shadow + slot, mem(mem(v.slots + slot)))
        mem_set(v.marks + slot, 0)
    i = first
    while i < end:
        vx_apart(v, mem(v.part_of + mem(i)) - 1)
        i += 2
    for n in range(v.nr_apart):
        slot = mem(v.apart + n)
        mem_set(v.shadow + slot, mem(v.base + slot))
        mem_set(v.marks + slot, 1)
        mem_set(v.marked + n, slot)
    v.nr_marked = v.nr_apart
