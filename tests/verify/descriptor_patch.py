# SPDX-License-Identifier: GPL-2.0-or-later
"""Store buffering between a card's poll and a task: between its store and its load the poll does what a driver does to its ring.

On x86 that is loads from memory, or a write to the card that is posted: nothing for which the poll's own store must have reached
memory. So both may read the old value. test_store_buffers.py puts other operations in the place of the one marked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private, shared
from softnet.verify import in_the_end

if TYPE_CHECKING:
    from softnet.lang.intrinsics import READ_ONCE, WRITE_ONCE, container_of, smp_mb, table
    from softnet.linux.drivers.net.softnet_nic import nic_vector, softnet_receive_skb
    from softnet.linux.include.linux.netdevice import napi_struct
    from softnet.linux.net.core.dev import napi_complete_done
    from softnet.machine.nic import nic_irq_enable, nic_refill, nic_rx_pop, rx_len


class message(Struct):
    """Two variables, each on a cache line of its own, and what was read."""

    x: int = shared(line=0)
    y: int = shared(line=1)
    read_y: int = private(line=2)
    read_x: int = private(line=2)
    done: int = private(line=2)
    also_done: int = private(line=2)


@kfunc
def softnet_poll(napi: napi_struct, budget: int) -> int:
    """Of one frame."""
    m = table(message, 0)
    v = container_of(napi, nic_vector, "napi")
    slot = nic_rx_pop(v.queue)
    WRITE_ONCE(m.x, 1)
    rx_len(slot)  # what may not be a fence
    m.read_y = READ_ONCE(m.y)
    m.done = 1
    if slot != 0:
        softnet_receive_skb(v, slot)
        nic_refill(v.queue, 1)
    if napi_complete_done(napi, 1):
        nic_irq_enable(v.queue)
    return 1


@kfunc
def verify_task(number: int) -> None:
    """Driver call:1:1."""
    m = table(message, 0)
    WRITE_ONCE(m.y, 1)
    smp_mb()
    m.read_x = READ_ONCE(m.x)
    m.also_done = 1


@in_the_end("the poll and the task both read the value from before the other's store")
def one_sees_the_other() -> bool:
    """What sequentially consistent memory gives, and store buffers do not."""
    m = table(message, 0)
    return not (m.done != 0 and m.also_done != 0 and m.read_x == 0 and m.read_y == 0)
