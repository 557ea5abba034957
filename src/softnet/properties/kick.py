# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the defer list's kick is in flight, where it is a function call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import predicate

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import softnet_data


@predicate
def ck_kick_in_flight(sd: softnet_data) -> bool:
    """From smp_call_function_single_async() to csd_unlock(), which is before the handler."""
    return sd.defer_csd.u_flags != 0
