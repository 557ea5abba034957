# SPDX-License-Identifier: GPL-2.0-or-later
# mypy: disable-error-code="attr-defined,no-any-return,return-value,unreachable"
"""The same where a CPU has a lock-free defer list for each NUMA node (6.18 on): its list is all of them, one behind the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import predicate
from softnet.lang.intrinsics import container_of, table, table_len

if TYPE_CHECKING:
    from softnet.linux.include.linux.list import llist_node
    from softnet.linux.include.linux.netdevice import net_hotdata
    from softnet.linux.include.linux.skbuff import sk_buff
    from softnet.linux.patches.defer_nodes import skb_defer_node
    from softnet.machine.globals import hw


@predicate
def defer_node_at(cpu: int, node: int) -> skb_defer_node:
    """The list of one node."""
    return table(skb_defer_node, cpu * defer_lists() + node)


@predicate
def defer_node_first(cpu: int, node: int) -> sk_buff:
    """The first skb on the list of this node, or of the next one that has any; None behind the last."""
    while node < defer_lists():
        entry = defer_node_at(cpu, node).defer_list.first
        if entry is not None:
            return container_of(entry, sk_buff, "ll_node")
        node += 1
    return None


@predicate
def defer_list_first(cpu: int) -> sk_buff:
    """The first skb on the CPU's lists: the last that was deferred."""
    return defer_node_first(cpu, 0)


@predicate
def defer_list_next(skb: sk_buff) -> sk_buff:
    """The one behind it; behind the last of a node's list comes the next node's first."""
    entry: llist_node = skb.ll_node.next
    if entry is not None:
        return container_of(entry, sk_buff, "ll_node")
    for node in range(defer_lists() - 1):
        one = defer_node_at(skb.alloc_cpu, node).defer_list.first
        while one is not None:
            if container_of(one, sk_buff, "ll_node") == skb:
                return defer_node_first(skb.alloc_cpu, node + 1)
            one = one.next
    return None


@predicate
def defer_list_count(cpu: int) -> int:
    """How many are on the longest of them, as far as its counter has them: the counter also counts those that were refused."""
    most = 0
    for node in range(defer_lists()):
        length = 0
        entry = defer_node_at(cpu, node).defer_list.first
        while entry is not None:
            length += 1
            entry = entry.next
        most = max(most, min(length, defer_node_at(cpu, node).defer_count))
    return most


@predicate
def defer_list_busy(cpu: int) -> bool:
    """No lock keeps a list and its counter together."""
    return True


@predicate
def defer_list_stuck(cpu: int) -> bool:
    """A list is empty and counts as full, and the flush passes an empty list by. With a limit of n it takes n - 1 skbs."""
    limit = table(net_hotdata, 0).sysctl_skb_defer_max
    for node in range(defer_lists()):
        sdn = defer_node_at(cpu, node)
        if sdn.defer_list.first is None and limit > 1 and sdn.defer_count + 1 >= limit:
            return True
    return False


@predicate
def defer_lists() -> int:
    """How many lists a CPU has, each with a limit of its own."""
    return table_len(skb_defer_node) // hw.nr_cpus
