# SPDX-License-Identifier: GPL-2.0-or-later
"""The card's driver does not unmask its interrupt after a poll that received frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import container_of, work
    from softnet.linux.drivers.net.softnet_nic import RX_REFILL_BATCH, nic_vector, softnet_receive_skb
    from softnet.linux.include.linux.netdevice import napi_struct
    from softnet.linux.net.core.dev import napi_complete_done
    from softnet.machine.nic import nic_irq_enable, nic_refill, nic_rx_pop


@kfunc
def softnet_poll(napi: napi_struct, budget: int) -> int:
    """ndo poll: up to ``budget`` packets; if that was all, completion and the interrupt back on."""
    v = container_of(napi, nic_vector, "napi")
    done = 0
    cleaned = 0
    while done < budget:
        slot = nic_rx_pop(v.queue)
        if slot == 0:
            break
        softnet_receive_skb(v, slot)
        done += 1
        cleaned += 1
        if cleaned == RX_REFILL_BATCH:
            work("nic_refill")
            nic_refill(v.queue, cleaned)
            cleaned = 0
    if cleaned != 0:
        work("nic_refill")
        nic_refill(v.queue, cleaned)
    if done < budget:
        if napi_complete_done(napi, done) and done == 0:
            work("nic_irq_enable")
            nic_irq_enable(v.queue)
    return done
