# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from softnet.lang.declare import Struct, hwfunc, kfunc, private


@kfunc
def my_change(sd: softnet_data, skb: sk_buff) -> bool:
    qlen = READ_ONCE(sd.input_qlen)
    if qlen > NETDEV_MAX_BACKLOG and IS_ENABLED(CONFIG_RPS):
        return False
    head: sk_buff = None
    for i in range(qlen):
        head = skb if head is None else head.next
        sd.history[i & 127] += 1
    sd.backlog.poll = process_backlog
    done = sd.backlog.poll(sd.backlog, 64)
    trace("process_backlog", done, 64)
    if not napi_schedule_prep(sd.backlog) or done == 64:
        work("ip_rcv")
    while True:
        if cmpxchg(sd.defer_count, 0, 1) == 0:
            break
        work_ns(10)
    while (skb := skb.next):
        if skb.len & 3 or not skb.next:
            break
    if (qlen := skb.len if skb else 0):
        sd.processed = qlen
    return bool(head and head.cloned)
