# SPDX-License-Identifier: GPL-2.0-or-later
"""Two properties of a user's own, for softnet verify --property-file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.verify import always, in_the_end

if TYPE_CHECKING:
    from softnet.lang.intrinsics import table
    from softnet.linux.include.linux.netdevice import softnet_data


@always("more than two packets are queued on a backlog")
def two_packets_at_most(cpu: int) -> bool:
    """input_pkt_queue alone; process_queue may hold more."""
    return table(softnet_data, cpu).input_pkt_queue.qlen <= 2


@in_the_end("something is left on a defer list")
def nothing_deferred(cpu: int) -> bool:
    """Below the watermark nothing kicks, so this does not hold: an idle CPU never flushes."""
    return table(softnet_data, cpu).defer_count == 0
