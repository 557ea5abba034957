# SPDX-License-Identifier: GPL-2.0-or-later
"""Locks: the queued spinlock that spins in FIFO order, and the PREEMPT_RT spinlock that sleeps with priority inheritance.

The sleeping lock follows kernel/locking/rtmutex.c: waiters by priority, the owner boosted, the top waiter woken on unlock and
competing for the lock, a more important task may steal it, and a waiter spins while the owner runs (adaptive spinning).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import address_of, table, trace

if TYPE_CHECKING:
    from softnet.machine.cache import line_write
    from softnet.machine.events import cpu_update
    from softnet.machine.globals import hw, rt_mutex_setprio
    from softnet.machine.sched import rt_spinner_looks_again, wake
    from softnet.machine.state import (
        DEFAULT_PRIO,
        ERROR_LOCKDEP,
        ERROR_SPIN_RECURSION,
        ERROR_UNLOCK_NOT_OWNER,
        MAX_PRIO,
        MAX_RT_PRIO,
        NEVER,
        TASK_RTLOCK_WAIT,
        TASK_RUNNING,
        context,
        cpu_hw,
        spinlock_t,
        task_struct,
    )

RT_ACQUIRED = 0
RT_SLEEP = 1
RT_SPIN = 2

PI_CHAIN_MAX = 16
"""Bound of a chain of inheritance, as max_lock_depth bounds it in the kernel (1024 there)."""


@hwfunc
def lock_error(error: int, lock: spinlock_t) -> None:
    """Stop the run: the lock was used against its rules."""
    hw.error = error
    hw.error_arg = address_of(lock)


@hwfunc(visible="acquire", x86="locked")
def spin_acquire(lock: spinlock_t) -> bool:
    """Take the lock, or join its queue: then the caller suspends and owns the lock when it resumes."""
    c = table(cpu_hw, hw.cpu)
    me = c.cur
    if lock.owner == 0:
        lock.owner = me.id + 1
        line_write(address_of(lock))
        hw.now += hw.cost_atomic
        return True
    if lock.owner == me.id + 1:
        lock_error(ERROR_SPIN_RECURSION, lock)
        return True
    lock.contended += 1
    trace("lock_contended", address_of(lock), 0)
    me.wait_next = None
    me.wait_since = hw.now
    me.waiting_for = lock
    if lock.wait_tail is None:
        lock.wait_head = me
    else:
        lock.wait_tail.wait_next = me
    lock.wait_tail = me
    line_write(address_of(lock))
    hw.now = NEVER
    return False


@hwfunc(visible="try", x86="locked")
def spin_try(lock: spinlock_t) -> bool:
    """Take the lock if it is free."""
    line_write(address_of(lock))
    hw.now += hw.cost_atomic
    if lock.owner != 0:
        return False
    lock.owner = table(cpu_hw, hw.cpu).cur.id + 1
    return True


@hwfunc(visible="release", x86="plain store spinlock_t.owner")
def spin_release(lock: spinlock_t) -> None:
    """Give the lock to the first in its queue, or free it."""
    c = table(cpu_hw, hw.cpu)
    if lock.owner != c.cur.id + 1:
        lock_error(ERROR_UNLOCK_NOT_OWNER, lock)
        return
    waiter = lock.wait_head
    if waiter is None:
        lock.owner = 0
        line_write(address_of(lock))
        return
    lock.wait_head = waiter.wait_next
    if lock.wait_head is None:
        lock.wait_tail = None
    waiter.wait_next = None
    waiter.waiting_for = None
    lock.owner = waiter.id + 1
    w = table(cpu_hw, waiter.cpu)
    at = max(hw.now, w.stopped_until) + hw.cost_handoff
    w.spin_ns += at - waiter.wait_since
    trace("lock_acquired", address_of(lock), at - waiter.wait_since)
    if w.cur == waiter:
        w.t = at
        cpu_update(w)
    else:
        waiter.remain = 0
    line_write(address_of(lock))


@hwfunc
def rt_top_prio(lock: spinlock_t) -> int:
    """The priority of the lock's most important waiter, MAX_PRIO when there is none."""
    return lock.rt_waiters.prio if lock.rt_waiters is not None else MAX_PRIO


@hwfunc
def rt_owner_task(lock: spinlock_t) -> task_struct:
    """The task that holds the lock, None when it is free."""
    if lock.owner == 0:
        return None
    return table(context, lock.owner - 1).task


@hwfunc
def waiter_prio(p: task_struct) -> int:
    """The task's place among waiters: to a lock all fair tasks are equal; kernel/locking/rtmutex.c __waiter_prio()."""
    return p.prio if p.prio < MAX_RT_PRIO else DEFAULT_PRIO


@hwfunc
def rt_mutex_steal(p: task_struct, top: task_struct) -> bool:
    """Whether the task may take a lock for which ``top`` waits; kernel/locking/rtmutex.c.

    The more important may; of equals only who is no real-time task, since among those nobody would wait a bounded time.
    """
    mine = waiter_prio(p)
    return bool(mine < waiter_prio(top) or (mine == waiter_prio(top) and mine >= MAX_RT_PRIO))


@hwfunc(visible="lock", x86="locked")
def rt_try_take(lock: spinlock_t) -> bool:
    """Take a free lock if this task is its top waiter or may steal it."""
    me = table(cpu_hw, hw.cpu).task
    if lock.owner != 0:
        return False
    top = lock.rt_waiters
    if top is not None and top != me and not rt_mutex_steal(me, top):
        return False
    lock.owner = me.ctx.id + 1
    if me.pi_blocked_on == lock:
        rt_waiter_remove(lock, me)
    if lock.rt_waiters is not None:
        rt_pi_link(me, lock)
    line_write(address_of(lock))
    hw.now += hw.cost_atomic
    return True


@hwfunc(visible="lock", x86="locked")
def rt_block_on(lock: spinlock_t) -> None:
    """Join the lock's waiters and lend this task's priority to the owner, and to whoever that one waits for."""
    me = table(cpu_hw, hw.cpu).task
    lock.contended += 1
    trace("lock_contended", address_of(lock), 1)
    me.pi_blocked_on = lock
    me.ctx.wait_since = hw.now
    rt_waiter_insert(lock, me)
    owner = rt_owner_task(lock)
    if owner is not None:
        rt_pi_link(owner, lock)
        rt_adjust_prio_chain(owner)


@hwfunc
def rt_waiter_insert(lock: spinlock_t, p: task_struct) -> None:
    """Insert by priority, after equals."""
    before: task_struct = None
    after = lock.rt_waiters
    while after is not None and waiter_prio(after) <= waiter_prio(p):
        before = after
        after = after.pi_next
    p.pi_next = after
    if before is None:
        lock.rt_waiters = p
    else:
        before.pi_next = p


@hwfunc
def rt_waiter_remove(lock: spinlock_t, p: task_struct) -> None:
    """Leave the lock's waiters."""
    rt_waiter_unlink(lock, p)
    p.pi_blocked_on = None
    trace("lock_acquired", address_of(lock), hw.now - p.ctx.wait_since)


@hwfunc
def rt_waiter_unlink(lock: spinlock_t, p: task_struct) -> None:
    """Take ``p`` out of the list of waiters."""
    if lock.rt_waiters == p:
        lock.rt_waiters = p.pi_next
    else:
        before = lock.rt_waiters
        while before is not None and before.pi_next != p:
            before = before.pi_next
        if before is not None:
            before.pi_next = p.pi_next
    p.pi_next = None


@hwfunc
def rt_pi_link(owner: task_struct, lock: spinlock_t) -> None:
    """Note that ``owner`` holds a lock with waiters, once."""
    held = owner.pi_locks
    while held is not None:
        if held == lock:
            return
        held = held.pi_next
    lock.pi_next = owner.pi_locks
    owner.pi_locks = lock


@hwfunc
def rt_pi_unlink(owner: task_struct, lock: spinlock_t) -> None:
    """The owner gives up a lock that may have waiters."""
    if owner.pi_locks == lock:
        owner.pi_locks = lock.pi_next
    else:
        before = owner.pi_locks
        while before is not None and before.pi_next != lock:
            before = before.pi_next
        if before is not None:
            before.pi_next = lock.pi_next
    lock.pi_next = None


@hwfunc
def rt_boosted_prio(p: task_struct) -> int:
    """The task's own priority, or that of the most important waiter on a lock it holds."""
    prio = p.normal_prio
    held = p.pi_locks
    while held is not None:
        prio = min(prio, rt_top_prio(held))
        held = held.pi_next
    return prio


@hwfunc
def rt_adjust_prio_chain(p: task_struct) -> None:
    """Bring the priorities along a chain of blocked owners up to date; kernel/locking/rtmutex.c."""
    for _ in range(PI_CHAIN_MAX):
        prio = rt_boosted_prio(p)
        if prio == p.prio:
            return
        rt_mutex_setprio(p, prio)
        lock = p.pi_blocked_on
        if lock is None:
            return
        rt_waiter_unlink(lock, p)
        rt_waiter_insert(lock, p)
        p = rt_owner_task(lock)
        if p is None:
            return


@hwfunc(visible="lock", x86="locked")
def rt_lock_slowpath_step(lock: spinlock_t) -> int:
    """One round of rt_spin_lock_slowpath(): take the lock, spin because it is first and the owner runs, or sleep; one of RT_*."""
    c = table(cpu_hw, hw.cpu)
    me = c.task
    me.rt_spinning = False
    if rt_try_take(lock):
        me.state = me.saved_state
        me.saved_state = TASK_RUNNING
        return RT_ACQUIRED
    owner = rt_owner_task(lock)
    if owner is not None and owner.on_cpu and lock.rt_waiters == me and not c.need_resched:
        me.rt_spinning = True
        hw.now = NEVER
        return RT_SPIN
    me.state = TASK_RTLOCK_WAIT
    return RT_SLEEP


@hwfunc(visible="own cpu", x86="locked")
def rt_save_state() -> None:
    """current_save_and_set_rtlock_wait_state(): the task's own state survives the wait for the lock."""
    me = table(cpu_hw, hw.cpu).task
    me.saved_state = me.state
    me.state = TASK_RUNNING


@hwfunc(visible="lock", x86="locked")
def rt_release(lock: spinlock_t) -> None:
    """Free the lock, give back the lent priority, and wake the top waiter to compete for it."""
    me = table(cpu_hw, hw.cpu).task
    if lock.owner != me.ctx.id + 1:
        lock_error(ERROR_UNLOCK_NOT_OWNER, lock)
        return
    lock.owner = 0
    top = lock.rt_waiters
    if top is None:
        line_write(address_of(lock))
        hw.now += hw.cost_atomic
        return
    rt_pi_unlink(me, lock)
    rt_adjust_prio_chain(me)
    if top.rt_spinning:
        rt_spinner_looks_again(top)
    elif top.state & TASK_RTLOCK_WAIT != 0:
        top.state = TASK_RUNNING
        wake(top, False)
    line_write(address_of(lock))
    hw.now += hw.cost_atomic


@hwfunc
def rt_owner_leaves_cpu(p: task_struct) -> None:
    """The owner of sleeping locks is switched out: those who spin for it must look again, and will sleep."""
    held = p.pi_locks
    while held is not None:
        top = held.rt_waiters
        if top is not None and top.rt_spinning:
            rt_spinner_looks_again(top)
        held = held.pi_next


@hwfunc(visible="all", x86="plain load")
def lock_is_held(lock: spinlock_t) -> bool:
    """Whether the running context holds the lock."""
    return bool(lock.unchecked or lock.owner == table(cpu_hw, hw.cpu).cur.id + 1)


@hwfunc
def assert_held(lock: spinlock_t) -> None:
    """lockdep_assert_held(): stop the run if the running context does not hold the lock."""
    if not lock_is_held(lock):
        lock_error(ERROR_LOCKDEP, lock)
