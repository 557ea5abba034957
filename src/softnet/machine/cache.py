# SPDX-License-Identifier: GPL-2.0-or-later
"""Cache lines: who holds a copy, and what a transfer costs.

The directory has one word per line for every group of 32 CPUs: a bit for each of them that holds a copy, FAR if the last
writer is of this group and a CPU of another one has taken a copy since, and the last writer, its CPU + 1. All groups' words
name the writer. So the two questions asked at every access, "do I hold a copy?" and "do I alone hold it, as its writer?", read
one word each: hw.line_mine is where this CPU's group begins, hw.line_bit its bit, hw.line_only the word of a line it alone holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set, table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.machine.state import cpu_hw

LINE_FAR = 1 << 32
LINE_WRITER_SHIFT = 33


@hwfunc
def line_seat(c: cpu_hw) -> None:
    """Work out where the CPU's words of the directory are, once: line_owner() is called at each change of context."""
    c.line_mine = hw.dir_base + (c.id >> 5) * hw.dir_lines
    c.line_bit = 1 << (c.id & 31)
    c.line_only = (c.id + 1) << LINE_WRITER_SHIFT | c.line_bit


@hwfunc(inline="always")
def line_owner(c: cpu_hw) -> None:
    """Accesses from here on are this CPU's."""
    hw.line_mine = c.line_mine
    hw.line_bit = c.line_bit
    hw.line_only = c.line_only


@hwfunc(price_only=True, inline="always")
def line_transfer(writer: int) -> None:
    """Charge the transfer of a line from its last writer (CPU + 1), by whether that one sits on the same NUMA node."""
    hw.line_transfers += 1
    me = table(cpu_hw, hw.cpu)
    me.line_transfers += 1
    if writer == 0:
        hw.now += hw.cost_line_local
    elif table(cpu_hw, writer - 1).node == me.node:
        hw.now += hw.cost_line_local
    else:
        hw.now += hw.cost_line_remote


@hwfunc(price_only=True)
def line_read(addr: int) -> None:
    """Charge a load: nothing when this CPU holds a copy, else a transfer; it holds a copy afterwards."""
    if mem(hw.line_mine + (addr >> 4)) & hw.line_bit == 0:
        line_fetch(hw.line_mine + (addr >> 4))


@hwfunc(price_only=True)
def line_write(addr: int) -> None:
    """Charge a store: nothing when this CPU alone holds the line, else a transfer; it alone holds it afterwards."""
    if mem(hw.line_mine + (addr >> 4)) != hw.line_only:
        line_claim(hw.line_mine + (addr >> 4))


@hwfunc(inline="never")
def line_fetch(at: int) -> None:
    """Take a copy of the line whose word of this CPU's group is at ``at``."""
    word = mem(at)
    writer = word >> LINE_WRITER_SHIFT
    line_transfer(writer)
    mem_set(at, word | hw.line_bit)
    if writer != 0 and hw.nr_cpus > 32:
        group = (writer - 1) >> 5
        if group != hw.cpu >> 5:
            home = at + (group - (hw.cpu >> 5)) * hw.dir_lines
            mem_set(home, mem(home) | LINE_FAR)


@hwfunc(inline="never")
def line_claim(at: int) -> None:
    """Take the line from all who hold it; one that nobody wrote or of this group read costs nothing."""
    word = mem(at)
    if word != 0:
        line_transfer(word >> LINE_WRITER_SHIFT)
    if hw.nr_cpus > 32:
        first = at - (hw.cpu >> 5) * hw.dir_lines
        for group in range((hw.nr_cpus + 31) >> 5):
            mem_set(first + group * hw.dir_lines, (hw.cpu + 1) << LINE_WRITER_SHIFT)
    mem_set(at, hw.line_only)
