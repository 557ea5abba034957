# SPDX-License-Identifier: GPL-2.0-or-later
"""Why net_rx_action() left with work undone: the kernel's time_squeeze counts both of its reasons as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, hw, observer
from softnet.lang.intrinsics import smp_processor_id, table

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import net_hotdata


class squeeze_stat(Struct):
    """softnet's own, one per CPU: how often the budget was used up, and how often only the time was."""

    by_budget: int = hw()
    by_time: int = hw()


@observer
def event_time_squeeze(work: int, b: int, c: int) -> None:
    """``budget <= 0 || time_after_eq(jiffies, time_limit)``: the first is asked first, and ``work`` is netdev_budget - budget."""
    stat = table(squeeze_stat, smp_processor_id())
    if work >= table(net_hotdata, 0).netdev_budget:
        stat.by_budget += 1
    else:
        stat.by_time += 1
