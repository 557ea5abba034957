# SPDX-License-Identifier: GPL-2.0-or-later
"""net/ipv4/ip_input.c (6.1): from the device to the transport protocol. Routing and netfilter are a cost here.

Fragments are not put together: a packet with the fragment flag goes its way as if it were whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.net.core.gro import *
    from softnet.linux.net.core.skbuff import *
    from softnet.linux.net.ipv4.tcp_ipv4 import tcp_v4_rcv
    from softnet.linux.net.ipv4.udp import udp_rcv


@kfunc
def ip_rcv(skb: sk_buff, dev: net_device) -> int:
    """ip_input.c:560 (6.1), int ip_rcv(skb, dev, struct packet_type *pt, struct net_device *orig_dev).

    With ip_rcv_finish() (435).
    """
    work("ip_rcv")
    skb.hdr = 1
    return ip_local_deliver(skb)


@kfunc
def ip_list_rcv(head: list_head) -> None:
    """ip_input.c:643 (6.1), void ip_list_rcv(struct list_head *head, struct packet_type *pt, struct net_device *orig_dev).

    The same for a list, whose route lookups are shared.
    """
    while not list_empty(head):
        entry = head.next
        list_del_init(entry)
        skb = container_of(entry, sk_buff, "list")
        work("ip_list_rcv")
        skb.hdr = 1
        ip_local_deliver(skb)


@kfunc
def ip_local_deliver(skb: sk_buff) -> int:
    """ip_input.c:242 (6.1)."""
    rcu_read_lock()
    ret = ip_protocol_deliver_rcu(skb, skb.protocol)
    rcu_read_unlock()
    return ret


@kfunc
def ip_protocol_deliver_rcu(skb: sk_buff, protocol: int) -> int:
    """ip_input.c:187 (6.1), void ip_protocol_deliver_rcu(struct net *net, struct sk_buff *skb, int protocol).

    To TCP, to UDP, to the kernel's own ICMP and IGMP, or nowhere.
    """
    if protocol == IPPROTO_TCP:
        return tcp_v4_rcv(skb)
    if protocol == IPPROTO_UDP:
        return udp_rcv(skb)
    if protocol == IPPROTO_ICMP or protocol == IPPROTO_ICMPV6 or protocol == IPPROTO_IGMP:
        return icmp_rcv(skb)
    kfree_skb_reason(skb, SKB_DROP_REASON_IP_NOPROTO)
    return NET_RX_DROP


@kfunc
def icmp_rcv(skb: sk_buff) -> int:
    """net/ipv4/icmp.c:1252 (6.1), and igmp_rcv() and icmpv6_rcv() for theirs: used up. The answer to an echo is not sent here."""
    work("icmp_rcv")
    return kernel_receive_skb(skb)
