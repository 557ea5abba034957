# SPDX-License-Identifier: GPL-2.0-or-later
"""net: fix napi_consume_skb() with alien skbs.

A poll that is done with an skb of another CPU, most of all a card's poll with what was sent, has it freed at home through the
defer list instead of into its own NAPI cache. The destructor runs at once (1fcf572211da). 6.19's tree was not to be had: read
from the commit and in 7.2.12 and 7.3.4, without their static key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.net.core.skbuff import consume_skb, skb_release_all, skb_unref
    from softnet.linux.patches.defer_nodes import skb_attempt_defer_free
    from softnet.linux.patches.napi_alloc_cache_bh_lock import napi_skb_cache_put


PATCH = {
    "commit": "e20dfbad8aab",
    "subject": "net: fix napi_consume_skb() with alien skbs",
    "since": "6.19",
    "link": "https://git.kernel.org/torvalds/c/e20dfbad8aab",
}


@kfunc
def skb_release_head_state(skb: sk_buff) -> None:
    """net/core/skbuff.c:1169 (7.3): the destructor, once; there are no routes, conntracks or extensions in the model."""
    if skb.destructor:
        skb.destructor(skb)
        skb.destructor = None
        skb.sk = None


@kfunc
def napi_consume_skb(skb: sk_buff, budget: int) -> None:
    """net/core/skbuff.c:1522 (7.3)."""
    if not budget:
        consume_skb(skb)
        return
    WARN_ON_ONCE(not in_softirq())
    if skb.alloc_cpu != smp_processor_id() and skb.users == 1:
        skb_release_head_state(skb)
        skb_attempt_defer_free(skb)
        return
    if not skb_unref(skb):
        return
    trace_consume_skb(skb)
    skb_release_all(skb)
    napi_skb_cache_put(skb)
