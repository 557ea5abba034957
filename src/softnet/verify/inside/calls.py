# SPDX-License-Identifier: GPL-2.0-or-later
"""The function calls of the receive path with their properties, where the defer list's kick is an IPI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc, kfunc
from softnet.lang.intrinsics import IS_ENABLED, table

if TYPE_CHECKING:
    from softnet.linux.config import CONFIG_PREEMPT_RT
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.net.core.dev_backlog import trigger_rx_softirq
    from softnet.properties.kick import ck_kick_in_flight
    from softnet.properties.numbers import VX_RX_FROM_IPI
    from softnet.verify.inside.harness import vx_break, vx_rx_pending
    from softnet.verify.inside.words import vx_saw, vx_sd


@kfunc
def vx_trigger_rx_softirq(sd: softnet_data) -> None:
    """The defer list's function call, likewise; until its end defer_ipi_scheduled may be set (I8)."""
    note = table(vx_sd, sd.cpu)
    note.in_defer_csd = 1
    before = vx_rx_pending()
    trigger_rx_softirq(sd)
    note.in_defer_csd = 0
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        vx_saw(VX_RX_FROM_IPI)
        if vx_rx_pending() != before:
            vx_break(VX_RX_FROM_IPI)


@hwfunc
def vx_defer_call(sd: softnet_data) -> bool:
    """Whether the defer list's function call is in flight or runs."""
    return bool(ck_kick_in_flight(sd) or table(vx_sd, sd.cpu).in_defer_csd != 0)
