# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the kernel's structures are, for the checks. A patch that keeps deferred skbs elsewhere defines these functions anew.

docs/verify.md says how. A patch that does not, and stores to softnet_data.defer_list nowhere, is asked less: the table says what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import predicate
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import net_hotdata, softnet_data
    from softnet.linux.include.linux.skbuff import sk_buff


@predicate
def defer_list_first(cpu: int) -> sk_buff:
    """The first skb on the CPU's defer list, None if it is empty."""
    return table(softnet_data, cpu).defer_list


@predicate
def defer_list_next(skb: sk_buff) -> sk_buff:
    """The one behind it."""
    return skb.next


@predicate
def defer_list_count(cpu: int) -> int:
    """How many skbs the kernel takes to be on it: what it holds against skb_defer_max."""
    return table(softnet_data, cpu).defer_count


@predicate
def defer_list_busy(cpu: int) -> bool:
    """Whether somebody is changing it, so that list and count need not agree."""
    return table(softnet_data, cpu).defer_lock.owner != 0


@predicate
def defer_list_stuck(cpu: int) -> bool:
    """Whether it is empty, takes no skb for being full, and nothing will change that."""
    sd = table(softnet_data, cpu)
    limit = table(net_hotdata, 0).sysctl_skb_defer_max
    return sd.defer_list is None and limit > 0 and sd.defer_count >= limit and sd.defer_lock.owner == 0


@predicate
def defer_lists() -> int:
    """How many lists a CPU has, each with a limit of its own."""
    return 1
