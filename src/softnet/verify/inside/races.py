# SPDX-License-Identifier: GPL-2.0-or-later
# mypy: warn-unreachable=False, disable-error-code="redundant-expr, no-any-return"
"""Data races, in the restricted Python: two plain accesses that conflict, with nothing between them that orders them.

A field that is declared ``private`` or ``percpu`` is no stop for other CPUs, because whoever touches it is alone with it. Here
that is found out and not believed. A step runs from one stop to the next; what it touches plainly comes behind its only access
that others can see (or behind none), so the context could as well stand before that access while it stands at its stop: the
access is *open*. Whoever else touches the word while it is open, and nothing that came after it in its step has told them of
it, races with it. That is exact: a state in which both accesses come next can be reached, and each such state is found
(softnet.verify.ownership has the argument, which is Stoller and Cohen's).

- An access is open until its context takes its next step.
- One under a spinlock that its step released is closed for all when anybody takes the lock.
- For contexts of the same CPU it is open only if an interrupt could have struck right there.
- In a step that has done nothing yet but to turn interrupts off, or to take a lock with them off, an access is *early*: it can be
  put off until after what others do, so that it races with what another CPU's step does early in the same state.

Marked accesses (READ_ONCE(), atomics) race with plain ones only. Fields of kind ``guarded`` are asked for their lock at each access
instead, and fields of kind ``shared`` are stops wherever they are touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import address_of, index_of, mem, mem_set, ref_at, table, table_len

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.machine.state import context
    from softnet.verify.inside.explorer import vx_exposed
    from softnet.verify.inside.open_accesses import vx_lock_bit
    from softnet.verify.inside.words import (
        VX_LEARNING,
        VX_OPEN_MAX,
        VX_PHASE_WORD,
        explorer,
        sk_buff,
        vx_open,
    )

VX_WRITE = 1
VX_MARKED = 2
VX_PERCPU = 4
VX_OWN = 8

VX_ERROR_RACE = 64
"""What hw.error is when a race was found."""


@hwfunc
def vx_race_owner(address: int) -> int:
    """Whether accesses to a word need a look, from the table of that: 0 they do, VX_READ_ONLY nobody writes it, VX_LEARNING that is
    to be found out; its text is the back end's.
    """
    return 0


@hwfunc
def vx_share(address: int) -> None:
    """Accesses to the word need a look; its text is the back end's."""


@hwfunc
def vx_locks_held(v: explorer) -> int:
    """A mask of the locks that the running context holds."""
    me = hw.ctx + 1
    held = 0
    for i in range(v.nr_locks):
        if mem(mem(v.locks + 2 * i)) == me:
            held |= vx_lock_bit(i)
    return held


@hwfunc
def vx_race(v: explorer, address: int, other: int, how: int) -> None:
    """A race was found: with an open access of context ``other``, or with an early one of CPU -1 - ``other``."""
    if hw.error == 0:
        hw.error = VX_ERROR_RACE
        hw.error_arg = address
        v.race_with = other
        v.race_how = how


@hwfunc
def vx_commit() -> None:
    """A plain access in a step that has done nothing yet: where an interrupt may strike it has done something from now on."""
    if table(explorer, 0).races != 0 and vx_exposed():
        mem_set(VX_PHASE_WORD, 2)


@hwfunc
def vx_plain(address: int, how: int) -> None:
    """A kernel function touches a word whose kind says that nobody else does; ``how``: VX_WRITE, VX_MARKED, VX_PERCPU,
    or VX_OWN for one that is a stop while an interrupt may strike.
    """
    v = table(explorer, 0)
    if v.races == 0:
        return
    write = how & VX_WRITE
    owner = vx_race_owner(address)
    if owner != 0:
        at = v.race_masks + address
        mem_set(at, mem(at) | (1 << 32 * write))
        if owner == VX_LEARNING:
            return
        v.unasked += 1
        vx_share(address)
    vx_race_with_open(v, address, how)
    if how & VX_MARKED == 0 and mem(VX_PHASE_WORD) == 2:
        vx_open_access(v, address, write, 1 if how & (VX_PERCPU | VX_OWN) == 0 and vx_exposed() else 0)
    else:
        vx_early_access(v, address, how)


@hwfunc
def vx_race_with_open(v: explorer, address: int, how: int) -> None:
    """Compare an access with what other contexts have open."""
    bit = 1 << (address & 15)
    for ctx in range(table_len(vx_open)):
        o = table(vx_open, ctx)
        for i in range(o.n):
            if o.at[i] >> 1 == address >> 4 and ctx != hw.ctx:
                hit = (o.seen[i] >> 16) & bit
                if how & VX_WRITE != 0:
                    hit |= o.seen[i] & bit
                if hit != 0:
                    if table(context, ctx).cpu != hw.cpu or o.at[i] & 1 != 0:
                        vx_race(v, address, ctx, how)


@hwfunc
def vx_open_access(v: explorer, address: int, write: int, exposed: int) -> None:
    """A plain access that is open until the context's next step; ``exposed``: for contexts of this CPU, too."""
    o = table(vx_open, hw.ctx)
    at = ((address >> 4) << 1) | exposed
    locks = vx_locks_held(v)
    bit = 1 << ((address & 15) + 16 * write)
    for i in range(o.n):
        if o.at[i] == at and o.locks[i] == locks:
            if o.seen[i] & bit == 0:
                o.seen[i] |= bit
            return
    if o.n == VX_OPEN_MAX:
        v.open_full = 1
        return
    o.at[o.n] = at
    o.locks[o.n] = locks
    o.seen[o.n] = bit
    o.n += 1


@hwfunc
def vx_early_access(v: explorer, address: int, how: int) -> None:
    """Compare an access with what other CPUs' steps do early in the same state, and note it."""
    locks = vx_locks_held(v)
    slots = v.early + 8 * hw.nr_cpus * address
    for cpu in range(hw.nr_cpus):
        if cpu != hw.cpu:
            for other in range(4):
                # 0 plain read, 1 plain write, 2 marked read, 3 marked write
                if (how | other) & VX_WRITE != 0 and how & other & VX_MARKED == 0:
                    at = slots + 8 * cpu + 2 * other
                    if mem(at) == v.stamp and mem(at + 1) & locks == 0:
                        vx_race(v, address, -1 - cpu, how)
    at = slots + 8 * hw.cpu + 2 * (how & 3)
    if mem(at) != v.stamp:
        mem_set(at, v.stamp)
        mem_set(at + 1, locks)


@hwfunc
def vx_freed_node(address: int) -> int:
    """1 + the context that has freed the skb in which the word lies; 0 for a word elsewhere, and for one in use."""
    if address < address_of(table(sk_buff, 0)):
        return 0
    index = index_of(ref_at(sk_buff, address))
    if index >= table_len(sk_buff):
        return 0
    return table(sk_buff, index).vx_freed
