# SPDX-License-Identifier: GPL-2.0-or-later
"""include/linux/sched.h struct task_struct, kernel/sched/sched.h struct rq (6.1): the machine's tasks and CPUs in each class.

Nobody imports these names from here: they are the machine's, with more fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, hw

if TYPE_CHECKING:
    from softnet.linux.kernel.sched.sched import *
    from softnet.linux.kernel.smp import call_single_data


class cpu_hw(Struct, extends=True):
    """kernel/sched/sched.h, struct rq: the queues of the classes."""

    cfs: cfs_rq = embed()
    rt: rt_rq = embed()


class task_struct(Struct, extends=True):
    """include/linux/sched.h: the task in each class."""

    se: sched_entity = embed()
    rt: sched_rt_entity = embed()
    wake_entry: call_single_data = embed(line=5)
    """Its node on a CPU's queue of function calls, while it is being woken (__call_single_node in the kernel)."""
    sched_remote_wakeup: bool = hw()
    """Whether that wakes it on another CPU than its last."""
