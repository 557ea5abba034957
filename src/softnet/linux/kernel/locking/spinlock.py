# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/locking/spinlock.c, spinlock_rt.c, include/linux/local_lock.h: the lock operations over the machine's locks.

On PREEMPT_RT spinlock_t is an rtmutex: it sleeps, the irq variants leave interrupts on, and migration, not preemption, is off
while it is held. raw_spinlock_t spins on both flavours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import IS_ENABLED, kfunc
from softnet.lang.intrinsics import suspend

if TYPE_CHECKING:
    from softnet.linux.include.linux.preempt import local_bh_disable, local_bh_enable
    from softnet.linux.kernel.sched.core import migrate_disable, migrate_enable, preempt_disable, preempt_enable
    from softnet.machine.interrupts import *
    from softnet.machine.locks import *
    from softnet.machine.sched import *
    from softnet.machine.state import *


CONFIG_PREEMPT_RT = 0


@kfunc(exclusion=True)
def local_irq_disable() -> None:
    """include/linux/irqflags.h."""
    irq_local_disable()


@kfunc(exclusion=True)
def local_irq_enable() -> None:
    """include/linux/irqflags.h."""
    irq_local_restore(0)


@kfunc(exclusion=True)
def local_irq_save() -> int:
    """include/linux/irqflags.h: the flags to give to local_irq_restore()."""
    return irq_local_disable()


@kfunc(exclusion=True)
def local_irq_restore(flags: int) -> None:
    """include/linux/irqflags.h."""
    irq_local_restore(flags)


@kfunc
def rt_spin_lock_checks(lock: spinlock_t) -> None:
    """kernel/locking/spinlock_rt.c: rtlock_might_resched() and lockdep, which are debug options; the explorer has them on."""


@kfunc
def rt_spin_lock(lock: spinlock_t) -> None:
    """kernel/locking/spinlock_rt.c: take it, or wait by priority, spinning while the owner runs and sleeping otherwise."""
    rt_spin_lock_checks(lock)
    if not rt_try_take(lock):
        rt_save_state()
        rt_block_on(lock)
        while True:
            how = rt_lock_slowpath_step(lock)
            if how == RT_ACQUIRED:
                break
            if how == RT_SLEEP:
                if schedule_now():
                    suspend()
            else:
                suspend()
    migrate_disable()


@kfunc
def rt_spin_unlock(lock: spinlock_t) -> None:
    """kernel/locking/spinlock_rt.c."""
    migrate_enable()
    rt_release(lock)
    preempt_check_resched()


@kfunc
def preempt_check_resched() -> None:
    """include/linux/preempt.h: what the end of a critical section does when a switch is due."""
    preempt_disable()
    preempt_enable()


@kfunc
def spin_lock(lock: spinlock_t) -> None:
    """include/linux/spinlock.h."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        rt_spin_lock(lock)
    else:
        preempt_disable()
        if not spin_acquire(lock):
            suspend()


@kfunc
def spin_unlock(lock: spinlock_t) -> None:
    """include/linux/spinlock.h."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        rt_spin_unlock(lock)
    else:
        spin_release(lock)
        preempt_enable()


@kfunc
def spin_trylock(lock: spinlock_t) -> bool:
    """include/linux/spinlock.h: whether the lock was taken."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        if rt_try_take(lock):
            migrate_disable()
            return True
        return False
    preempt_disable()
    if spin_try(lock):
        return True
    preempt_enable()
    return False


@kfunc(exclusion=True)
def spin_lock_irq(lock: spinlock_t) -> None:
    """include/linux/spinlock.h; on RT interrupts stay on."""
    if not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_disable()
    spin_lock(lock)


@kfunc(exclusion=True)
def spin_unlock_irq(lock: spinlock_t) -> None:
    """include/linux/spinlock.h."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        rt_spin_unlock(lock)
    else:
        spin_release(lock)
        local_irq_enable()
        preempt_enable()


@kfunc(exclusion=True)
def spin_lock_irqsave(lock: spinlock_t) -> int:
    """include/linux/spinlock.h: the flags; on RT interrupts stay on and the flags mean nothing."""
    flags = 0
    if not IS_ENABLED(CONFIG_PREEMPT_RT):
        flags = local_irq_save()
    spin_lock(lock)
    return flags


@kfunc(exclusion=True)
def spin_unlock_irqrestore(lock: spinlock_t, flags: int) -> None:
    """include/linux/spinlock.h."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        rt_spin_unlock(lock)
    else:
        spin_release(lock)
        local_irq_restore(flags)
        preempt_enable()


@kfunc(exclusion=True)
def spin_lock_bh(lock: spinlock_t) -> None:
    """include/linux/spinlock.h."""
    local_bh_disable()
    spin_lock(lock)


@kfunc(exclusion=True)
def spin_unlock_bh(lock: spinlock_t) -> None:
    """include/linux/spinlock.h."""
    spin_unlock(lock)
    local_bh_enable()


@kfunc
def raw_spin_lock(lock: raw_spinlock_t) -> None:
    """include/linux/spinlock.h: spins on both flavours."""
    preempt_disable()
    if not spin_acquire(lock.lock):
        suspend()


@kfunc
def raw_spin_unlock(lock: raw_spinlock_t) -> None:
    """include/linux/spinlock.h."""
    spin_release(lock.lock)
    preempt_enable()


@kfunc
def raw_spin_lock_irq(lock: raw_spinlock_t) -> None:
    """include/linux/spinlock.h."""
    local_irq_disable()
    raw_spin_lock(lock)


@kfunc
def raw_spin_unlock_irq(lock: raw_spinlock_t) -> None:
    """include/linux/spinlock.h."""
    spin_release(lock.lock)
    local_irq_enable()
    preempt_enable()


@kfunc
def raw_spin_lock_irqsave(lock: raw_spinlock_t) -> int:
    """include/linux/spinlock.h."""
    flags = local_irq_save()
    raw_spin_lock(lock)
    return flags


@kfunc
def raw_spin_unlock_irqrestore(lock: raw_spinlock_t, flags: int) -> None:
    """include/linux/spinlock.h."""
    spin_release(lock.lock)
    local_irq_restore(flags)
    preempt_enable()


@kfunc
def local_lock(lock: local_lock_t) -> None:
    """include/linux/local_lock.h: a per-CPU sleeping lock on RT, disabled preemption elsewhere."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        migrate_disable()
        rt_spin_lock(lock.lock)
    else:
        preempt_disable()


@kfunc
def local_unlock(lock: local_lock_t) -> None:
    """include/linux/local_lock.h."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        rt_spin_unlock(lock.lock)
        migrate_enable()
    else:
        preempt_enable()


@kfunc(exclusion=True)
def local_lock_nested_bh(lock: local_lock_t) -> None:
    """include/linux/local_lock.h (6.11, c5bcab755822): real only on RT, where BH-off does not exclude by itself."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        rt_spin_lock(lock.lock)


@kfunc(exclusion=True)
def local_unlock_nested_bh(lock: local_lock_t) -> None:
    """include/linux/local_lock.h."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        rt_spin_unlock(lock.lock)
