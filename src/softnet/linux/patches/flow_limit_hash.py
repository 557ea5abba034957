# SPDX-License-Identifier: GPL-2.0-or-later
"""net: rps: change skb_flow_limit() hash function.

As for RFS: a flow's bucket is taken from the upper bits of its multiplied hash, so that flows of one queue share fewer buckets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.include.linux.hash import hash_32
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.kernel.sched.core import *


PATCH = {
    "commit": "c3025e94daa9",
    "subject": "net: rps: change skb_flow_limit() hash function",
    "since": "6.16",
    "link": "https://git.kernel.org/torvalds/c/c3025e94daa9",
}


@kfunc
def skb_flow_limit(skb: sk_buff, qlen: int) -> bool:
    """net/core/dev.c:5218 (6.18); ``fl->log_buckets`` follows from the number of buckets here, a power of two."""
    if not IS_ENABLED(CONFIG_NET_FLOW_LIMIT):
        return False
    nh = table(net_hotdata, 0)
    if qlen < READ_ONCE(nh.max_backlog) >> 1:
        return False

    sd = this_cpu_ptr(softnet_data)
    rcu_read_lock()
    fl = READ_ONCE(sd.flow_limit)
    if fl:
        new_flow = hash_32(skb_get_hash(skb), fls(fl.num_buckets) - 1)
        old_flow = fl.history[fl.history_head]
        fl.history[fl.history_head] = new_flow

        fl.history_head += 1
        fl.history_head &= FLOW_LIMIT_HISTORY - 1

        if fl.buckets[old_flow]:
            fl.buckets[old_flow] -= 1

        fl.buckets[new_flow] += 1
        if fl.buckets[new_flow] > FLOW_LIMIT_HISTORY >> 1:
            fl.count += 1
            rcu_read_unlock()
            return True
    rcu_read_unlock()
    return False
