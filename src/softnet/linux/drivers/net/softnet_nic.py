# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver of the model's network card, after the common ground of ixgbe, ice and virtio_net.

One NAPI and one MSI-X vector per receive queue; the interrupt handler masks and schedules; the poll gives descriptors
back in bulk, builds skbs around receive buffers of half a page and hands them to GRO.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.kernel.irq.manage import *
    from softnet.linux.net.core.dev import *
    from softnet.linux.net.core.gro import *
    from softnet.linux.net.core.skbuff import *
    from softnet.machine.nic import *


RX_BUFFER_SIZE = 2048
RX_REFILL_BATCH = 16


class nic_vector(Struct):
    """A queue vector, as drivers call it: what the driver keeps per receive queue; same index as nic_queue."""

    napi: napi_struct = embed(line=0)
    action: irqaction = embed(line=8)
    queue: int = private()
    """The row of table(nic_queue, ...)."""
    rx_index: int = private()
    """The device's own number of the queue, from 0."""
    alloc_failed: int = private(statistic=True)
    rxhash: int = private(init=1)
    """NETIF_F_RXHASH: the card supplies skb->hash; else skb_get_hash() must compute it when somebody asks."""
    received: int = private(statistic=True)
    """Frames that became skbs."""


@kfunc(entry=True)
def softnet_msix_clean_rings(irq: int, dev_id: nic_vector) -> int:
    """The interrupt handler: mask, schedule."""
    work("nic_irq_handler")
    nic_irq_disable(dev_id.queue)
    napi_schedule_irqoff(dev_id.napi)
    return IRQ_HANDLED


@kfunc
def softnet_close(v: nic_vector) -> None:
    """ndo_stop: the interrupt off, then the NAPI, as igb_down() (6.12). Frames that come now wait in the ring."""
    nic_irq_disable(v.queue)
    napi_disable(v.napi)


@kfunc
def softnet_open(v: nic_vector) -> None:
    """ndo_open: the NAPI, then the interrupt, which comes at once if frames wait; as igb_up() (6.12)."""
    napi_enable(v.napi)
    nic_irq_enable(v.queue)


@kfunc
def softnet_receive_skb(v: nic_vector, slot: int) -> None:
    """One descriptor: an skb with what the card knows about the packet."""
    work("nic_rx_descriptor")
    len = rx_len(slot)
    buffers = (len + RX_BUFFER_SIZE - 1) // RX_BUFFER_SIZE
    skb = napi_build_skb(len, max(buffers, 1) * RX_BUFFER_SIZE)
    if not skb:
        v.alloc_failed += 1
        return
    skb.dev = v.napi.dev
    skb.queue_mapping = v.rx_index + 1
    if v.rxhash:
        skb_set_hash(skb, rx_hash(slot), rx_hash_type(slot))
    else:
        skb_set_hash(skb, 0, PKT_HASH_TYPE_NONE)
    skb.flow = rx_flow(slot)
    skb.flow_hash = rx_flow_hash(slot)
    skb.protocol = rx_proto(slot)
    skb.sock_index = rx_sock(slot)
    skb.flags = rx_flags(slot)
    skb.seq_ok = rx_seq_ok(slot)
    skb.payload = rx_payload(slot)
    skb.stamp[0] = rx_time_ns(slot)
    skb.nr_packets = 1
    v.received += 1
    napi_gro_receive(v.napi, skb)


@kfunc(entry=True)
def softnet_poll(napi: napi_struct, budget: int) -> int:
    """ndo poll: up to ``budget`` packets; if that was all, completion and the interrupt back on."""
    v = container_of(napi, nic_vector, "napi")
    done = 0
    cleaned = 0
    while done < budget:
        slot = nic_rx_pop(v.queue)
        if not slot:
            break
        softnet_receive_skb(v, slot)
        done += 1
        cleaned += 1
        if cleaned == RX_REFILL_BATCH:
            work("nic_refill")
            nic_refill(v.queue, cleaned)
            cleaned = 0
    if cleaned:
        work("nic_refill")
        nic_refill(v.queue, cleaned)
    if done < budget:
        if napi_complete_done(napi, done):
            work("nic_irq_enable")
            nic_irq_enable(v.queue)
    return done
