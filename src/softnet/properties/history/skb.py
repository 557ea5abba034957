# SPDX-License-Identifier: GPL-2.0-or-later
"""I1, I2 and I12: the life of each skb, where deferred ones end, and that a backlog holds what went in and not out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import observer
from softnet.lang.intrinsics import address_of, index_of, ref_at, table

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.include.linux.skbuff import sk_buff, sk_buff_head
    from softnet.machine.globals import hw
    from softnet.properties.history.notes import ck_say, ck_say_at
    from softnet.properties.history.words import (
        CK_BACKLOG,
        CK_SKB_AWAY,
        CK_SKB_FREED_TWICE,
        CK_SKB_OUT_TWICE,
        CK_SKB_PUT_TWICE,
        ck_cpu,
        ck_env,
        ck_skb,
    )
    from softnet.properties.kick import ck_must_free_at_home

CK_OUT = 0
CK_IN_CACHE = 1
CK_IN_SLAB = 2


@observer
def ck_skb_state(skb: sk_buff) -> None:
    """The skb was handed out or freed."""
    it = table(ck_skb, index_of(skb))
    if skb.state != 0:
        if it.out != 0:
            ck_say(1, CK_SKB_OUT_TWICE, skb.id, 0, 0, 0)
        else:
            e = table(ck_env, 0)
            e.sequence += 1
            it.out = e.sequence
        it.since = hw.now
        return
    if it.out == 0:
        ck_say(1, CK_SKB_FREED_TWICE, skb.id, 0, 0, 0)
    it.out = 0
    if it.home != 0 and it.home != hw.cpu + 1 and ck_must_free_at_home(it.home - 1):
        ck_say(2, CK_SKB_AWAY, skb.id, it.home - 1, hw.cpu, 0)
    it.home = 0


@observer
def ck_put(skb: sk_buff, place: int) -> None:
    """The skb goes into a NAPI cache or the slab."""
    it = table(ck_skb, index_of(skb))
    if it.place == place or it.place == CK_IN_SLAB:
        ck_say(1, CK_SKB_PUT_TWICE, skb.id, place, it.place, 0)
    it.place = place


@observer
def ck_taken(skb: sk_buff) -> None:
    """It comes out of there."""
    if skb is not None:
        table(ck_skb, index_of(skb)).place = CK_OUT


@observer
def ck_queue_cpu(queue: sk_buff_head) -> int:
    """Whose backlog a queue is part of, -1 for another queue."""
    e = table(ck_env, 0)
    distance = address_of(queue) - e.process_queues
    if distance < 0 or distance % e.sd_stride != 0:
        distance = address_of(queue) - e.input_queues
    if distance < 0 or distance % e.sd_stride != 0 or distance >= hw.nr_cpus * e.sd_stride:
        return -1
    return distance // e.sd_stride


@observer
def ck_queue_begin(queue: sk_buff_head) -> int:
    """Packets are about to leave a queue: the backlog's CPU, -1 for another queue."""
    cpu = ck_queue_cpu(queue)
    if cpu >= 0:
        table(ck_cpu, cpu).queue_busy += 1
    return cpu


@observer
def ck_queue_end(cpu: int) -> None:
    """They have left."""
    if cpu >= 0:
        table(ck_cpu, cpu).queue_busy -= 1


@observer
def ck_check_queues(cpu: int, now: int) -> None:
    """I12 for a backlog while nobody works on its queues: what went in and not out is there."""
    it = table(ck_cpu, cpu)
    sd = table(softnet_data, cpu)
    if it.said_backlog != 0 or it.enqueueing != 0 or it.queue_busy != 0 or sd.input_pkt_queue.lock.owner != 0:
        return
    held = sd.input_pkt_queue.qlen + sd.process_queue.qlen
    if it.accepted - it.dequeued != held:
        it.said_backlog = 1
        ck_say_at(12, CK_BACKLOG, cpu, now, it.accepted, it.dequeued, held, 0)


@observer
def ck_skb_at(at: int) -> sk_buff:
    """The skb whose state stands at an address."""
    return ref_at(sk_buff, at - table(ck_env, 0).skb_state)
