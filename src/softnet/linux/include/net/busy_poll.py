# SPDX-License-Identifier: GPL-2.0-or-later
"""include/net/busy_poll.h (6.1): whether and how long a task polls the card itself, and which NAPI a socket's packets come from.

A NAPI's id is 1 + the row of its vector; 0 stands for C's ids below MIN_NAPI_ID: no card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.net.core.dev_busy_poll import napi_busy_loop
    from softnet.linux.net.core.sock import sock
    from softnet.machine.timers import *


BUSY_POLL_BUDGET = 8


@kfunc
def net_busy_loop_on() -> bool:
    """Whether net.core.busy_poll asks every epoll instance to poll."""
    return bool(IS_ENABLED(CONFIG_NET_RX_BUSY_POLL) and table(net_hotdata, 0).sysctl_net_busy_poll)


@kfunc
def busy_loop_current_time() -> int:
    """In units of 1,024 ns, which the kernel takes for microseconds."""
    return ktime_get() >> 10


@kfunc
def busy_loop_timeout(start_time: int) -> bool:
    """Whether net.core.busy_poll is over."""
    bp_usec = table(net_hotdata, 0).sysctl_net_busy_poll
    if bp_usec:
        return busy_loop_current_time() > start_time + bp_usec
    return True


@kfunc
def sk_can_busy_loop(sk: sock) -> bool:
    """SO_BUSY_POLL, or net.core.busy_read when the socket was made. Nobody sends signals here."""
    return bool(IS_ENABLED(CONFIG_NET_RX_BUSY_POLL) and sk.sk_ll_usec)


@kfunc
def sk_busy_loop(sk: sock) -> None:
    """void sk_busy_loop(struct sock *sk, int nonblock), nonblocking, as every read behind epoll is: one poll of the card."""
    napi_id = sk.sk_napi_id
    if napi_id:
        napi_busy_loop(napi_id, None, False, BUSY_POLL_BUDGET)


@kfunc
def sk_mark_napi_id(sk: sock, skb: sk_buff) -> None:
    """The socket learns where its packets come from."""
    if IS_ENABLED(CONFIG_NET_RX_BUSY_POLL):
        if sk.sk_napi_id != skb.napi_id:
            sk.sk_napi_id = skb.napi_id


@kfunc
def sk_mark_napi_id_once(sk: sock, skb: sk_buff) -> None:
    """The same for a socket that is not connected: it keeps the first."""
    if IS_ENABLED(CONFIG_NET_RX_BUSY_POLL):
        if not sk.sk_napi_id:
            sk.sk_napi_id = skb.napi_id
