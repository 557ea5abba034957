# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/smp.c (6.1): function calls on another CPU.

CSD_TYPE_ASYNC and CSD_TYPE_TTWU exist here: function calls, and tasks on the wake list (kernel/sched/core.c). Nothing in the model
calls synchronously or queues irq_work, so the pass for SYNC entries of __flush_smp_call_function_queue() has nothing to find and
stands in its docstring only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, fnptr, kfunc, private, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.softirq import *
    from softnet.machine.interrupts import *


CSD_FLAG_LOCK = 1
CSD_TYPE_ASYNC = 0x00
CSD_TYPE_TTWU = 0x30
TRACED_SCHED_TTWU_PENDING = 3
"""As the argument ``function`` of the events of csd; 0 for all others, which other events tell apart."""
EBUSY = 16
ENXIO = 6


class call_single_data(Struct):
    """include/linux/smp.h, struct __call_single_data. ``u_flags``: CSD_FLAG_LOCK from the request to the unlock."""

    llist: llist_node = embed(line=0)
    u_flags: int = shared(line=0)
    func: fnptr = private()
    info: softnet_data = private()
    type: int = private()
    """CSD_TYPE(): u_flags & CSD_FLAG_TYPE_MASK, which never changes."""


class call_single_queue(Struct, per_cpu=True):
    """smp.c:46 (6.1): one per CPU."""

    head: llist_head = embed()


@kfunc
def csd_unlock(csd: call_single_data) -> None:
    """smp.c:470 (6.1)."""
    WARN_ON_ONCE(not (csd.u_flags & CSD_FLAG_LOCK))
    smp_store_release(csd.u_flags, 0)


@kfunc
def send_call_function_single_ipi(cpu: int) -> None:
    """kernel/sched/core.c:3792 (6.1): a CPU that idles polling only needs NEED_RESCHED, not an interrupt."""
    if not set_nr_if_polling(cpu):
        arch_send_call_function_single_ipi(cpu)
    else:
        trace_sched_wake_idle_without_ipi(cpu)


@kfunc
def __smp_call_single_queue(cpu: int, node: llist_node) -> None:
    """smp.c:482 (6.1): only who finds the queue empty sends the interrupt. The event is 6.5's."""
    if container_of(node, call_single_data, "llist").type == CSD_TYPE_TTWU:
        trace_csd_queue_cpu(cpu, TRACED_SCHED_TTWU_PENDING)
    else:
        trace_csd_queue_cpu(cpu)
    if llist_add(node, per_cpu(call_single_queue, cpu).head):
        send_call_function_single_ipi(cpu)


@kfunc
def generic_exec_single(cpu: int, csd: call_single_data) -> int:
    """smp.c:517 (6.1): here at once, interrupts off; there through its queue; -ENXIO for an offline CPU."""
    if cpu == smp_processor_id():
        # The unlock may come first: nobody else can run this CPU's csd.
        csd_unlock(csd)
        flags = local_irq_save()
        csd.func(csd.info)
        local_irq_restore(flags)
        return 0
    if cpu >= nr_cpu_ids() or not cpu_online(cpu):
        csd_unlock(csd)
        return -ENXIO
    __smp_call_single_queue(cpu, csd.llist)
    return 0


@kfunc
def smp_call_function_single_async(cpu: int, csd: call_single_data) -> int:
    """smp.c:818 (6.1): do not wait; -EBUSY while the csd is in flight.

    The test of the lock bit and its setting are two operations: callers must serialise among themselves.
    """
    err = 0
    preempt_disable()
    work("smp_call_function_single_async")
    if csd.u_flags & CSD_FLAG_LOCK:
        err = -EBUSY
    else:
        csd.u_flags = CSD_FLAG_LOCK
        smp_wmb()
        err = generic_exec_single(cpu, csd)
    preempt_enable()
    return err


@kfunc
def generic_smp_call_function_single_interrupt() -> None:
    """smp.c:553 (6.1): the interrupt."""
    __flush_smp_call_function_queue(True)


@kfunc
def __flush_smp_call_function_queue(warn_cpu_offline: bool) -> None:
    """smp.c:574 (6.1), interrupts off: run the queue, oldest first: SYNC, then ASYNC and irq_work, then wakeups.

    An ASYNC csd is unlocked before its function runs: it may be queued again meanwhile.
    """
    entry = llist_del_all(this_cpu_ptr(call_single_queue).head)
    entry = llist_reverse_order(entry)
    WARN_ON_ONCE(warn_cpu_offline and entry and not cpu_online(smp_processor_id()))
    prev: llist_node = None
    node = entry
    while node:
        csd = container_of(node, call_single_data, "llist")
        node = node.next
        if csd.type == CSD_TYPE_TTWU:
            prev = csd.llist
            continue
        if prev:
            prev.next = node
        else:
            entry = node
        info = csd.info
        func = csd.func
        csd_unlock(csd)
        trace_csd_function_entry()
        func(info)
        trace_csd_function_exit()
    if entry:
        trace_csd_function_entry(TRACED_SCHED_TTWU_PENDING)
        sched_ttwu_pending(entry)
        trace_csd_function_exit(TRACED_SCHED_TTWU_PENDING)


@kfunc
def flush_smp_call_function_queue() -> None:
    """smp.c:710 (6.1): from the idle task, which a polling CPU leaves without an interrupt."""
    if llist_empty(this_cpu_ptr(call_single_queue).head):
        return
    flags = local_irq_save()
    # What was pending already: PREEMPT_RT must tell it from what the calls raised.
    was_pending = local_softirq_pending()
    __flush_smp_call_function_queue(True)
    if local_softirq_pending():
        do_softirq_post_smp_call_flush(was_pending)
    local_irq_restore(flags)
