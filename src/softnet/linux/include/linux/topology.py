# SPDX-License-Identifier: GPL-2.0-or-later
"""include/linux/topology.h: the NUMA node of a CPU. Which node each CPU is on is the machine's: cpu_to_node(), nr_node_ids()."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.machine.interrupts import *


@kfunc
def numa_node_id() -> int:
    """include/linux/topology.h:84 (6.18): the node of the CPU that runs this. Only a hint where the task may move."""
    return cpu_to_node(raw_smp_processor_id())
