# SPDX-License-Identifier: GPL-2.0-or-later
"""drivers/cpuidle/governors/haltpoll.c (6.1): a guest polls for a while before it halts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc

if TYPE_CHECKING:
    from softnet.linux.drivers.cpuidle.cpuidle import cpuidle_governor_latency_req
    from softnet.linux.include.linux.cpuidle import *

GUEST_HALT_POLL_NS = 200000
GUEST_HALT_POLL_SHRINK = 2
GUEST_HALT_POLL_GROW = 2
GUEST_HALT_POLL_GROW_START = 50000
"""Module parameters, which are variables in C, with the values that they begin with; guest_halt_poll_allow_shrink is true."""


@hwfunc
def haltpoll_select(drv: cpuidle_driver, dev: cpuidle_device) -> int:
    """haltpoll.c:49 (6.1): state 0 polls, state 1 halts."""
    if drv.state_count == 0 or cpuidle_governor_latency_req(drv) == 0:
        dev.stop_tick = False
        return 0
    if dev.poll_limit_ns == 0:
        return 1
    if dev.last_state_idx == 0:
        if dev.poll_time_limit:
            return 1
        dev.stop_tick = False
        return 0
    dev.stop_tick = False
    return 0


@hwfunc
def shrunk_poll_limit(limit_ns: int) -> int:
    """Of adjust_poll_limit(): the CPU halted for longer than it may poll."""
    return limit_ns // GUEST_HALT_POLL_SHRINK


@hwfunc
def adjust_poll_limit(dev: cpuidle_device, block_ns: int) -> None:
    """haltpoll.c:79 (6.1): poll longer if that would have met the wakeup, shorter if nothing would."""
    if block_ns > dev.poll_limit_ns and block_ns <= GUEST_HALT_POLL_NS:
        val = max(dev.poll_limit_ns * GUEST_HALT_POLL_GROW, GUEST_HALT_POLL_GROW_START)
        dev.poll_limit_ns = min(val, GUEST_HALT_POLL_NS)
    elif block_ns > GUEST_HALT_POLL_NS:
        dev.poll_limit_ns = shrunk_poll_limit(dev.poll_limit_ns)


@hwfunc
def haltpoll_reflect(dev: cpuidle_device, index: int) -> None:
    """haltpoll.c:115 (6.1)."""
    dev.last_state_idx = index
    if index != 0:
        adjust_poll_limit(dev, dev.last_residency_ns)
