# SPDX-License-Identifier: GPL-2.0-or-later
"""net/ipv4/udp.c (6.1): datagrams, their memory, and the two receive queues. No deferred free in 6.1 to 6.12."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.linux.skbuff import __skb_dequeue, __skb_queue_tail
    from softnet.linux.include.net.busy_poll import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.net.core.skbuff import *
    from softnet.linux.net.core.skbuff import __kfree_skb
    from softnet.linux.net.core.sock import *
    from softnet.linux.net.socket import msghdr, sock_recv_timestamp


@kfunc
def udp_rcv(skb: sk_buff) -> int:
    """udp.c:2712 (6.1), __udp4_lib_rcv() (2476)."""
    work("udp_rcv")
    if not skb.sock_index:
        kfree_skb_reason(skb, SKB_DROP_REASON_NO_SOCKET)
        return 0
    return udp_queue_rcv_skb(table(sock, skb.sock_index - 1), skb)


@kfunc
def udp_queue_rcv_skb(sk: sock, skb: sk_buff) -> int:
    """udp.c:2186 (6.1) udp_queue_rcv_one_skb() and __udp_queue_rcv_skb().

    RFS learns nothing here: the kernel saves the hash of connected sockets only, and these are not. So they keep their first NAPI.
    """
    sk_mark_napi_id_once(sk, skb)
    if __udp_enqueue_schedule_skb(sk, skb):
        atomic_inc(sk.sk_drops)
        kfree_skb_reason(skb, SKB_DROP_REASON_SOCKET_RCVBUFF)
        return -1
    return 0


@kfunc
def __udp_enqueue_schedule_skb(sk: sock, skb: sk_buff) -> int:
    """udp.c:1589 (6.1): charge and queue; -12 (ENOMEM) when the receive buffer is full.

    atomic_add_return() is an add and a read here; another CPU's add between them makes both drop, as it may in C.
    """
    rcvbuf = READ_ONCE(sk.sk_rcvbuf)
    if atomic_read(sk.sk_rmem_alloc) > rcvbuf:
        return -12
    size = skb.truesize
    atomic_add(size, sk.sk_rmem_alloc)
    # We drop only if the buffer is full and holds some other packet.
    if atomic_read(sk.sk_rmem_alloc) > size + rcvbuf:
        atomic_add(-size, sk.sk_rmem_alloc)
        return -12
    spin_lock(sk.sk_receive_queue.lock)
    __skb_queue_tail(sk.sk_receive_queue, skb)
    spin_unlock(sk.sk_receive_queue.lock)
    sock_def_readable(sk)
    return 0


@kfunc
def udp_rmem_release(sk: sock, size: int, rx_queue_lock_held: bool) -> None:
    """udp.c:1505 (6.1), void udp_rmem_release(struct sock *sk, int size, int partial, bool rx_queue_lock_held).

    ``partial``: give memory back, in lots of a quarter of the buffer; refill the reader's queue.
    """
    sk.forward_deficit += size
    size = sk.forward_deficit
    if size < sk.forward_threshold and not skb_queue_empty(sk.reader_queue):
        return
    sk.forward_deficit = 0
    if not rx_queue_lock_held:
        spin_lock(sk.sk_receive_queue.lock)
    atomic_add(-size, sk.sk_rmem_alloc)
    # This can save the next receive from taking the lock.
    skb_queue_splice_tail_init(sk.sk_receive_queue, sk.reader_queue)
    if not rx_queue_lock_held:
        spin_unlock(sk.sk_receive_queue.lock)


@kfunc
def __skb_recv_udp(sk: sock) -> sk_buff:
    """udp.c:1798 (6.1), struct sk_buff *__skb_recv_udp(struct sock *sk, unsigned int flags, int *off, int *err).

    Nonblocking: from the reader's queue, refilled from the other; None when both are empty.
    """
    while True:
        spin_lock_bh(sk.reader_queue.lock)
        skb = __skb_dequeue(sk.reader_queue)
        if skb:
            udp_rmem_release(sk, skb.truesize, False)
            spin_unlock_bh(sk.reader_queue.lock)
            return skb
        if READ_ONCE(sk.sk_receive_queue.qlen):
            # Refill and look again, both queues locked.
            spin_lock(sk.sk_receive_queue.lock)
            skb_queue_splice_tail_init(sk.sk_receive_queue, sk.reader_queue)
            skb = __skb_dequeue(sk.reader_queue)
            if skb:
                udp_rmem_release(sk, skb.truesize, True)
            spin_unlock(sk.sk_receive_queue.lock)
            spin_unlock_bh(sk.reader_queue.lock)
            if skb:
                return skb
        else:
            spin_unlock_bh(sk.reader_queue.lock)
        if not sk_can_busy_loop(sk):
            return None
        sk_busy_loop(sk)
        if not READ_ONCE(sk.sk_receive_queue.qlen):
            return None


@kfunc
def skb_consume_udp(sk: sock, skb: sk_buff) -> None:
    """udp.c:1693 (6.1), void skb_consume_udp(struct sock *sk, struct sk_buff *skb, int len).

    Freed here, on the reader's CPU, wherever it was allocated.
    """
    if not skb_unref(skb):
        return
    trace_consume_skb(skb)
    __kfree_skb(skb)


@kfunc
def udp_recvmsg(sk: sock, msg: msghdr) -> int:
    """udp.c:1907 (6.1), int udp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len).

    Nonblocking: one datagram; how many packets that was.
    """
    work("udp_recvmsg")
    skb = __skb_recv_udp(sk)
    if not skb:
        return 0
    work_bytes("copy_to_user", skb.payload)
    packets = skb.nr_packets
    sock_recv_timestamp(msg, sk, skb)
    skb_consume_udp(sk, skb)
    return packets


@kfunc
def udp_readable(sk: sock) -> bool:
    """udp.c:2790 (6.1) udp_poll(), EPOLLIN."""
    return bool(READ_ONCE(sk.reader_queue.qlen) or READ_ONCE(sk.sk_receive_queue.qlen))
