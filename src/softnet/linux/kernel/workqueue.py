# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/workqueue.c (6.1), what schedule_work_on() needs: one bound pool and one worker for each CPU.

Only the 6.1 of the PREEMPT_RT patch queue queues work in the receive path, so only it has these threads. A real pool has
more than one worker: when one sleeps in a work item, another takes the next. Here the next waits, as there is one item
for each CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, fnptr, kfunc, private, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.cpu import hotplug_wait
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.sched.core import __set_current_state
    from softnet.machine.hotplug import bind_task, unbind_task
    from softnet.machine.state import *


WORK_STRUCT_PENDING_BIT = 0


class work_struct(Struct):
    """include/linux/workqueue.h. ``data`` has the pending bit only: which pool it was last on is not needed."""

    data: int = shared(line=0)
    entry: list_head = embed(line=0)
    func: fnptr = private()


class worker_pool(Struct, per_cpu=True):
    """workqueue.c:146 (6.1): the bound pool of normal priority, one for each CPU."""

    lock: raw_spinlock_t = embed(line=0)
    worklist: list_head = embed(line=0)
    nr_running: int = shared(line=0)
    worker: task_struct = private()


@kfunc
def init_worker_pool(cpu: int) -> None:
    """workqueue.c:3494 (6.1)."""
    INIT_LIST_HEAD(per_cpu(worker_pool, cpu).worklist)


@kfunc
def insert_work(pool: worker_pool, item: work_struct) -> None:
    """workqueue.c:1355 (6.1): a pool with a running worker is not woken: that worker looks again before it sleeps."""
    list_add_tail(item.entry, pool.worklist)
    if not pool.nr_running:
        if pool.worker:
            wake_up_process(pool.worker)


@kfunc
def __queue_work(cpu: int, item: work_struct) -> None:
    """workqueue.c:1421 (6.1), of a work item that nobody else runs."""
    pool = per_cpu(worker_pool, cpu)
    raw_spin_lock(pool.lock)
    insert_work(pool, item)
    raw_spin_unlock(pool.lock)


@kfunc
def queue_work_on(cpu: int, item: work_struct) -> bool:
    """workqueue.c:1539 (6.1): false if the item is queued already."""
    ret = False
    flags = local_irq_save()
    if not test_and_set_bit(WORK_STRUCT_PENDING_BIT, item.data):
        trace_queue_work_on(cpu)
        __queue_work(cpu, item)
        ret = True
    local_irq_restore(flags)
    return ret


@kfunc
def schedule_work_on(cpu: int, item: work_struct) -> bool:
    """include/linux/workqueue.h:555 (6.1): on system_wq."""
    return queue_work_on(cpu, item)


@kfunc
def set_work_pool_and_clear_pending(item: work_struct) -> None:
    """workqueue.c:656 (6.1): a plain store, then a barrier: whoever still saw the bit, and queued nothing, is seen by the item."""
    smp_wmb()
    atomic_set(item.data, 0)
    smp_mb()


@kfunc
def process_one_work(pool: worker_pool, item: work_struct) -> None:
    """workqueue.c:2184 (6.1): the pending bit is cleared first, so that the item may be queued while it runs."""
    list_del_init(item.entry)
    set_work_pool_and_clear_pending(item)
    raw_spin_unlock_irq(pool.lock)
    work("process_one_work")
    item.func(item)
    cond_resched()
    raw_spin_lock_irq(pool.lock)


@kfunc(entry=True)
def worker_thread(cpu: int) -> None:
    """workqueue.c:2381 (6.1): the body of kworker/CPU:0."""
    pool = table(worker_pool, cpu)
    while True:
        raw_spin_lock_irq(pool.lock)
        pool.nr_running = 1
        while not list_empty(pool.worklist):
            item = container_of(pool.worklist.next, work_struct, "entry")
            process_one_work(pool, item)
        # Still under the lock: who queues after this sees nobody running and wakes.
        pool.nr_running = 0
        __set_current_state(TASK_UNINTERRUPTIBLE)
        raw_spin_unlock_irq(pool.lock)
        schedule()


@kfunc
def unbind_workers(cpu: int) -> None:
    """workqueue.c:4981 (6.1): the pool's worker may run anywhere, so that what is queued does not wait for the CPU's return.

    C sets nr_running to 0 for good, as workers need not take turns any more; with one worker it says that this one is awake.
    """
    pool = per_cpu(worker_pool, cpu)
    raw_spin_lock_irq(pool.lock)
    wake_up_process(pool.worker)
    raw_spin_unlock_irq(pool.lock)
    unbind_task(pool.worker, cpu)


@kfunc
def rebind_workers(cpu: int) -> None:
    """workqueue.c:5019 (6.1): set_cpus_allowed_ptr() waits until the worker is where it belongs."""
    while not bind_task(per_cpu(worker_pool, cpu).worker, cpu):
        hotplug_wait()


@kfunc
def workqueue_offline_cpu(cpu: int) -> None:
    """workqueue.c:5158 (6.1), CPUHP_AP_WORKQUEUE_ONLINE on the way down, on the CPU itself: softnet's hotplug task does it."""
    unbind_workers(cpu)


@kfunc
def workqueue_online_cpu(cpu: int) -> None:
    """workqueue.c:5131 (6.1), CPUHP_AP_WORKQUEUE_ONLINE on the way up."""
    rebind_workers(cpu)
