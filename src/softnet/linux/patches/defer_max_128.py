# SPDX-License-Identifier: GPL-2.0-or-later
"""net: increase skb_defer_max default to 128.

A defer list takes twice as many skbs, and is kicked at twice the length, where nobody sets net.core.skb_defer_max.
"""

from __future__ import annotations

from softnet.lang import Struct, shared

PATCH = {
    "commit": "b61785852ed0",
    "subject": "net: increase skb_defer_max default to 128",
    "since": "6.19",
    "link": "https://git.kernel.org/torvalds/c/b61785852ed0",
}


class net_hotdata(Struct, extends=True):
    """net/core/hotdata.c. Read from the commit; 7.2's and 7.3's trees have it."""

    sysctl_skb_defer_max: int = shared(line=1, init=128)
