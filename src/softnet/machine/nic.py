# SPDX-License-Identifier: GPL-2.0-or-later
"""The network card: receive rings, interrupt moderation, and the stream of arrivals from outside.

The driver's side stands in softnet.linux.drivers; here is what the hardware does by itself. An arrival is a row of
ARRIVAL_WORDS words; the engine's driver loop fills the arrival buffer, the card copies a row into the ring's next free slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import mem, mem_set, table, trace

if TYPE_CHECKING:
    from softnet.machine.events import actor_set
    from softnet.machine.globals import hw
    from softnet.machine.interrupts import irq_post
    from softnet.machine.state import NEVER, irq_line, nic_queue

ARRIVAL_WORDS = 16
ARRIVAL_TIME = 0
ARRIVAL_QUEUE = 1
ARRIVAL_HASH = 2
ARRIVAL_LEN = 3
ARRIVAL_SOCK = 4
ARRIVAL_PROTO = 5
ARRIVAL_FLOW = 6
ARRIVAL_FLAGS = 7
ARRIVAL_SEQ_OK = 8
ARRIVAL_PAYLOAD = 9
ARRIVAL_HASH_TYPE = 10
ARRIVAL_FLOW_HASH = 11
ARRIVAL_NUMBER = 12

ARRIVAL_ROWS = 8192
"""Rows of the arrival buffer; the engine refills it when it is empty."""


@hwfunc
def arrival_due() -> bool:
    """Deliver the next arrival to its queue and wait for the one after; false when the buffer must be refilled."""
    if hw.arrival_head == hw.arrival_tail:
        if hw.arrival_more:
            return False
        actor_set(hw.nr_actors - 1, NEVER)
        return True
    row = hw.arrivals + hw.arrival_head * ARRIVAL_WORDS
    nic_receive(row)
    hw.arrival_head += 1
    if hw.arrival_head < hw.arrival_tail:
        actor_set(hw.nr_actors - 1, mem(row + ARRIVAL_WORDS + ARRIVAL_TIME))
    elif not hw.arrival_more:
        actor_set(hw.nr_actors - 1, NEVER)
    return True


@hwfunc
def nic_receive(row: int) -> None:
    """A frame reached the card: into the ring, or dropped when no descriptor is free."""
    index = mem(row + ARRIVAL_QUEUE)
    q = table(nic_queue, index)
    hw.cpu = q.irq_cpu
    if q.free == 0:
        q.dropped += 1
        trace("nic_drop", index, mem(row + ARRIVAL_NUMBER))
        return
    slot = q.ring + q.tail * ARRIVAL_WORDS
    for i in range(ARRIVAL_WORDS):
        mem_set(slot + i, mem(row + i))
    q.tail = q.tail + 1 if q.tail + 1 < q.size else 0
    q.free -= 1
    q.received += 1
    q.waiting_frames += 1
    trace("nic_rx", index, mem(row + ARRIVAL_NUMBER), mem(row + ARRIVAL_LEN))
    if q.irq_enabled:
        nic_moderate(q, index)


@hwfunc
def nic_moderate(q: nic_queue, index: int) -> None:
    """Interrupt now, or after rx_usecs, or once rx_frames wait (ethtool -C)."""
    if q.rx_usecs == 0 or (q.rx_frames != 0 and q.waiting_frames >= q.rx_frames):
        nic_raise(q, index)
    elif q.raise_at >= NEVER:
        q.raise_at = hw.now + q.rx_usecs * 1000
        actor_set(q.actor, q.raise_at)


@hwfunc
def nic_raise(q: nic_queue, index: int) -> None:
    """Raise the queue's interrupt on its CPU."""
    q.irqs += 1
    q.waiting_frames = 0
    if q.raise_at < NEVER:
        q.raise_at = NEVER
        actor_set(q.actor, NEVER)
    trace("nic_irq", index, q.irq_cpu)
    irq_post(table(irq_line, hw.nr_cpus * 4 + index), q.irq_cpu, hw.now)


@hwfunc
def nic_moderation_due(index: int) -> None:
    """The moderation time of a queue is over."""
    q = table(nic_queue, index)
    q.raise_at = NEVER
    actor_set(q.actor, NEVER)
    hw.cpu = q.irq_cpu
    if q.irq_enabled and q.waiting_frames:
        nic_raise(q, index)


@hwfunc(visible="all", x86="none")
def nic_irq_disable(index: int) -> None:
    """Mask the queue's interrupt."""
    table(nic_queue, index).irq_enabled = False


@hwfunc(visible="all", x86="posted write")
def nic_irq_enable(index: int) -> None:
    """Unmask the queue's interrupt; frames that wait are moderated as if they had just come."""
    q = table(nic_queue, index)
    q.irq_enabled = True
    q.waiting_frames = nic_waiting(q)
    if q.waiting_frames:
        nic_moderate(q, index)


@hwfunc
def nic_waiting(q: nic_queue) -> int:
    """Frames in the ring."""
    return q.size - q.free - q.popped


@hwfunc(visible="all", x86="plain load")
def nic_rx_pop(index: int) -> int:
    """Take the oldest frame: its slot's address, valid until the descriptor is given back; 0 when the ring is empty."""
    q = table(nic_queue, index)
    if nic_waiting(q) == 0:
        return 0
    slot = q.ring + q.head * ARRIVAL_WORDS
    q.head = q.head + 1 if q.head + 1 < q.size else 0
    q.popped += 1
    return slot


@hwfunc(visible="all", x86="posted write")
def nic_refill(index: int, n: int) -> None:
    """Give ``n`` descriptors back to the card."""
    q = table(nic_queue, index)
    q.free += n
    q.popped -= n


@hwfunc(visible="own context", x86="plain load")
def rx_time_ns(slot: int) -> int:
    """When the frame reached the card."""
    return mem(slot + ARRIVAL_TIME)


@hwfunc(visible="own context", x86="plain load")
def rx_hash(slot: int) -> int:
    """The hash that the card computed, 0 if it computes none."""
    return mem(slot + ARRIVAL_HASH)


@hwfunc(visible="own context", x86="plain load")
def rx_hash_type(slot: int) -> int:
    """Over what the card computed it: enum pkt_hash_types."""
    return mem(slot + ARRIVAL_HASH_TYPE)


@hwfunc(visible="own context", x86="plain load")
def rx_flow_hash(slot: int) -> int:
    """What the kernel's flow dissector would make of the frame's headers."""
    return mem(slot + ARRIVAL_FLOW_HASH)


@hwfunc(visible="own context", x86="plain load")
def rx_len(slot: int) -> int:
    """The frame's length in bytes."""
    return mem(slot + ARRIVAL_LEN)


@hwfunc(visible="own context", x86="plain load")
def rx_sock(slot: int) -> int:
    """The socket it is for, from 1; 0 for nobody."""
    return mem(slot + ARRIVAL_SOCK)


@hwfunc(visible="own context", x86="plain load")
def rx_proto(slot: int) -> int:
    """The IP protocol, or RX_NOT_IP and the Ethernet type."""
    return mem(slot + ARRIVAL_PROTO)


@hwfunc(visible="own context", x86="plain load")
def rx_flow(slot: int) -> int:
    """The flow's number."""
    return mem(slot + ARRIVAL_FLOW)


@hwfunc(visible="own context", x86="plain load")
def rx_flags(slot: int) -> int:
    """Bit 0: last of a burst; bit 1: an IP fragment."""
    return mem(slot + ARRIVAL_FLAGS)


@hwfunc(visible="own context", x86="plain load")
def rx_seq_ok(slot: int) -> int:
    """1 when this TCP segment continues the one before it in its flow."""
    return mem(slot + ARRIVAL_SEQ_OK)


@hwfunc(visible="own context", x86="plain load")
def rx_payload(slot: int) -> int:
    """Bytes of payload."""
    return mem(slot + ARRIVAL_PAYLOAD)
