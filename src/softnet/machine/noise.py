# SPDX-License-Identifier: GPL-2.0-or-later
"""What disturbs CPUs beside the model's own work: interrupts of other devices, SMIs, a hypervisor that takes a CPU away.

Each source is an actor (machine/events.py) with a stream of numbers of its own. A CPU that is stopped neither computes nor takes
interrupts; its clock goes on, and nothing in the kernel sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import draw, table, table_len

if TYPE_CHECKING:
    from softnet.machine.events import actor_set, cpu_update
    from softnet.machine.globals import hw
    from softnet.machine.interrupts import irq_post
    from softnet.machine.state import NEVER, NOISE_INTERRUPT, NOISE_STEAL, cpu_hw, irq_line, nic_queue, noise_source


@hwfunc
def noise_draw(s: noise_source, n: int) -> int:
    """The next number below ``n`` of the source's stream."""
    s.drawn += 1
    return draw(s.key, s.drawn) * n >> 32


@hwfunc
def cpu_stop(c: cpu_hw, ns: int) -> None:
    """For so long the CPU does nothing."""
    until = hw.now + ns
    if c.t < NEVER:
        c.t += ns
    c.irq_from = max(c.irq_from, until)
    c.stopped_until = max(c.stopped_until, until)
    cpu_update(c)


@hwfunc
def noise_due(number: int) -> None:
    """The source strikes, and again after half of its mean interval to one and a half, drawn evenly."""
    s = table(noise_source, number)
    ns = s.least_ns + noise_draw(s, s.values)
    if s.kind == NOISE_INTERRUPT:
        line = table(irq_line, 4 * hw.nr_cpus + table_len(nic_queue) + number)
        if not line.pending:
            line.data = ns
            irq_post(line, s.cpu, hw.now)
    elif s.kind == NOISE_STEAL:
        cpu_stop(table(cpu_hw, s.cpu), ns)
    else:
        for i in range(hw.nr_cpus):
            cpu_stop(table(cpu_hw, i), ns)
    actor_set(hw.noise_first + number, hw.now + s.interval_ns // 2 + noise_draw(s, s.interval_ns))
