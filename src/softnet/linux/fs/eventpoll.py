# SPDX-License-Identifier: GPL-2.0-or-later
"""fs/eventpoll.c (6.1), level-triggered, one waiter: how an application learns which of its sockets to read.

The lock is a spinlock with interrupts off, as in 6.1.192 and 6.12.117. There is no overflow list: what becomes
ready while events are being copied goes straight to the ready list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc, private, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.spinlock import *
    from softnet.linux.include.net.busy_poll import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.sched.core import __set_current_state
    from softnet.linux.net.core.dev_busy_poll import napi_busy_loop
    from softnet.linux.net.core.sock import sock
    from softnet.machine.sched import *
    from softnet.machine.state import *


class epitem(Struct):
    """One watched socket."""

    rdllink: list_head = embed()
    ready: int = private()
    """ep_is_linked()."""


class eventpoll(Struct):
    """One epoll instance: one per application task."""

    lock: spinlock_t = embed(line=0)
    nr_ready: int = shared(line=0)
    rdllist: list_head = embed(line=1)
    napi_id: int = shared(line=0)
    """Where the packets of the socket came from that was ready last; 0: from no card, or polling it was in vain."""
    waiter: task_struct = shared(line=2)
    """The task in epoll_wait(), the one entry of ep->wq."""


@kfunc
def ep_init(ep: eventpoll) -> None:
    """do_epoll_create()."""
    spin_lock_init(ep.lock)
    INIT_LIST_HEAD(ep.rdllist)


@kfunc
def ep_events_available(ep: eventpoll) -> bool:
    """eventpoll.c:383 (6.1), without the lock."""
    return bool(READ_ONCE(ep.nr_ready))


@kfunc
def ep_busy_loop_on(ep: eventpoll) -> bool:
    """6.1 asks net_busy_loop_on() alone; by this name since 85455c795c07 (v6.9)."""
    return net_busy_loop_on()


@kfunc
def busy_loop_ep_timeout(start_time: int, ep: eventpoll) -> bool:
    """6.1 asks busy_loop_timeout() alone; by this name since 85455c795c07 (v6.9)."""
    return busy_loop_timeout(start_time)


@kfunc
def ep_busy_loop_end(ep: eventpoll, start_time: int) -> bool:
    """eventpoll.c:395 (6.1), bool ep_busy_loop_end(void *p, unsigned long start_time)."""
    return ep_events_available(ep) or busy_loop_ep_timeout(start_time, ep)


@kfunc
def ep_busy_loop(ep: eventpoll) -> bool:
    """eventpoll.c:408 (6.1): poll the card that packets came from; whether there is an event now."""
    napi_id = READ_ONCE(ep.napi_id)
    if napi_id and ep_busy_loop_on(ep):
        napi_busy_loop(napi_id, ep, False, BUSY_POLL_BUDGET)
        if ep_events_available(ep):
            return True
        # In vain: not again before a packet came by interrupt.
        ep.napi_id = 0
    return False


@kfunc
def ep_set_busy_poll_napi_id(ep: eventpoll, sk: sock) -> None:
    """eventpoll.c:431 (6.1), void ep_set_busy_poll_napi_id(struct epitem *epi), under the lock."""
    if not ep_busy_loop_on(ep):
        return
    napi_id = sk.sk_napi_id
    if not napi_id or napi_id == ep.napi_id:
        return
    ep.napi_id = napi_id


@kfunc
def ep_poll_callback(sk: sock) -> None:
    """The wait queue's function: the socket goes on the ready list, and the waiter is woken."""
    ep = sk.ep
    flags = spin_lock_irqsave(ep.lock)
    ep_set_busy_poll_napi_id(ep, sk)
    if not sk.item.ready:
        sk.item.ready = 1
        list_add_tail(sk.item.rdllink, ep.rdllist)
        ep.nr_ready += 1
    task = ep.waiter
    if task:
        # autoremove: the entry leaves the queue when it is woken.
        ep.waiter = None
        wake_up_process(task)
    spin_unlock_irqrestore(ep.lock, flags)


@kfunc
def ep_poll_finds(ep: eventpoll) -> None:
    """In ep_poll(), when there is an event: nothing until 8a6de2627fd3 (v6.13)."""


@kfunc
def ep_poll(ep: eventpoll) -> sock:
    """epoll_wait() for one event: sleep until a socket is ready, and take it off the list. It may poll the card first."""
    work("ep_poll")
    while True:
        if ep_busy_loop_on(ep):
            if not ep_events_available(ep):
                ep_busy_loop(ep)
        flags = spin_lock_irqsave(ep.lock)
        if ep.nr_ready:
            sk = container_of(container_of(ep.rdllist.next, epitem, "rdllink"), sock, "item")
            list_del_init(sk.item.rdllink)
            sk.item.ready = 0
            ep.nr_ready -= 1
            spin_unlock_irqrestore(ep.lock, flags)
            ep_poll_finds(ep)
            return sk
        # Under the lock, so that a callback either sees the waiter or was seen by the test above.
        ep.waiter = current()
        __set_current_state(TASK_INTERRUPTIBLE)
        spin_unlock_irqrestore(ep.lock, flags)
        schedule()
        __set_current_state(TASK_RUNNING)


@kfunc
def ep_send_events_requeue(sk: sock) -> None:
    """Level-triggered: a socket that still has data goes to the end of the ready list again."""
    ep = sk.ep
    flags = spin_lock_irqsave(ep.lock)
    if not sk.item.ready:
        sk.item.ready = 1
        list_add_tail(sk.item.rdllink, ep.rdllist)
        ep.nr_ready += 1
    spin_unlock_irqrestore(ep.lock, flags)
