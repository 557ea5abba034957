# SPDX-License-Identifier: GPL-2.0-or-later
"""net/ipv4/tcp_input.c (6.1): data of an established connection into the receive queue.

Sequence numbers, windows and acknowledgements are outside the model: a capture's segments arrive as they arrived, and
the receiver's answer is a cost. Out of order, they are queued as data all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.linux.skbuff import __skb_queue_tail
    from softnet.linux.net.core.skbuff import *
    from softnet.linux.net.core.skbuff import __kfree_skb
    from softnet.linux.net.core.sock import *


@kfunc
def tcp_rcv_established(sk: sock, skb: sk_buff) -> None:
    """tcp_input.c:5980 (6.1): the fast path, or tcp_data_queue() when the receive buffer is full."""
    work("tcp_rcv_established")
    if skb.payload == 0:
        # A pure acknowledgement: tcp_ack() used it up.
        this_cpu_ptr(skb_drop_stats).pure_acks += skb.nr_packets
        skb.nr_packets = 0
        __kfree_skb(skb)
        return
    if tcp_try_rmem_schedule(sk, skb):
        atomic_inc(sk.sk_drops)
        kfree_skb_reason(skb, SKB_DROP_REASON_PROTO_MEM)
        return
    tcp_queue_rcv(sk, skb)
    work("tcp_ack_snd_check")
    tcp_data_ready(sk)


@kfunc
def tcp_try_rmem_schedule(sk: sock, skb: sk_buff) -> int:
    """tcp_input.c:4908 (6.1), int tcp_try_rmem_schedule(struct sock *sk, struct sk_buff *skb, unsigned int size).

    -1 when the receive buffer is full. Pruning the queue is not modelled.
    """
    if atomic_read(sk.sk_rmem_alloc) > READ_ONCE(sk.sk_rcvbuf):
        return -1
    return 0


@kfunc
def tcp_try_coalesce(sk: sock, to: sk_buff, from_: sk_buff) -> bool:
    """tcp_input.c:4790 (6.1), bool tcp_try_coalesce(struct sock *sk, struct sk_buff *to, struct sk_buff *from, bool *fragstolen).

    Only the next bytes; the delta is charged to the socket.
    """
    if not from_.seq_ok:
        return False
    delta = from_.truesize - SKB_HEAD_TRUESIZE
    if not skb_try_coalesce(to, from_):
        return False
    atomic_add(delta, sk.sk_rmem_alloc)
    return True


@kfunc
def tcp_queue_rcv(sk: sock, skb: sk_buff) -> int:
    """tcp_input.c:5071 (6.1), int tcp_queue_rcv(struct sock *sk, struct sk_buff *skb, bool *fragstolen).

    Whether the segment was eaten by the queue's last skb; it is freed here then.
    """
    tail = skb_peek_tail(sk.sk_receive_queue)
    if tail:
        if tcp_try_coalesce(sk, tail, skb):
            kfree_skb_partial(skb, True)
            return 1
    __skb_queue_tail(sk.sk_receive_queue, skb)
    skb_set_owner_r(skb, sk)
    return 0


@kfunc
def tcp_data_ready(sk: sock) -> None:
    """tcp_input.c:5140 (6.1)."""
    sock_def_readable(sk)
