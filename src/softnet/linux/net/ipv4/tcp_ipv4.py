# SPDX-License-Identifier: GPL-2.0-or-later
"""net/ipv4/tcp_ipv4.c (6.1): segments for established connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.net.busy_poll import *
    from softnet.linux.net.core.skbuff import *
    from softnet.linux.net.core.sock import *
    from softnet.linux.net.ipv4.tcp_input import tcp_rcv_established


@kfunc
def tcp_v4_rcv(skb: sk_buff) -> int:
    """tcp_ipv4.c:1954 (6.1): find the socket; if a task owns it, leave the segment on its backlog."""
    work("tcp_v4_rcv")
    if not skb.sock_index:
        kfree_skb_reason(skb, SKB_DROP_REASON_NO_SOCKET)
        return 0
    sk = table(sock, skb.sock_index - 1)
    bh_lock_sock(sk)
    if not sock_owned_by_user(sk):
        tcp_v4_do_rcv(sk, skb)
    elif tcp_add_backlog(sk, skb):
        # It has unlocked the socket.
        kfree_skb_reason(skb, SKB_DROP_REASON_SOCKET_BACKLOG)
        return 0
    bh_unlock_sock(sk)
    return 0


@kfunc
def tcp_v4_do_rcv(sk: sock, skb: sk_buff) -> int:
    """tcp_ipv4.c:1669 (6.1), TCP_ESTABLISHED only."""
    sock_rps_save_rxhash(sk, skb)
    sk_mark_napi_id(sk, skb)
    tcp_rcv_established(sk, skb)
    return 0


@kfunc
def tcp_add_backlog(sk: sock, skb: sk_buff) -> bool:
    """tcp_ipv4.c:1778 (6.1), bool tcp_add_backlog(struct sock *sk, struct sk_buff *skb, enum skb_drop_reason *reason).

    Merge with the backlog's last skb, or append; true when it is full (socket unlocked).
    """
    work("tcp_add_backlog")
    tail = sk.backlog_tail
    if tail and skb.seq_ok:
        delta = skb.truesize - SKB_HEAD_TRUESIZE
        if skb_try_coalesce(tail, skb):
            sk.backlog_len += delta
            kfree_skb_partial(skb, True)
            return False
    limit = (READ_ONCE(sk.sk_rcvbuf) << 1) + (READ_ONCE(sk.sk_sndbuf) >> 1) + 64 * 1024
    if sk_add_backlog(sk, skb, limit):
        bh_unlock_sock(sk)
        atomic_inc(sk.sk_drops)
        return True
    return False
