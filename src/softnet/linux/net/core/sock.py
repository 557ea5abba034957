# SPDX-License-Identifier: GPL-2.0-or-later
"""net/core/sock.c (6.1) and include/net/sock.h: the socket, its lock with owner and backlog, its receive memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc, private, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.fs.eventpoll import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.linux.spinlock import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.net.ipv4.tcp_ipv4 import tcp_v4_do_rcv
    from softnet.machine.state import *


SOCK_STREAM = 1
SOCK_DGRAM = 2


class sock(Struct):
    """include/net/sock.h with the parts of struct udp_sock: one per row of the scenario's socket table."""

    index: int = private()
    type: int = private()
    ep: eventpoll = private()
    """The epoll instance that watches it: epitem's ep in C."""
    sk_lock: spinlock_t = embed(line=1)
    """sk_lock.slock."""
    owned: int = shared(line=1)
    """sk_lock.owned."""
    sk_rmem_alloc: int = shared(line=3)
    sk_rcvbuf: int = shared(line=4, init=212992)
    sk_sndbuf: int = shared(line=4, init=212992)
    sk_receive_queue: sk_buff_head = embed(line=5)
    backlog_head: sk_buff = shared(line=3)
    backlog_tail: sk_buff = shared(line=3)
    backlog_len: int = shared(line=3)
    sk_rxhash: int = shared(line=4)
    sk_drops: int = shared(line=7)
    reader_queue: sk_buff_head = embed(line=8)
    """struct udp_sock: what only the reader takes from."""
    sk_napi_id: int = private(line=10)
    """The NAPI its packets come from; 0 for none."""
    sk_ll_usec: int = private(line=13)
    """SO_BUSY_POLL, in us."""
    forward_deficit: int = private()
    forward_threshold: int = private()
    item: epitem = embed(line=11)
    """The entry that epoll_ctl() made for this socket."""


@kfunc
def sock_init(sk: sock) -> None:
    """sock.c:3440 (6.1) sock_init_data(); udp_init_sock() sets the threshold."""
    spin_lock_init(sk.sk_lock)
    skb_queue_head_init(sk.sk_receive_queue)
    skb_queue_head_init(sk.reader_queue)
    INIT_LIST_HEAD(sk.item.rdllink)
    sk.forward_threshold = sk.sk_rcvbuf >> 2
    sk.sk_ll_usec = table(net_hotdata, 0).sysctl_net_busy_read


@kfunc
def bh_lock_sock(sk: sock) -> None:
    """include/net/sock.h: the spinlock alone, from a bottom half."""
    spin_lock(sk.sk_lock)


@kfunc
def bh_unlock_sock(sk: sock) -> None:
    """include/net/sock.h."""
    spin_unlock(sk.sk_lock)


@kfunc
def sock_owned_by_user(sk: sock) -> bool:
    """include/net/sock.h: whether a task is inside lock_sock()."""
    return bool(sk.owned)


@kfunc
def lock_sock(sk: sock) -> None:
    """sock.c:3525 (6.1) lock_sock_nested(). A socket has one reader here, so nobody waits for another task."""
    spin_lock_bh(sk.sk_lock)
    BUG_ON(sk.owned)
    sk.owned = 1
    spin_unlock_bh(sk.sk_lock)


@kfunc
def release_sock(sk: sock) -> None:
    """sock.c:3539 (6.1): first what came in while the socket was owned."""
    spin_lock_bh(sk.sk_lock)
    if sk.backlog_tail:
        __release_sock(sk)
    sk.owned = 0
    spin_unlock_bh(sk.sk_lock)


@kfunc
def __release_sock(sk: sock) -> None:
    """sock.c:2959 (6.1): process the backlog with bottom halves on; more may come meanwhile."""
    while skb := sk.backlog_head:
        sk.backlog_head = None
        sk.backlog_tail = None
        spin_unlock_bh(sk.sk_lock)
        while skb:
            next = skb.next
            skb.next = None
            tcp_v4_do_rcv(sk, skb)
            cond_resched()
            skb = next
        spin_lock_bh(sk.sk_lock)
    sk.backlog_len = 0


@kfunc
def sk_add_backlog(sk: sock, skb: sk_buff, limit: int) -> int:
    """include/net/sock.h: 0, or -105 (ENOBUFS) when backlog and receive queue together exceed the limit."""
    if sk.backlog_len + atomic_read(sk.sk_rmem_alloc) > limit:
        return -105
    skb.next = None
    tail = sk.backlog_tail
    if not tail:
        sk.backlog_head = skb
    else:
        tail.next = skb
    sk.backlog_tail = skb
    sk.backlog_len += skb.truesize
    return 0


@kfunc
def skb_set_owner_r(skb: sk_buff, sk: sock) -> None:
    """include/net/sock.h: charge the skb to the socket's receive buffer."""
    skb.sk = sk
    skb.destructor = sock_rfree
    atomic_add(skb.truesize, sk.sk_rmem_alloc)


@kfunc
def sock_rfree(skb: sk_buff) -> None:
    """sock.c:2546 (6.1)."""
    atomic_add(-skb.truesize, skb.sk.sk_rmem_alloc)


@kfunc
def sock_def_readable(sk: sock) -> None:
    """sock.c:3340 (6.1), sk->sk_data_ready: wake who waits, which here is always epoll."""
    work("sock_def_readable")
    rcu_read_lock()
    ep_poll_callback(sk)
    rcu_read_unlock()


@kfunc
def sock_rps_record_flow(sk: sock) -> None:
    """include/net/rps.h (6.12; sock.h in 6.1): RFS learns on which CPU this flow is read."""
    nh = table(net_hotdata, 0)
    if IS_ENABLED(CONFIG_RPS):
        if nh.rfs_needed:
            hash = READ_ONCE(sk.sk_rxhash)
            entries = READ_ONCE(nh.rps_sock_flow_entries)
            if hash and entries:
                entry = table(rps_sock_flow_entry, hash & (entries - 1))
                # Only a hint: preemption can change the CPU under us.
                val = (hash & ~READ_ONCE(nh.rps_cpu_mask)) | raw_smp_processor_id()
                if READ_ONCE(entry.ent) != val:
                    WRITE_ONCE(entry.ent, val)


@kfunc
def sock_rps_save_rxhash(sk: sock, skb: sk_buff) -> None:
    """include/net/sock.h."""
    if IS_ENABLED(CONFIG_RPS):
        if READ_ONCE(sk.sk_rxhash) != skb.hash:
            WRITE_ONCE(sk.sk_rxhash, skb.hash)
