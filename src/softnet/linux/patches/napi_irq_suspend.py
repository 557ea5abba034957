# SPDX-License-Identifier: GPL-2.0-or-later
"""eventpoll: Control irq suspension for prefer_busy_poll.

While an application that prefers busy polling finds events, a timer of irq_suspend_timeout keeps the card's interrupts off. Before,
they came back when gro_flush_timeout was over. With 5dc51ec86df6 (the setting, here one for each card), 3fcbecbdeb04 (its two
functions) and ab5b28b007a7 (a preference alone makes epoll poll).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import napi_schedule
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.linux.spinlock import *
    from softnet.linux.include.net.busy_poll import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.net.core.dev_busy_poll import napi_by_id
    from softnet.linux.patches.epoll_busy_poll import eventpoll
    from softnet.machine.sched import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


PATCH = {
    "commit": "8a6de2627fd3",
    "subject": "eventpoll: Control irq suspension for prefer_busy_poll",
    "since": "6.13",
    "link": "https://patch.msgid.link/20241109050245.191288-5-jdamato@fastly.com",
}


class net_device(Struct, extends=True):
    """struct napi_config, of which softnet has one for all queues of a card."""

    irq_suspend_timeout: int = private()


@kfunc
def napi_suspend_irqs(napi_id: int) -> None:
    """net/core/dev.c (6.18): no interrupt before the application is back, or irq_suspend_timeout is over."""
    rcu_read_lock()
    napi = napi_by_id(napi_id)
    timeout = napi.dev.irq_suspend_timeout
    if timeout:
        hrtimer_start(napi.timer, ktime_get() + timeout)
    rcu_read_unlock()


@kfunc
def napi_resume_irqs(napi_id: int) -> None:
    """net/core/dev.c (6.18): there was nothing to do: let NAPI poll, and in the end unmask the interrupt."""
    rcu_read_lock()
    napi = napi_by_id(napi_id)
    if napi.dev.irq_suspend_timeout:
        local_bh_disable()
        napi_schedule(napi)
        local_bh_enable()
    rcu_read_unlock()


@kfunc
def ep_suspend_napi_irqs(ep: eventpoll) -> None:
    """fs/eventpoll.c (6.18)."""
    napi_id = READ_ONCE(ep.napi_id)
    if napi_id and ep.prefer_busy_poll:
        napi_suspend_irqs(napi_id)


@kfunc
def ep_busy_loop_on(ep: eventpoll) -> bool:
    """fs/eventpoll.c (6.18)."""
    if not IS_ENABLED(CONFIG_NET_RX_BUSY_POLL):
        return False
    return bool(ep.busy_poll_usecs or ep.prefer_busy_poll) or net_busy_loop_on()


@kfunc
def ep_busy_loop_in_vain(ep: eventpoll, napi_id: int) -> None:
    """fs/eventpoll.c (6.18), in ep_busy_loop()."""
    if ep.prefer_busy_poll:
        napi_resume_irqs(napi_id)


@kfunc
def ep_poll_finds(ep: eventpoll) -> None:
    """fs/eventpoll.c (6.18) ep_try_send_events()."""
    if ep_busy_loop_on(ep):
        ep_suspend_napi_irqs(ep)
