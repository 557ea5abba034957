# SPDX-License-Identifier: GPL-2.0-or-later
"""Functions for test_redundant.py: "drops: point" and "drops: line" say what native code does without on that line.

Two fields of a line are read as ``p.near`` and ``p.too``, one of another line as ``p.far``; ``p.seen`` is shared, so each
access to it is an interaction point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, array, embed, fnptr, kfunc, private, shared
from softnet.lang.intrinsics import READ_ONCE, atomic_inc, container_of, this_cpu_ptr, work

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.machine.interrupts import in_hardirq, irq_local_disable, irq_local_restore, preempt_count
    from softnet.machine.locks import spin_acquire
    from softnet.machine.state import spinlock_t


class triple(Struct):
    """Three words, so that in an array of them some cross into the next line."""

    one: int = private()
    two: int = private()
    three: int = private()


class probe(Struct):
    """What the functions touch."""

    near: int = private(line=0)
    too: int = private(line=0)
    seen: int = shared(line=0)
    also: int = shared(line=0)
    next: probe = private(line=0)
    lock: spinlock_t = embed(line=0)
    far: int = private(line=1)
    call: fnptr = private(line=1)
    triples: triple = embed(line=2, count=8)
    words: int = array(40, private(line=4))


@kfunc
def straight(p: probe, q: probe) -> int:
    n = p.near
    n += p.too  # drops: line
    p.near = n
    p.too = n  # drops: line
    n += p.near  # drops: line
    n += p.far
    return n + q.near


@kfunc
def both_ways(p: probe, n: int) -> int:
    if n:
        n = p.near
    else:
        p.too = n
    return n + p.near  # drops: line


@kfunc
def one_way(p: probe, n: int) -> int:
    if n:
        n = p.near
    return n + p.near


@kfunc
def written_one_way(p: probe, n: int) -> None:
    if n:
        n = p.near
    else:
        p.too = n
    p.near = n


@kfunc
def around(p: probe, n: int) -> int:
    total = p.near
    for _ in range(n):
        total += p.too  # drops: line
    return total


@kfunc
def along(p: probe) -> int:
    total = 0
    while p is not None:
        total += p.near
        p = p.next  # drops: line
    return total


@kfunc
def in_turn(p: probe, q: probe, n: int) -> int:
    total = p.near
    for _ in range(n):
        total += p.near
        t = p
        p = q
        q = t
    return total


@kfunc
def same_by_another_name(p: probe) -> int:
    q = p
    total = p.near
    p = q.next  # drops: line
    return total + q.near + p.near  # drops: line


@kfunc
def inside(p: probe) -> int:
    lock = p.lock
    total = lock.contended
    mine: probe = container_of(lock, probe, "lock")
    return total + p.near + mine.too  # drops: line


@kfunc
def across_lines(p: probe, n: int) -> int:
    t = p.triples[n]
    total = t.one
    total += t.two
    return total + t.one  # drops: line


@kfunc
def shared_points(p: probe) -> int:
    total = p.seen
    total += p.also
    return total + READ_ONCE(p.near)


@kfunc
def quiet_calls() -> int:
    total = preempt_count()
    total += in_hardirq()  # drops: point
    was = irq_local_disable()  # drops: point
    total += preempt_count()  # drops: point
    irq_local_restore(was)  # drops: point
    total += preempt_count()
    work("ip_rcv")
    total += preempt_count()
    return total + preempt_count()  # drops: point


@kfunc
def held_over_quiet_calls(p: probe) -> int:
    p.near = 1
    n = preempt_count()
    p.near = n
    n = preempt_count()
    p.near = n
    return preempt_count()


@kfunc
def settled_around(n: int) -> int:
    total = preempt_count()
    for _ in range(n):
        total += preempt_count()  # drops: point
    return total


@kfunc
def not_settled_around(n: int) -> int:
    total = preempt_count()
    for _ in range(n):
        total += preempt_count()
        work("ip_rcv")
    return total


@kfunc
def free_after_a_point(p: probe) -> int:
    n = preempt_count()
    total = p.near
    total += p.too  # drops: line
    n = preempt_count()
    return total + n + preempt_count() + p.near  # drops: point


@kfunc
def takes(p: probe) -> probe:
    p.near = 1
    p.next.far = 1  # drops: line
    return p.next  # drops: line


@kfunc
def takes_one_way(p: probe, n: int) -> None:
    if n:
        p.near = 1


@kfunc
def calls(p: probe, q: probe) -> int:
    r: probe = takes(p)
    takes_one_way(q, 1)
    return p.too + q.too + r.call(p)  # drops: line


@kfunc
def result(p: probe) -> probe:
    q = p.next
    q.near = 1
    return q


@kfunc
def takes_result(p: probe) -> int:
    q: probe = result(p)
    return q.too + q.far + p.too  # drops: line, line


@kfunc
def entered_held(p: probe) -> int:
    return p.too  # drops: line


@kfunc
def entered_by_some(p: probe) -> int:
    return p.too


@kfunc
def entered_settled() -> int:
    return preempt_count()  # drops: point


@kfunc
def enters(p: probe, q: probe) -> int:
    total = p.near + entered_held(p)
    total += q.near + entered_by_some(p) + entered_held(q) + entered_by_some(q.next)  # drops: line
    total += preempt_count()
    return total + entered_settled()


@kfunc
def pointed_to(p: probe) -> int:
    return p.too + preempt_count() + in_hardirq()  # drops: point


@kfunc
def points(p: probe) -> int:
    p.call = pointed_to
    p.near = pointed_to(p)
    total = p.near  # drops: line
    total += p.call(p)
    return total + p.near


@kfunc
def again(p: probe, n: int) -> int:
    total = p.near
    if n:
        total += again(p, n - 1)
    return total + p.near


@kfunc
def waits(p: probe) -> int:
    total = p.near
    if not spin_acquire(p.lock):
        total = 0
    total += preempt_count()
    return total + p.near


@kfunc
def this_cpu() -> int:
    sd: softnet_data = this_cpu_ptr(softnet_data)
    total = sd.processed
    same: softnet_data = this_cpu_ptr(softnet_data)
    return total + same.processed


@kfunc
def atomics(p: probe) -> int:
    atomic_inc(p.seen)
    return preempt_count() + p.near
