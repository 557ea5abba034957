# SPDX-License-Identifier: GPL-2.0-or-later
"""What the threads of one search have in common: a table of fingerprints, and queues (softnet.verify.inside.parts)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set

if TYPE_CHECKING:
    from softnet.verify.inside.words import VX_TURN_BITS, VX_WAY_WORDS, explorer


@hwfunc
def vx_claim(address: int, value: int) -> int:
    """Store a value where 0 is, in one step for all threads; what was there. Its text is the back end's."""
    return address


@hwfunc
def vx_way(v: explorer, to: int) -> None:
    """What is written goes to that part from now on."""
    row = v.ways + VX_WAY_WORDS * v.way
    mem_set(row + 3, v.nr_marked)
    mem_set(row + 4, v.write_at)
    row = v.ways + VX_WAY_WORDS * to
    v.shadow = mem(row)
    v.marks = mem(row + 1)
    v.marked = mem(row + 2)
    v.nr_marked = mem(row + 3)
    v.write_at = mem(row + 4)
    v.write_room = mem(row + 5)
    v.way = to


@hwfunc
def vx_way_on(v: explorer) -> None:
    """The states that are found go to the parts by turns, so many to each: children of one state, which differ little, together."""
    to = (v.states >> VX_TURN_BITS) % v.parts
    if to != v.way:
        vx_way(v, to)


@hwfunc
def vx_mark_ways(v: explorer, slot: int) -> None:
    """In the other parts' queues, too, the slot may differ from that of the state that was written last."""
    for n in range(v.parts):
        if n != v.way:
            row = v.ways + VX_WAY_WORDS * n
            marks = mem(row + 1)
            if mem(marks + slot) == 0:
                mem_set(marks + slot, 1)
                count = mem(row + 3)
                mem_set(mem(row + 2) + count, slot)
                mem_set(row + 3, count + 1)
