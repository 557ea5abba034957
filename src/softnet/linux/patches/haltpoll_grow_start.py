# SPDX-License-Identifier: GPL-2.0-or-later
"""cpuidle: haltpoll: do not shrink guest poll_limit_ns below grow_start.

Below the time with which polling begins, it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc

if TYPE_CHECKING:
    from softnet.linux.drivers.cpuidle.governors.haltpoll import GUEST_HALT_POLL_GROW_START, GUEST_HALT_POLL_SHRINK


PATCH = {
    "commit": "496d0a648509",
    "subject": "cpuidle: haltpoll: do not shrink guest poll_limit_ns below grow_start",
    "since": "6.9",
    "link": "https://lore.kernel.org/r/20240111135950.17016-1-parshuram.sangle@intel.com",
    "config": "CONFIG_CPU_IDLE",
}


@hwfunc
def shrunk_poll_limit(limit_ns: int) -> int:
    """Of adjust_poll_limit(), haltpoll.c:79 (6.12)."""
    val = limit_ns // GUEST_HALT_POLL_SHRINK
    return val if val >= GUEST_HALT_POLL_GROW_START else 0
