# SPDX-License-Identifier: GPL-2.0-or-later
"""net/socket.c (6.1): the message that a task reads into, and what it is told of a packet's age."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.net.core.sock import *
    from softnet.machine.timers import *


class msghdr(Struct):
    """include/linux/socket.h: where recvmsg() puts what it reads. Here a reader uses one for all of its reads."""

    reader: int = private()
    """The number of the reading application, for the trace."""
    hist: int = private()
    """The histogram of its packets' latency."""
    received: int = private()
    """Packets."""
    bytes: int = private()


@kfunc
def sock_recv_timestamp(msg: msghdr, sk: sock, skb: sk_buff) -> None:
    """include/net/sock.h (6.1): an skb's data was copied to the reader, who learns when each packet reached the card."""
    now = local_clock()
    for i in range(skb.nr_packets):
        latency = now - skb.stamp[i]
        trace_deliver(msg.reader, sk.index, latency)
        hist_add(msg.hist, latency)
    msg.received += skb.nr_packets
    msg.bytes += skb.payload
    # Its packets are accounted for; the skb itself lives until it is freed, perhaps on a defer list.
    skb.nr_packets = 0
