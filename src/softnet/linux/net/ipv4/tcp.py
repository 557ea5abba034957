# SPDX-License-Identifier: GPL-2.0-or-later
"""net/ipv4/tcp.c (6.1): recvmsg, whose skbs go to the defer lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.linux.skbuff import __skb_unlink
    from softnet.linux.include.net.busy_poll import *
    from softnet.linux.net.core.skbuff import *
    from softnet.linux.net.core.skbuff import __kfree_skb
    from softnet.linux.net.core.sock import *
    from softnet.linux.net.socket import msghdr, sock_recv_timestamp


@kfunc
def tcp_eat_recv_skb(sk: sock, skb: sk_buff) -> None:
    """tcp.c:1658 (6.1): done with this skb: uncharge it, and have it freed where it was allocated."""
    __skb_unlink(skb, sk.sk_receive_queue)
    if skb.destructor:
        sock_rfree(skb)
        skb.destructor = None
        skb.sk = None
        skb_attempt_defer_free(skb)
        return
    __kfree_skb(skb)


@kfunc
def tcp_recvmsg(sk: sock, msg: msghdr, len: int) -> int:
    """tcp.c:2709 (6.1), int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len).

    With tcp_recvmsg_locked() (2464), nonblocking: up to ``len`` bytes; how many packets they were.

    An skb is read whole: the application's buffer ends at an skb's end.
    """
    packets = 0
    copied = 0
    if sk_can_busy_loop(sk):
        if not READ_ONCE(sk.sk_receive_queue.qlen):
            sk_busy_loop(sk)
    lock_sock(sk)
    work("tcp_recvmsg")
    sock_rps_record_flow(sk)
    while copied < len:
        skb = skb_peek(sk.sk_receive_queue)
        if not skb:
            # Nothing more, but segments may wait on the backlog: process them by letting go of the socket.
            if copied or not sk.backlog_tail:
                break
            release_sock(sk)
            lock_sock(sk)
            if not skb_peek(sk.sk_receive_queue):
                break
            continue
        work_bytes("copy_to_user", skb.payload)
        copied += skb.payload
        packets += skb.nr_packets
        sock_recv_timestamp(msg, sk, skb)
        tcp_eat_recv_skb(sk, skb)
    work("tcp_cleanup_rbuf")
    release_sock(sk)
    return packets


@kfunc
def tcp_readable(sk: sock) -> bool:
    """tcp.c:500 (6.1) tcp_poll(), EPOLLIN."""
    return bool(READ_ONCE(sk.sk_receive_queue.qlen))
