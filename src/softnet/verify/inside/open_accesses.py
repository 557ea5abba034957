# SPDX-License-Identifier: GPL-2.0-or-later
# mypy: warn-unreachable=False, disable-error-code="redundant-expr, no-any-return"
"""What closes open accesses (softnet.verify.inside.races), and what poisons a freed skb. The harness and the search call it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import address_of, mem, ref_at, table, table_len

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.machine.state import spinlock_t
    from softnet.verify.inside.words import explorer, sk_buff, vx_open

VX_RACES = 0
"""Whether races are looked for; without, nothing here but vx_poison() is compiled."""


@hwfunc(visible="search", x86="none")
def vx_poison(address: int) -> None:
    """From here on nobody may touch the skb."""
    ref_at(sk_buff, address).vx_freed = hw.ctx + 1


@hwfunc
def vx_close(ctx: int) -> None:
    """The context takes its next step: what it touched before is behind it."""
    o = table(vx_open, ctx)
    for i in range(o.n):
        o.at[i] = 0
        o.locks[i] = 0
        o.seen[i] = 0
    if o.n != 0:
        o.n = 0


@hwfunc
def vx_drop(o: vx_open, i: int) -> None:
    """An access is ordered before whatever comes; the last entry takes its place."""
    last = o.n - 1
    o.at[i] = o.at[last]
    o.locks[i] = o.locks[last]
    o.seen[i] = o.seen[last]
    o.at[last] = 0
    o.locks[last] = 0
    o.seen[last] = 0
    o.n = last


@hwfunc
def vx_taken(lock: spinlock_t) -> None:
    """A context takes a lock: whatever was touched under it, and is released, came before."""
    v = table(explorer, 0)
    bit = 0
    for i in range(v.nr_locks):
        if mem(v.locks + 2 * i) == address_of(lock):
            bit = vx_lock_bit(i)
    for ctx in range(table_len(vx_open)):
        o = table(vx_open, ctx)
        j = o.n
        while j > 0:
            j -= 1
            if o.locks[j] & bit != 0:
                vx_drop(o, j)


@hwfunc
def vx_stopped_machine() -> None:
    """All other CPUs were seen preemptible: what they did with interrupts off came before."""
    for ctx in range(table_len(vx_open)):
        o = table(vx_open, ctx)
        j = o.n
        while j > 0:
            j -= 1
            if o.at[j] & 1 == 0:
                vx_drop(o, j)


@hwfunc
def vx_lock_bit(number: int) -> int:
    """The bit of a lock in a mask; the last one is shared."""
    return 1 << min(number, 60)
