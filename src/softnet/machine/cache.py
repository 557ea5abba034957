# SPDX-License-Identifier: GPL-2.0-or-later
"""Cache lines: who holds a copy, and what a transfer costs.

A directory entry is one word for the last writer (CPU + 1) and a bit mask of the CPUs that hold a copy, 32 to a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set, table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.machine.state import cpu_hw


@hwfunc
def line_transfer(entry: int) -> None:
    """Charge the transfer of a line from its last writer, by whether that one sits on the same NUMA node."""
    writer = mem(entry)
    hw.line_transfers += 1
    me = table(cpu_hw, hw.cpu)
    me.line_transfers += 1
    if writer == 0:
        hw.now += hw.cost_line_local
    elif table(cpu_hw, writer - 1).node == me.node:
        hw.now += hw.cost_line_local
    else:
        hw.now += hw.cost_line_remote


@hwfunc
def line_read(addr: int) -> None:
    """Charge a load: nothing when this CPU holds a copy, else a transfer; it holds a copy afterwards."""
    entry = hw.dir_base + (addr >> 4) * hw.dir_stride
    at = entry + 1 + (hw.cpu >> 5)
    bit = 1 << (hw.cpu & 31)
    copies = mem(at)
    if copies & bit == 0:
        line_transfer(entry)
        mem_set(at, copies | bit)


@hwfunc
def line_write(addr: int) -> None:
    """Charge a store: nothing when this CPU alone holds the line, else a transfer; it alone holds it afterwards."""
    entry = hw.dir_base + (addr >> 4) * hw.dir_stride
    at = entry + 1 + (hw.cpu >> 5)
    bit = 1 << (hw.cpu & 31)
    if mem(entry) != hw.cpu + 1 or mem(at) != bit:
        if mem(entry) != 0 or mem(at) != 0:
            line_transfer(entry)
        for i in range(hw.dir_stride - 1):
            mem_set(entry + 1 + i, 0)
        mem_set(at, bit)
        mem_set(entry, hw.cpu + 1)
    elif hw.dir_stride > 2:
        line_write_wide(entry, at)


@hwfunc
def line_write_wide(entry: int, at: int) -> None:
    """More than 32 CPUs: readers may stand in the other words of the mask."""
    others = 0
    for i in range(hw.dir_stride - 1):
        if entry + 1 + i != at:
            others = others | mem(entry + 1 + i)
            mem_set(entry + 1 + i, 0)
    if others != 0:
        line_transfer(entry)
