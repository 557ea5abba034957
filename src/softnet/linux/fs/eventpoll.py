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
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.spinlock import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.sched.core import __set_current_state
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
    waiter: task_struct = shared(line=2)
    """The task in epoll_wait(), the one entry of ep->wq."""


@kfunc
def ep_init(ep: eventpoll) -> None:
    """do_epoll_create()."""
    spin_lock_init(ep.lock)
    INIT_LIST_HEAD(ep.rdllist)


@kfunc
def ep_poll_callback(sk: sock) -> None:
    """The wait queue's function: the socket goes on the ready list, and the waiter is woken."""
    ep = sk.ep
    flags = spin_lock_irqsave(ep.lock)
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
def ep_poll(ep: eventpoll) -> sock:
    """epoll_wait() for one event: sleep until a socket is ready, and take it off the list."""
    work("ep_poll")
    while True:
        flags = spin_lock_irqsave(ep.lock)
        if ep.nr_ready:
            sk = container_of(container_of(ep.rdllist.next, epitem, "rdllink"), sock, "item")
            list_del_init(sk.item.rdllink)
            sk.item.ready = 0
            ep.nr_ready -= 1
            spin_unlock_irqrestore(ep.lock, flags)
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
