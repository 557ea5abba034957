# SPDX-License-Identifier: GPL-2.0-or-later
"""udp: use skb_attempt_defer_free().

What a UDP socket's reader has copied is freed on the CPU that allocated it, through that CPU's defer list, as TCP's is since v5.19.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.net.core.skbuff import *
    from softnet.linux.net.core.skbuff import __kfree_skb
    from softnet.linux.net.core.sock import sock


PATCH = {
    "commit": "6471658dc66c",
    "subject": "udp: use skb_attempt_defer_free()",
    "since": "6.18",
    "link": "https://git.kernel.org/netdev/net-next/c/6471658dc66c",
}


@kfunc
def skb_orphan(skb: sk_buff) -> None:
    """include/linux/skbuff.h: the skb belongs to no socket any more."""
    if skb.destructor:
        skb.destructor(skb)
        skb.destructor = None
        skb.sk = None


@kfunc
def skb_consume_udp(sk: sock, skb: sk_buff) -> None:
    """net/ipv4/udp.c:1848 (6.18), void skb_consume_udp(struct sock *sk, struct sk_buff *skb, int len)."""
    if skb.users == 1:
        skb_orphan(skb)
        skb_attempt_defer_free(skb)
        return
    if not skb_unref(skb):
        return
    trace_consume_skb(skb)
    __kfree_skb(skb)
