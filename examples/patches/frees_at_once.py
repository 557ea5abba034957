# SPDX-License-Identifier: GPL-2.0-or-later
"""What Linux 5.15 does with an skb that a TCP socket's reader has copied: it frees it there and then, on the reader's CPU.

    softnet run examples/seed.toml --kernel 6.1 --patch examples/patches/frees_at_once.py
    softnet compare examples/seed.toml --arm 5.15:6.1,patch=examples/patches/frees_at_once.py --arm 6.1

Takes back 68822bdf76f1 and its like (v5.19), and f35f821935d8 (v5.17), before which nothing was deferred.
net/core/dev.c was compared (docs/kernel.md); sockets, the scheduler and the idle governors around it stay 6.1's. There is no
PREEMPT_RT of it: mainline had none for x86, and 5.15's patch queue was not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.linux.skbuff import __skb_unlink
    from softnet.linux.net.core.skbuff import __kfree_skb
    from softnet.linux.net.core.sock import *


PATCH = {"subject": "5.15: no deferred frees", "since": "never", "link": "https://git.kernel.org/torvalds/c/68822bdf76f1"}


@kfunc
def tcp_eat_recv_skb(sk: sock, skb: sk_buff) -> None:
    """include/net/sock.h (5.15), sk_eat_skb(). The destructor uncharges it."""
    __skb_unlink(skb, sk.sk_receive_queue)
    __kfree_skb(skb)


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """Not in 5.15: the explorer's drivers, which call it, free as the reader does."""
    __kfree_skb(skb)


@kfunc
def skb_defer_free_flush(sd: softnet_data) -> None:
    """Not in 5.15: net_rx_action() has no list to look at."""
