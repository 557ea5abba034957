# SPDX-License-Identifier: GPL-2.0-or-later
"""One search by several threads, each with a memory of its own: a part of it.

All have one table of fingerprints: a state is new for who claims its place there. Who finds a state looks at it, and writes it into
a queue of some part, which expands it in the next level. A queue that another part reads is like a
part's own: each state is the difference from the one before. So a part that reads several has for each the state that it read last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set, table

if TYPE_CHECKING:
    from softnet.verify.inside.compact import vx_compact_expand, vx_read
    from softnet.verify.inside.ways import vx_mark_ways, vx_way
    from softnet.verify.inside.words import (
        VX_DISOWNED,
        VX_DONE,
        VX_FULL,
        VX_GROW,
        VX_MORE,
        VX_WAY_WORDS,
        explorer,
    )


@hwfunc
def vx_parts_full(v: explorer, room: int) -> bool:
    """Whether some queue has not that much room."""
    if v.write_at + room > v.write_room:
        return True
    for n in range(v.parts):
        row = v.ways + VX_WAY_WORDS * n
        if n != v.way and mem(row + 4) + room > mem(row + 5):
            return True
    return False


@hwfunc
def vx_parts_explore(limit: int) -> int:
    """Expand up to ``limit`` states of the queue that is read: VX_DONE when none is left."""
    v = table(explorer, 0)
    end = v.head + limit
    room = v.nr_actions * (3 * v.nr_slots + 1)
    while v.read_at != v.read_end and v.head < end:
        if v.states + v.nr_actions > v.max_states:
            return VX_FULL
        if v.states + v.nr_actions > v.prints_max:
            return VX_GROW
        if vx_parts_full(v, room):
            return VX_FULL
        vx_read(v)
        code = vx_compact_expand(v)
        if v.disowned != 0:
            return VX_DISOWNED
        if code != VX_MORE:
            return code
        v.head += 1
    return VX_DONE if v.read_at == v.read_end else VX_MORE


@hwfunc
def vx_parts_read(of: int) -> int:
    """Memory is the state that was read last of what that part wrote."""
    v = table(explorer, 0)
    if of != v.chain:
        keep = v.chains + (v.nr_slots + 1) * v.chain
        come = v.chains + (v.nr_slots + 1) * of
        mem_set(keep, v.hash)
        v.hash = mem(come)
        for slot in range(v.nr_slots):
            a = mem(v.slots + slot)
            mem_set(keep + 1 + slot, mem(a))
            mem_set(a, mem(come + 1 + slot))
            vx_mark_ways(v, slot)
            if mem(v.marks + slot) == 0:
                mem_set(v.marks + slot, 1)
                mem_set(v.marked + v.nr_marked, slot)
                v.nr_marked += 1
        v.chain = of
    return VX_MORE


@hwfunc
def vx_parts_way(to: int) -> int:
    """For who looks at the queues: all of them stand in their rows but that one, which comes first in the next level."""
    vx_way(table(explorer, 0), to)
    return VX_MORE
