# SPDX-License-Identifier: GPL-2.0-or-later
"""drivers/net/loopback.c (6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.net.core.dev_backlog import __netif_rx


@kfunc
def loopback_xmit(skb: sk_buff, dev: net_device) -> int:
    """loopback.c:69 (6.1): what is sent is received, through the backlog of this CPU or RPS's choice."""
    work("loopback_xmit")
    __netif_rx(skb)
    return 0
