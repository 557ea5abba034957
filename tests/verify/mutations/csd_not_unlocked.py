# SPDX-License-Identifier: GPL-2.0-or-later
"""A function call is run and its csd stays locked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import WARN_ON_ONCE, container_of, smp_processor_id, this_cpu_ptr, trace
    from softnet.linux.include.linux.list import llist_del_all, llist_reverse_order
    from softnet.linux.kernel.smp import call_single_data, call_single_queue
    from softnet.machine.interrupts import cpu_online


@kfunc
def __flush_smp_call_function_queue(warn_cpu_offline: bool) -> None:
    """smp.c:574 (6.1), interrupts off: run the queue, oldest first: SYNC, then ASYNC and irq_work, then wakeups.

    An ASYNC csd is unlocked before its function runs: it may be queued again meanwhile.
    """
    entry = llist_del_all(this_cpu_ptr(call_single_queue).head)
    entry = llist_reverse_order(entry)
    WARN_ON_ONCE(warn_cpu_offline and entry is not None and not cpu_online(smp_processor_id()))
    while entry is not None:
        csd = container_of(entry, call_single_data, "llist")
        entry = entry.next
        info = csd.info
        func = csd.func
        trace("csd_function_entry")
        func(info)
        trace("csd_function_exit")
