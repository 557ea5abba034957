# SPDX-License-Identifier: GPL-2.0-or-later
"""eventpoll: support busy poll per epoll instance.

An application may say for one epoll instance how long to poll, how many packets at once, and that its polling comes first
(EPIOCSPARAMS). Before, only net.core.busy_poll did, for all. With c6aa2a7778d8 (the budget) and de57a2510822 (the preference).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.fs.eventpoll import ep_events_available
    from softnet.linux.include.net.busy_poll import *
    from softnet.linux.net.core.dev_busy_poll import napi_busy_loop


PATCH = {
    "commit": "85455c795c07",
    "subject": "eventpoll: support busy poll per epoll instance",
    "since": "6.9",
    "link": "https://lore.kernel.org/r/20240213061652.6342-2-jdamato@fastly.com",
}


class eventpoll(Struct, extends=True):
    """struct epoll_params, as EPIOCSPARAMS set it."""

    busy_poll_usecs: int = private(line=3)
    busy_poll_budget: int = private(line=3)
    prefer_busy_poll: int = private(line=3)


@kfunc
def ep_busy_loop_on(ep: eventpoll) -> bool:
    """fs/eventpoll.c:610 (6.12)."""
    return bool(IS_ENABLED(CONFIG_NET_RX_BUSY_POLL) and ep.busy_poll_usecs) or net_busy_loop_on()


@kfunc
def busy_loop_ep_timeout(start_time: int, ep: eventpoll) -> bool:
    """fs/eventpoll.c:595 (6.12): the instance's own time, else that of the sysctl."""
    bp_usec = ep.busy_poll_usecs
    if bp_usec:
        return busy_loop_current_time() > start_time + bp_usec
    return busy_loop_timeout(start_time)


@kfunc
def ep_busy_loop(ep: eventpoll) -> bool:
    """fs/eventpoll.c:628 (6.12)."""
    napi_id = READ_ONCE(ep.napi_id)
    budget = ep.busy_poll_budget
    if not budget:
        budget = BUSY_POLL_BUDGET
    if napi_id and ep_busy_loop_on(ep):
        napi_busy_loop(napi_id, ep, bool(ep.prefer_busy_poll), budget)
        if ep_events_available(ep):
            return True
        ep_busy_loop_in_vain(ep, napi_id)
        ep.napi_id = 0
    return False


@kfunc
def ep_busy_loop_in_vain(ep: eventpoll, napi_id: int) -> None:
    """In ep_busy_loop(), when the time is over without an event: nothing until 8a6de2627fd3 (v6.13)."""
