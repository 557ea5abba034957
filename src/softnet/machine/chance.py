# SPDX-License-Identifier: GPL-2.0-or-later
"""The oracle inside the model: one stream of draws per CPU (softnet.units.draw), and costs drawn from the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import draw, mem, table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.machine.state import cpu_hw


@hwfunc
def rnd_seed(c: cpu_hw) -> None:
    """Begin the CPU's stream of numbers."""
    at = (1 << 32) + 2 * c.id
    c.rnd_key = (draw(hw.seed, at) << 30) ^ draw(hw.seed, at + 1)
    c.rnd_count = 0


@hwfunc
def rnd(n: int) -> int:
    """The next number below ``n`` (at most 2**31) of this CPU's stream."""
    c = table(cpu_hw, hw.cpu)
    c.rnd_count += 1
    return draw(c.rnd_key, c.rnd_count) * n >> 32


@hwfunc(price_only=True)
def cost_ns(index: int) -> int:
    """A row of the cost table: the least value, and how many there are, 0 for a cost that does not vary; drawn evenly."""
    least = mem(hw.cost_base + 2 * index)
    values = mem(hw.cost_base + 2 * index + 1)
    if values == 0:
        return least
    return least + rnd(values)
