# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP over loopback with its acknowledgements: a patch of the model, for predictions that are held against a real kernel.

The model's senders are told nothing of what was received, so its TCP sends no ACKs. The kernel's do go over loopback: through
netif_rx(), RPS and a backlog, as many as segments that a reader reads one by one, with an IPI and a poll or a wakeup each.
Their price in the table's row tcp_cleanup_rbuf is that of the whole call, so what is charged on the way is charged twice; the
reader has its packet by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import table, work, work_bytes
    from softnet.linux.include.linux.netdevice import NET_RX_DROP, net_device
    from softnet.linux.include.linux.skbuff import SKB_DROP_REASON_IP_NOPROTO, sk_buff, skb_peek
    from softnet.linux.net.core.dev_receive import dev_queue_xmit
    from softnet.linux.net.core.gro import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_IGMP, IPPROTO_TCP, IPPROTO_UDP
    from softnet.linux.net.core.skbuff import __kfree_skb, alloc_skb, kfree_skb_reason
    from softnet.linux.net.core.sock import lock_sock, release_sock, sock, sock_rps_record_flow
    from softnet.linux.net.ipv4.ip_input import icmp_rcv
    from softnet.linux.net.ipv4.tcp import tcp_eat_recv_skb
    from softnet.linux.net.ipv4.tcp_ipv4 import tcp_v4_rcv
    from softnet.linux.net.ipv4.udp import udp_rcv
    from softnet.linux.net.socket import msghdr, sock_recv_timestamp

ACK_BYTES = 66
ACK_SOCK = 0x7FFFFFFF
"""The socket of an ACK: none that receives."""
REVERSE = 0x5BD1E995
"""Turns a flow's hash into that of the other direction, which is another number."""


@kfunc
def tcp_send_ack(hash: int, flow: int) -> None:
    """tcp_output.c:3994 (6.1): a pure ACK, over loopback."""
    skb = alloc_skb(ACK_BYTES)
    if skb is None:
        return
    skb.payload = 0
    skb.dev = table(net_device, 0)
    skb.queue_mapping = 0
    skb.hash = (hash ^ REVERSE) & 0xFFFFFFFF
    skb.l4_hash = 1
    skb.sw_hash = 0
    skb.flow = flow
    skb.protocol = IPPROTO_TCP
    skb.sock_index = ACK_SOCK
    skb.flags = 0
    skb.seq_ok = 0
    skb.nr_packets = 0
    dev_queue_xmit(skb)


@kfunc
def tcp_recvmsg(sk: sock, msg: msghdr, len: int) -> int:
    """tcp.c:2709 (6.1) as it is, with tcp.c:1575 tcp_cleanup_rbuf(): data was pushed and nothing waits, so it is acknowledged."""
    packets = 0
    copied = 0
    hash = 0
    flow = 0
    local = False
    lock_sock(sk)
    work("tcp_recvmsg")
    sock_rps_record_flow(sk)
    while copied < len:
        skb = skb_peek(sk.sk_receive_queue)
        if skb is None:
            if copied != 0 or sk.backlog_tail is None:
                break
            release_sock(sk)
            lock_sock(sk)
            if skb_peek(sk.sk_receive_queue) is None:
                break
            continue
        work_bytes("copy_to_user", skb.payload)
        copied += skb.payload
        packets += skb.nr_packets
        hash = skb.hash
        flow = skb.flow
        local = skb.dev == table(net_device, 0)
        sock_recv_timestamp(msg, sk, skb)
        tcp_eat_recv_skb(sk, skb)
    work("tcp_cleanup_rbuf")
    if local and copied != 0 and skb_peek(sk.sk_receive_queue) is None:
        tcp_send_ack(hash, flow)
    release_sock(sk)
    return packets


@kfunc
def ip_protocol_deliver_rcu(skb: sk_buff, protocol: int) -> int:
    """ip_input.c:187 (6.1) as it is; an ACK ends in tcp_ack(), which frees it."""
    if skb.sock_index == ACK_SOCK:
        work("tcp_v4_rcv")
        __kfree_skb(skb)
        return 0
    if protocol == IPPROTO_TCP:
        return tcp_v4_rcv(skb)
    if protocol == IPPROTO_UDP:
        return udp_rcv(skb)
    if protocol == IPPROTO_ICMP or protocol == IPPROTO_ICMPV6 or protocol == IPPROTO_IGMP:
        return icmp_rcv(skb)
    kfree_skb_reason(skb, SKB_DROP_REASON_IP_NOPROTO)
    return NET_RX_DROP
