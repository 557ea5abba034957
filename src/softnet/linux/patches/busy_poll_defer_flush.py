# SPDX-License-Identifier: GPL-2.0-or-later
"""net: call skb_defer_free_flush() from __napi_busy_loop().

A task that polls the card frees what was deferred to its CPU. Before, only NET_RX there did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.net.core.dev import skb_defer_free_flush
    from softnet.linux.net.core.gro import gro_normal_list


PATCH = {
    "commit": "1200097fa8f0",
    "subject": "net: call skb_defer_free_flush() from __napi_busy_loop()",
    "since": "6.9",
    "link": "https://lore.kernel.org/r/20240227210105.3815474-1-edumazet@google.com",
}


@kfunc
def napi_busy_loop_poll(napi: napi_struct, owned: bool, budget: int) -> None:
    """net/core/dev.c, in __napi_busy_loop(): flush after each poll, also where somebody else owns the NAPI."""
    if owned:
        work("napi_poll")
        done = napi.poll(napi, budget)
        trace_napi_poll(napi, done, budget)
        gro_normal_list(napi)
    skb_defer_free_flush(this_cpu_ptr(softnet_data))
