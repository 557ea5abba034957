# SPDX-License-Identifier: GPL-2.0-or-later
# mypy: disable-error-code="no-any-return, index"
"""A patch whose tasks, interrupt handler and softirq do what a table says: so that thousands of programs need one kernel.

An operation is three numbers, ``op``, ``a`` and ``b``, in the rows from a context's ``start`` on; nobody stores to the table, so
that looking into it is no access. ``x`` is a context's only register.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, array, embed, guarded, kfunc, percpu, private, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import (
        BUG_ON,
        READ_ONCE,
        WRITE_ONCE,
        atomic_inc,
        cmpxchg,
        smp_mb,
        table,
        this_cpu_ptr,
    )
    from softnet.linux.include.linux.preempt import local_bh_disable, local_bh_enable
    from softnet.linux.include.linux.skbuff import sk_buff
    from softnet.linux.kernel.locking.spinlock import (
        local_irq_restore,
        local_irq_save,
        spin_lock,
        spin_lock_bh,
        spin_lock_irqsave,
        spin_trylock,
        spin_unlock,
        spin_unlock_bh,
        spin_unlock_irqrestore,
    )
    from softnet.linux.kernel.sched.core import preempt_disable, preempt_enable
    from softnet.linux.kernel.softirq import NET_TX_SOFTIRQ, raise_softirq, raise_softirq_irqoff
    from softnet.machine.state import spinlock_t

ROWS = 160

END = 0
LOAD = 1
STORE = 2
"""``b`` to word ``a``."""
STORE_X = 3
ADD = 4
"""Load and store: not one access."""
READ_ONCE_OF = 5
WRITE_ONCE_TO = 6
INC = 7
CAS = 8
"""0 to 1 in word ``a``; x is what was there."""
SKIP_UNLESS = 9
"""``b`` operations, unless x is ``a``."""
LOCK = 10
"""Lock ``a`` in the way ``b``: 0 plain, 1 irqsave, 2 bh."""
UNLOCK = 11
TRY = 12
"""Lock ``a``; x says whether it was taken, and where it was not ``b`` operations are skipped."""
BH_OFF = 13
BH_ON = 14
PREEMPT_OFF = 15
PREEMPT_ON = 16
IRQ_OFF = 17
"""The flags go to ``a``."""
IRQ_ON = 18
RAISE = 19
RAISE_IRQOFF = 20
OBSERVE = 21
"""x into note ``a``."""
BUG_IF = 22
"""x is ``a``."""
MB = 23

# Words by number: two that are shared, one guarded by lock 0, one of each CPU, two private ones.
S0 = 0
S1 = 1
G0 = 2
P0 = 3
Q0 = 4
Q1 = 5


class vp_code(Struct):
    """The programs' operations, and where each context's begin: 0 the interrupt, 1 the softirq, 1 + n the n-th task."""

    op: int = array(160, private())
    a: int = array(160, private())
    b: int = array(160, private())
    start: int = array(8, private())


class vp_words(Struct):
    """What the programs touch."""

    s0: int = shared(line=0)
    s1: int = shared(line=1)
    l0: spinlock_t = embed(line=2)
    l1: spinlock_t = embed(line=3)
    g0: int = guarded("l0", line=4)
    p0: int = percpu(line=5)
    q0: int = private(line=6)
    q1: int = private(line=7)
    note: int = array(8, private(line=8))


@kfunc
def vp_load(word: int) -> int:
    w = table(vp_words, 0)
    if word == S0:
        return w.s0
    if word == S1:
        return w.s1
    if word == G0:
        return w.g0
    if word == P0:
        return this_cpu_ptr(vp_words).p0
    if word == Q0:
        return w.q0
    return w.q1


@kfunc
def vp_store(word: int, value: int) -> None:
    w = table(vp_words, 0)
    if word == S0:
        w.s0 = value
    elif word == S1:
        w.s1 = value
    elif word == G0:
        w.g0 = value
    elif word == P0:
        this_cpu_ptr(vp_words).p0 = value
    elif word == Q0:
        w.q0 = value
    else:
        w.q1 = value


@kfunc
def vp_read_once(word: int) -> int:
    w = table(vp_words, 0)
    if word == S0:
        return READ_ONCE(w.s0)
    if word == S1:
        return READ_ONCE(w.s1)
    return READ_ONCE(w.g0)


@kfunc
def vp_write_once(word: int, value: int) -> None:
    w = table(vp_words, 0)
    if word == S0:
        WRITE_ONCE(w.s0, value)
    elif word == S1:
        WRITE_ONCE(w.s1, value)
    else:
        WRITE_ONCE(w.g0, value)


@kfunc
def vp_inc(word: int) -> None:
    w = table(vp_words, 0)
    if word == S0:
        atomic_inc(w.s0)
    else:
        atomic_inc(w.s1)


@kfunc
def vp_cas(word: int) -> int:
    w = table(vp_words, 0)
    if word == S0:
        return cmpxchg(w.s0, 0, 1)
    return cmpxchg(w.s1, 0, 1)


@kfunc
def vp_lock(lock: spinlock_t, how: int) -> int:
    if how == 1:
        return spin_lock_irqsave(lock)
    if how == 2:
        spin_lock_bh(lock)
    else:
        spin_lock(lock)
    return 0


@kfunc
def vp_unlock(lock: spinlock_t, how: int, flags: int) -> None:
    if how == 1:
        spin_unlock_irqrestore(lock, flags)
    elif how == 2:
        spin_unlock_bh(lock)
    else:
        spin_unlock(lock)


@kfunc
def vp_section(op: int, a: int, b: int, flags: int) -> int:
    """Operations that begin and end sections; the flags, which nest no deeper than one."""
    w = table(vp_words, 0)
    if op == LOCK:
        return vp_lock(w.l1 if a != 0 else w.l0, b)
    if op == UNLOCK:
        vp_unlock(w.l1 if a != 0 else w.l0, b, flags)
    elif op == BH_OFF:
        local_bh_disable()
    elif op == BH_ON:
        local_bh_enable()
    elif op == PREEMPT_OFF:
        preempt_disable()
    elif op == PREEMPT_ON:
        preempt_enable()
    elif op == IRQ_OFF:
        return local_irq_save()
    elif op == IRQ_ON:
        local_irq_restore(flags)
    elif op == RAISE:
        raise_softirq(NET_TX_SOFTIRQ)
    elif op == RAISE_IRQOFF:
        raise_softirq_irqoff(NET_TX_SOFTIRQ)
    return 0


@kfunc
def vp_run(start: int) -> None:
    """Do the operations of a context."""
    c = table(vp_code, 0)
    x = 0
    outer = 0
    inner = 0
    at = c.start[start]
    while c.op[at] != END:
        op = c.op[at]
        a = c.a[at]
        b = c.b[at]
        at += 1
        if op == LOAD:
            x = vp_load(a)
        elif op == STORE:
            vp_store(a, b)
        elif op == STORE_X:
            vp_store(a, x)
        elif op == ADD:
            vp_store(a, vp_load(a) + b)
        elif op == READ_ONCE_OF:
            x = vp_read_once(a)
        elif op == WRITE_ONCE_TO:
            vp_write_once(a, b)
        elif op == INC:
            vp_inc(a)
        elif op == CAS:
            x = vp_cas(a)
        elif op == SKIP_UNLESS:
            if x != a:
                at += b
        elif op == TRY:
            x = 1 if spin_trylock(table(vp_words, 0).l1 if a != 0 else table(vp_words, 0).l0) else 0
            if x == 0:
                at += b
        elif op == OBSERVE:
            table(vp_words, 0).note[a] = x
        elif op == BUG_IF:
            BUG_ON(x == a)
        elif op == MB:
            smp_mb()
        elif op == IRQ_OFF or (op == LOCK and b == 1):
            # A section with its own flags inside another one.
            outer = inner
            inner = vp_section(op, a, b, 0)
        elif op == IRQ_ON or (op == UNLOCK and b == 1):
            vp_section(op, a, b, inner)
            inner = outer
        else:
            vp_section(op, a, b, 0)


@kfunc
def verify_task(number: int) -> None:
    """The driver call:CPU:number."""
    vp_run(1 + number)


@kfunc
def netif_rx(skb: sk_buff) -> int:
    """What the driver irq's handler calls; its skb is of no interest."""
    vp_run(0)
    return 0


@kfunc
def net_tx_action() -> None:
    """The softirq that the programs raise."""
    vp_run(1)
