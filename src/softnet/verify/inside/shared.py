# SPDX-License-Identifier: GPL-2.0-or-later
"""What the threads of one search do to memory that they share, and how they write what others read (softnet.verify.inside.parts)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set

if TYPE_CHECKING:
    from softnet.verify.inside.compact import vx_write, vx_write_slot
    from softnet.verify.inside.words import VX_CHUNK_STATES, explorer


@hwfunc
def vx_claim(address: int, value: int) -> int:
    """Store a value where 0 is, in one step for all threads; what was there. Its text is the back end's."""
    return address


@hwfunc
def vx_fetch_add(address: int, value: int) -> int:
    """Add to a word, in one step for all threads; what was there. Its text is the back end's."""
    return address


@hwfunc
def vx_write_first(v: explorer, first: int, end: int) -> None:
    """Append the present state, whose log is given, as the first of a chunk."""
    mem_set(v.written + v.nr_written, v.here + v.write_at)
    v.nr_written += 1
    v.chunk_left = VX_CHUNK_STATES - 1
    marks = v.marks
    marked = v.marked
    v.nr_marked = v.nr_slots
    for slot in range(v.nr_slots):
        mem_set(v.shadow + slot, mem(v.base + slot))
        mem_set(marked + slot, slot)
    vx_write(v, first, end)
