# SPDX-License-Identifier: GPL-2.0-or-later
"""The oracle inside the model: counter-based integer hashes, one stream per CPU, and costs drawn from the table.

Products stay below 2**63, so that every engine computes the same with 64-bit integers. The mixing function is that of units.mix().
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.machine.state import cpu_hw


@hwfunc(visible="own context", x86="none")
def mix32(value: int) -> int:
    """A 32-bit integer hash."""
    x = value & 0xFFFFFFFF
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & 0xFFFFFFFF
    x = x ^ (x >> 15)
    x = (x * 0x045D9F3B) & 0xFFFFFFFF
    return x ^ (x >> 16)


@hwfunc
def rnd_seed(c: cpu_hw) -> None:
    """Begin the CPU's stream of numbers."""
    c.rnd_key = mix32(hw.seed + (1 << 20) + (c.id << 8))
    c.rnd_count = 0


@hwfunc
def rnd(n: int) -> int:
    """The next number below ``n`` (at most 2**31) of this CPU's stream."""
    c = table(cpu_hw, hw.cpu)
    c.rnd_count += 1
    return mix32(c.rnd_key ^ c.rnd_count) * n >> 32


@hwfunc(price_only=True)
def cost_ns(index: int) -> int:
    """A row of the cost table: the least value, and how many there are, 0 for a cost that does not vary; drawn evenly."""
    least = mem(hw.cost_base + 2 * index)
    values = mem(hw.cost_base + 2 * index + 1)
    if values == 0:
        return least
    return least + rnd(values)
