# SPDX-License-Identifier: GPL-2.0-or-later
"""net/core/dev.c (6.1), netif_receive_skb and its list variant: RPS, then the protocols.

Packet taps, VLANs, rx_handlers, ingress filters and generic XDP are not modelled: a packet goes to IP, or is not IP and ends
here. IPv6 takes the same path as IPv4; the two differ in header parsing, which is a cost here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.drivers.net.loopback import loopback_xmit
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.net.core.dev_backlog import *
    from softnet.linux.net.core.skbuff import *
    from softnet.linux.net.ipv4.ip_input import ip_list_rcv, ip_rcv


@kfunc
def __netif_receive_skb(skb: sk_buff) -> int:
    """dev.c:5732 (6.1) with __netif_receive_skb_one_core() (5630): deliver one packet to its protocol."""
    trace_netif_receive_skb(skb, skb.len)
    sd = this_cpu_ptr(softnet_data)
    sd.processed += 1
    work("netif_receive_skb")
    if skb.protocol & RX_NOT_IP:
        return netif_receive_other(skb)
    return ip_rcv(skb, skb.dev)


@kfunc
def netif_receive_other(skb: sk_buff) -> int:
    """The end of __netif_receive_skb_core() (dev.c:5606, 6.1) for a packet that is not IP: arp_rcv() (net/ipv4/arp.c:966) takes
    ARP, nobody the others.

    They are dropped. MPLS, PPPoE, LLDP and the like have receivers where somebody set them up.
    """
    if skb.protocol == RX_NOT_IP | ETH_P_ARP:
        work("arp_rcv")
        return kernel_receive_skb(skb)
    dev_core_stats_rx_dropped_inc(skb.dev)
    kfree_skb_reason(skb, SKB_DROP_REASON_UNHANDLED_PROTO)
    return NET_RX_DROP


@kfunc
def __netif_receive_skb_list(head: list_head) -> None:
    """dev.c:5757 (6.1) with __netif_receive_skb_list_core() (5690): one protocol, hence one sublist."""
    sd = this_cpu_ptr(softnet_data)
    entry = head.next
    while entry != head:
        skb = container_of(entry, sk_buff, "list")
        entry = entry.next
        trace_netif_receive_skb(skb, skb.len)
        sd.processed += 1
        work("netif_receive_skb_list")
        if skb.protocol & RX_NOT_IP:
            list_del_init(skb.list)
            netif_receive_other(skb)
    ip_list_rcv(head)


@kfunc
def netif_receive_skb_internal(skb: sk_buff) -> int:
    """dev.c:5816 (6.1)."""
    nh = table(net_hotdata, 0)
    rcu_read_lock()
    if IS_ENABLED(CONFIG_RPS):
        if nh.rps_needed:
            cpu = get_rps_cpu(skb.dev, skb)
            if cpu >= 0:
                ret = enqueue_to_backlog(skb, cpu, skb.rflow)
                rcu_read_unlock()
                return ret
    ret = __netif_receive_skb(skb)
    rcu_read_unlock()
    return ret


@kfunc
def netif_receive_skb_list_internal(head: list_head, napi: napi_struct) -> None:
    """dev.c:5843 (6.1), void netif_receive_skb_list_internal(struct list_head *head).

    Steer by RPS or deliver. ``napi`` lends the sublist that C keeps on the stack.
    """
    nh = table(net_hotdata, 0)
    rcu_read_lock()
    if IS_ENABLED(CONFIG_RPS):
        if nh.rps_needed:
            INIT_LIST_HEAD(napi.rx_sublist)
            while not list_empty(head):
                entry = head.next
                list_del_init(entry)
                skb = container_of(entry, sk_buff, "list")
                cpu = get_rps_cpu(skb.dev, skb)
                if cpu >= 0:
                    enqueue_to_backlog(skb, cpu, skb.rflow)
                else:
                    list_add_tail(entry, napi.rx_sublist)
            list_splice_init(napi.rx_sublist, head)
    __netif_receive_skb_list(head)
    rcu_read_unlock()


@kfunc
def netif_receive_skb(skb: sk_buff) -> int:
    """dev.c:5891 (6.1): for drivers that do not use GRO."""
    return netif_receive_skb_internal(skb)


@kfunc
def dev_queue_xmit(skb: sk_buff) -> int:
    """dev.c:4170 (6.1), __dev_queue_xmit() for a device without a queue: straight to ndo_start_xmit, BH off."""
    work("dev_queue_xmit")
    local_bh_disable()
    ret = loopback_xmit(skb, skb.dev)
    local_bh_enable()
    return ret
