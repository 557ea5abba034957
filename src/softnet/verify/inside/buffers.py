# SPDX-License-Identifier: GPL-2.0-or-later
"""x86-TSO's store buffers, in the restricted Python: one queue of stores for each CPU, between its contexts and memory.

A store goes into the queue of the CPU that runs; its loads look there first, from the youngest; the oldest store reaches memory
at any time, as an action of its own (explorer.py). Which stores and loads come here, and what waits until the queue
is empty, is codegen/store_order.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.verify.inside.words import vx_buffer

VX_STORE_BUFFER = 0
"""How many stores a CPU's buffer holds; 0: memory is sequentially consistent, and nothing here is compiled."""


@hwfunc
def vx_poke(address: int, value: int) -> None:
    """Store to a word of the state, whichever it is; the text is the back end's."""


@hwfunc
def vx_buffer_flush(b: vx_buffer) -> None:
    """The oldest store reaches memory."""
    vx_poke(b.at[0], b.value[0])
    last = b.n - 1
    for i in range(last):
        b.at[i] = b.at[i + 1]
        b.value[i] = b.value[i + 1]
    b.at[last] = 0
    b.value[last] = 0
    b.n = last


@hwfunc
def vx_buffer_drain(cpu: int) -> None:
    """All stores of a CPU reach memory."""
    b = table(vx_buffer, cpu)
    while b.n != 0:
        vx_buffer_flush(b)


@hwfunc
def vx_buffer_fence() -> None:
    """This CPU waits until its stores are in memory; the others' turns between them are flushes of their own."""
    vx_buffer_drain(hw.cpu)


@hwfunc
def vx_buffer_load(address: int) -> int:
    """What this CPU reads there: its own youngest store, or memory."""
    b = table(vx_buffer, hw.cpu)
    i = b.n
    while i > 0:
        i -= 1
        if b.at[i] == address:
            return b.value[i]
    return mem(address)


@hwfunc
def vx_buffer_store(address: int, value: int) -> None:
    """This CPU stores; a full buffer gives its oldest store to memory first."""
    b = table(vx_buffer, hw.cpu)
    if b.n == VX_STORE_BUFFER:
        vx_buffer_flush(b)
    b.at[b.n] = address
    b.value[b.n] = value
    b.n += 1


@hwfunc
def vx_buffer_release(address: int, value: int) -> None:
    """This CPU frees a lock, behind its stores. With none under way the lock is free at once: whoever sees it later can
    as well take it later.
    """
    if table(vx_buffer, hw.cpu).n == 0:
        vx_poke(address, value)
    else:
        vx_buffer_store(address, value)


@hwfunc
def vx_buffer_fill() -> int:
    """How many stores this CPU's buffer holds."""
    return table(vx_buffer, hw.cpu).n


@hwfunc
def vx_buffered() -> bool:
    """Whether any CPU's stores are still under way."""
    waiting = 0
    for cpu in range(hw.nr_cpus):
        waiting |= table(vx_buffer, cpu).n
    return waiting != 0
