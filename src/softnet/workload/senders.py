# SPDX-License-Identifier: GPL-2.0-or-later
"""Senders: tasks that send at fixed times over the loopback device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.net.core.dev_receive import *
    from softnet.linux.net.core.gro import *
    from softnet.linux.net.core.skbuff import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


NEVER_NS = 1 << 60
UDP_HEADERS_BYTES = 42
"""Ethernet, IPv4 without options, UDP."""
TCP_HEADERS_BYTES = 54
"""Ethernet, IPv4 and TCP without options."""


class sender(Struct):
    """A task that sends at fixed times over the loopback device."""

    index: int = private()
    sock: int = private()
    """The receiving socket, from 1."""
    proto: int = private()
    flow: int = private()
    hash: int = private()
    size: int = private()
    gap_ns: int = private()
    start_ns: int = private()
    stop_ns: int = private(init=NEVER_NS)
    sent: int = private()
    failed: int = private()


@kfunc
def sender_sendmsg(s: sender) -> None:
    """udp_sendmsg() or tcp_sendmsg() down to the loopback device: allocation and all on this CPU."""
    work("syscall")
    skb = alloc_skb(s.size)
    if not skb:
        s.failed += 1
        return
    headers = TCP_HEADERS_BYTES
    if s.proto == IPPROTO_UDP:
        work("udp_sendmsg")
        headers = UDP_HEADERS_BYTES
    else:
        work("tcp_sendmsg")
    skb.payload = max(s.size - headers, 0)
    work_bytes("copy_from_user", skb.payload)
    skb.dev = table(net_device, 0)
    skb.queue_mapping = 0
    # skb_set_hash_from_sk(): the socket's own hash, which is one of its flow.
    skb.hash = s.hash
    skb.l4_hash = 1
    skb.sw_hash = 0
    skb.flow = s.flow
    skb.protocol = s.proto
    skb.sock_index = s.sock
    skb.flags = 0
    skb.seq_ok = 1
    skb.stamp[0] = local_clock()
    skb.nr_packets = 1
    s.sent += 1
    dev_queue_xmit(skb)


@kfunc(entry=True)
def sender_thread(data: int) -> None:
    """Send every ``gap_ns``; if it fell behind, at once, until it has caught up."""
    s = table(sender, data)
    next = s.start_ns
    while next < s.stop_ns:
        if ktime_get() < next:
            set_current_state(TASK_INTERRUPTIBLE)
            schedule_hrtimeout_abs(next)
        sender_sendmsg(s)
        exit_to_user_mode()
        next += s.gap_ns
    sleep_for_ever()
