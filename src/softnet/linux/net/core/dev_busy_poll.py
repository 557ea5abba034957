# SPDX-License-Identifier: GPL-2.0-or-later
"""net/core/dev.c (6.1), busy polling: a task that waits for packets polls the card itself, bottom halves off.

It owns the NAPI by SCHED and IN_BUSY_POLL; an interrupt that comes meanwhile finds SCHED taken and leaves MISSED.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.drivers.net.softnet_nic import nic_vector
    from softnet.linux.fs.eventpoll import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.net.busy_poll import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.net.core.dev import __napi_schedule
    from softnet.linux.net.core.gro import gro_normal_list, napi_gro_flush
    from softnet.machine.sched import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


@kfunc
def napi_by_id(napi_id: int) -> napi_struct:
    """dev.c:6256 (6.1): here the id is 1 + the row of the vector, and cards stay."""
    return table(nic_vector, napi_id - 1).napi


@kfunc
def __busy_poll_stop(napi: napi_struct, skip_schedule: bool) -> None:
    """dev.c:6266 (6.1): the last poll used its whole budget, so there is more, and we own the NAPI still.

    With ``skip_schedule`` a timer is to go on, and nobody else.
    """
    if not skip_schedule:
        gro_normal_list(napi)
        __napi_schedule(napi)
        return
    if napi.gro_bitmask:
        napi_gro_flush(napi, HZ >= 1000)
    gro_normal_list(napi)
    clear_bit(NAPI_STATE_SCHED, napi.state)


@kfunc
def busy_poll_stop(napi: napi_struct, prefer_busy_poll: bool, budget: int) -> None:
    """dev.c:6285 (6.1): one more poll, in which napi_complete_done() gives the NAPI up and lets the card interrupt again.

    It polls what an interrupt left MISSED for, so that bit goes first.
    """
    skip_schedule = False
    clear_bit(NAPI_STATE_MISSED, napi.state)
    clear_bit(NAPI_STATE_IN_BUSY_POLL, napi.state)

    local_bh_disable()
    if prefer_busy_poll:
        napi.defer_hard_irqs_count = READ_ONCE(napi.dev.napi_defer_hard_irqs)
        timeout = READ_ONCE(napi.dev.gro_flush_timeout)
        if napi.defer_hard_irqs_count and timeout:
            hrtimer_start(napi.timer, ktime_get() + timeout)
            skip_schedule = True
    work("napi_poll")
    rc = napi.poll(napi, budget)
    # If it completed, the NAPI may run on another CPU by now: its list of packets is not ours to flush.
    trace_napi_poll(napi, rc, budget)
    if rc == budget:
        __busy_poll_stop(napi, skip_schedule)
    local_bh_enable()


@kfunc
def napi_busy_loop_try(napi: napi_struct, prefer_busy_poll: bool) -> bool:
    """In napi_busy_loop(): take the NAPI if nobody has it. With ``prefer_busy_poll`` its owner is told to give it up soon."""
    val = READ_ONCE(napi.state)
    if not val & (NAPIF_STATE_DISABLE | NAPIF_STATE_SCHED | NAPIF_STATE_IN_BUSY_POLL):
        if cmpxchg(napi.state, val, val | NAPIF_STATE_IN_BUSY_POLL | NAPIF_STATE_SCHED) == val:
            return True
    if prefer_busy_poll:
        set_bit(NAPI_STATE_PREFER_BUSY_POLL, napi.state)
    return False


@kfunc
def napi_busy_loop_poll(napi: napi_struct, owned: bool, budget: int) -> None:
    """In napi_busy_loop() (6378, 6.1): poll, if the NAPI is ours."""
    if owned:
        work("napi_poll")
        done = napi.poll(napi, budget)
        trace_napi_poll(napi, done, budget)
        gro_normal_list(napi)


@kfunc
def busy_loop_end(ep: eventpoll, start_time: int) -> bool:
    """``loop_end`` of napi_busy_loop(): epoll's, or none, for who does not wait."""
    if not ep:
        return True
    return ep_busy_loop_end(ep, start_time)


@kfunc
def napi_busy_loop(napi_id: int, ep: eventpoll, prefer_busy_poll: bool, budget: int) -> None:
    """dev.c:6330 (6.1): poll the card until epoll has an event, its time is over or somebody else must run.

    void napi_busy_loop(unsigned int napi_id, bool (*loop_end)(void *, unsigned long), void *loop_end_arg, bool prefer_busy_poll,
    u16 budget). ``ep`` is loop_end's argument; None is C's loop_end of NULL: one poll. PREEMPT_RT stays preemptible (c857946a4e26,
    v6.5); before, it had no CONFIG_NET_RX_BUSY_POLL.
    """
    start_time = busy_loop_current_time()
    while True:
        owned = False
        rcu_read_lock()
        napi = napi_by_id(napi_id)
        if not IS_ENABLED(CONFIG_PREEMPT_RT):
            preempt_disable()
        while True:
            local_bh_disable()
            if not owned:
                owned = napi_busy_loop_try(napi, prefer_busy_poll)
            napi_busy_loop_poll(napi, owned, budget)
            local_bh_enable()
            if busy_loop_end(ep, start_time):
                if owned:
                    busy_poll_stop(napi, prefer_busy_poll, budget)
                if not IS_ENABLED(CONFIG_PREEMPT_RT):
                    preempt_enable()
                rcu_read_unlock()
                return
            if need_resched():
                break
            work("cpu_relax")
        if owned:
            busy_poll_stop(napi, prefer_busy_poll, budget)
        if not IS_ENABLED(CONFIG_PREEMPT_RT):
            preempt_enable()
        rcu_read_unlock()
        cond_resched()
        if busy_loop_end(ep, start_time):
            return
