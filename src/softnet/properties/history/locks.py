# SPDX-License-Identifier: GPL-2.0-or-later
"""I11, a small lockdep: classes of locks, the order in which they nest, and the contexts that take them.

A class is a field of a structure, as softnet_data.defer_lock: all CPUs' locks of that name are one. As in
kernel/locking/lockdep.c an order seen once counts for ever, so a run that never deadlocks still shows that it could.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import observer
from softnet.lang.intrinsics import address_of, table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.machine.state import HARDIRQ_MASK, SOFTIRQ_MASK, SOFTIRQ_OFFSET, context, spinlock_t
    from softnet.properties.history.notes import ck_preempt_count, ck_report, ck_say, ck_stop
    from softnet.properties.history.words import (
        CK_HELD,
        CK_LOCK_BH,
        CK_LOCK_IRQ,
        CK_LOCK_ORDER,
        CK_LOCK_SLEEPS,
        CK_LOCK_TWICE,
        CK_PATH,
        ck_class,
        ck_ctx,
        ck_env,
        ck_found,
        ck_range,
    )

CK_IN_HARDIRQ = 1
CK_HARDIRQS_ON = 2
CK_IN_SOFTIRQ = 4
CK_SOFTIRQS_ON = 8

# Why a sleeping lock may not be taken: bits of ck_class.said, beside those of the two below.
CK_UNDER_RAW = 1
CK_HARDIRQ = 2
CK_IRQS_OFF = 3
CK_PREEMPT_OFF = 4
CK_SAID_IRQ = 5
CK_SAID_BH = 6


@observer
def ck_class_of(at: int) -> int:
    """The class of the lock at an address, 0 for one of no table."""
    for i in range(table(ck_env, 0).ranges):
        r = table(ck_range, i)
        if at >= r.base and at < r.end:
            offset = (at - r.base) % r.stride
            for j in range(r.count):
                if r.offset[j] == offset:
                    return r.cls[j]
    return 0


@observer
def ck_acquire(lock: spinlock_t, blocking: bool, sleeps: bool) -> None:
    """A lock is about to be taken, or has been without waiting."""
    me = table(ck_ctx, hw.ctx)
    cls = ck_class_of(address_of(lock))
    if blocking:
        for i in range(me.nr_held):
            ck_order(me.held_class[i], cls)
    if sleeps:
        ck_may_sleep(cls, me)
    elif blocking:
        ck_use(cls)
    if me.nr_held < CK_HELD:
        me.held[me.nr_held] = address_of(lock)
        me.held_class[me.nr_held] = cls
        me.nr_held += 1


@observer
def ck_release(lock: spinlock_t) -> None:
    """It is given back: the one taken last, if there are several of that address."""
    me = table(ck_ctx, hw.ctx)
    found = -1
    for i in range(me.nr_held):
        if me.held[i] == address_of(lock):
            found = i
    if found < 0:
        return
    me.nr_held -= 1
    for i in range(found, me.nr_held):
        me.held[i] = me.held[i + 1]
        me.held_class[i] = me.held_class[i + 1]


@observer
def ck_order(first: int, then: int) -> None:
    """``then`` is taken under ``first``: somewhere else it may not be the other way round."""
    if table(ck_class, first).after[then] != 0:
        return
    back = ck_path(then, first)
    table(ck_class, first).after[then] = hw.ctx + 1
    if not back:
        return
    if first == then:
        ck_say(11, CK_LOCK_TWICE, then, hw.ctx, 0, 0)
        return
    if ck_report(11, CK_LOCK_ORDER, hw.cpu, hw.now):
        found = table(ck_found, 11)
        found.args[0] = hw.ctx
        found.args[1] = then
        found.args[2] = first
        ck_keep_path(then, first)
    ck_stop(11)


@observer
def ck_path(start: int, end: int) -> bool:
    """Whether classes nest from ``start`` to ``end``; ``via`` then leads back along the chain."""
    classes = table(ck_env, 0).classes
    for i in range(classes):
        table(ck_class, i).via = 0
    table(ck_class, start).via = start + 1
    for _ in range(classes):
        grown = False
        for i in range(classes):
            if table(ck_class, i).via == 0:
                continue
            for j in range(classes):
                if table(ck_class, i).after[j] != 0 and table(ck_class, j).via == 0:
                    table(ck_class, j).via = i + 1
                    grown = True
        if table(ck_class, end).via != 0:
            return True
        if not grown:
            return False
    return False


@observer
def ck_keep_path(start: int, end: int) -> None:
    """Put the chain into the finding's arguments: who first nested its last two, its length, its classes from the end."""
    found = table(ck_found, 11)
    at = end
    length = 0
    for _ in range(CK_PATH):
        found.args[4 + length] = at
        length += 1
        if at == start:
            break
        before = table(ck_class, at).via - 1
        if before == start:
            found.args[15] = table(ck_class, before).after[at]
        at = before
    found.args[3] = length


@observer
def ck_once(cls: int, bit: int) -> bool:
    """Whether this is the first time that this is said of a class."""
    c = table(ck_class, cls)
    if c.said >> bit & 1 != 0:
        return False
    c.said |= 1 << bit
    return True


@observer
def ck_may_sleep(cls: int, me: ck_ctx) -> None:
    """A PREEMPT_RT spinlock sleeps: __might_resched() of its rtlock_might_resched()."""
    why = 0
    raw = 0
    for i in range(me.nr_held):
        if why == 0 and table(ck_class, me.held_class[i]).raw != 0:
            why = CK_UNDER_RAW
            raw = me.held_class[i]
    if why == 0:
        count = ck_preempt_count()
        if count & HARDIRQ_MASK != 0:
            why = CK_HARDIRQ
        elif table(context, hw.ctx).irqs_off != 0:
            why = CK_IRQS_OFF
        elif count & 0xFF != 0:
            why = CK_PREEMPT_OFF
    if why != 0 and ck_once(cls, why):
        ck_say(11, CK_LOCK_SLEEPS, hw.ctx, cls, why, raw)


@observer
def ck_use(cls: int) -> None:
    """A spinning lock that interrupts take must never be held with them on: the holder would be spun upon for ever."""
    count = ck_preempt_count()
    bits = 0
    if table(context, hw.ctx).irqs_off == 0:
        bits = CK_HARDIRQS_ON
    if count & HARDIRQ_MASK != 0:
        bits |= CK_IN_HARDIRQ
    elif table(ck_env, 0).rt == 0:
        if count & SOFTIRQ_OFFSET != 0:
            bits |= CK_IN_SOFTIRQ
        elif bits != 0 and count & SOFTIRQ_MASK == 0:
            bits |= CK_SOFTIRQS_ON
    c = table(ck_class, cls)
    if c.usage | bits == c.usage:
        return
    c.usage |= bits
    if c.usage & CK_IN_HARDIRQ != 0 and c.usage & CK_HARDIRQS_ON != 0 and ck_once(cls, CK_SAID_IRQ):
        ck_say(11, CK_LOCK_IRQ, cls, hw.ctx, 0, 0)
    if c.usage & CK_IN_SOFTIRQ != 0 and c.usage & CK_SOFTIRQS_ON != 0 and ck_once(cls, CK_SAID_BH):
        ck_say(11, CK_LOCK_BH, cls, hw.ctx, 0, 0)
