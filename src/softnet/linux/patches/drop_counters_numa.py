# SPDX-License-Identifier: GPL-2.0-or-later
"""net: use NUMA drop counters for softnet_data.dropped.

Two counters for each CPU's backlog, for even and odd NUMA nodes, each on a line of its own: producers that drop on different
nodes no longer share a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.topology import numa_node_id


PATCH = {
    "commit": "fdae0ab67d57",
    "subject": "net: use NUMA drop counters for softnet_data.dropped",
    "since": "6.18",
    "link": "https://git.kernel.org/torvalds/c/fdae0ab67d57",
}


class numa_drop_counters(Struct):
    """include/linux/netdevice.h:3467 (6.18)."""

    drops0: int = shared(line=0, statistic=True)
    drops1: int = shared(line=1, statistic=True)


class softnet_data(Struct, extends=True):
    """include/linux/netdevice.h: instead of ``dropped``, which stays here without a user."""

    drop_counters: numa_drop_counters = embed(line=24)


@kfunc
def numa_drop_add(ndc: numa_drop_counters, val: int) -> None:
    """include/linux/netdevice.h:3477 (6.18)."""
    if numa_node_id() % 2:
        atomic_add(val, ndc.drops1)
    else:
        atomic_add(val, ndc.drops0)


@kfunc
def backlog_dropped(sd: softnet_data) -> None:
    """net/core/dev.c:5303 (6.18), in enqueue_to_backlog()."""
    numa_drop_add(sd.drop_counters, 1)
