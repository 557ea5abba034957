# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the defer list's kick is in flight, and where its list must be freed, where it is a function call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import predicate
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.machine.state import cpu_hw


@predicate
def ck_kick_in_flight(sd: softnet_data) -> bool:
    """From smp_call_function_single_async() to csd_unlock(), which is before the handler."""
    return sd.defer_csd.u_flags != 0


@predicate
def ck_must_free_at_home(cpu: int) -> bool:
    """I2: the CPU is online, so its deferred skbs must be freed there."""
    return table(cpu_hw, cpu).online != 0
