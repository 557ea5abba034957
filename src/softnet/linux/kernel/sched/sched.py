# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/sched/sched.h, include/linux/sched.h (6.1): what the scheduling classes keep of a task and of a CPU.

The machine keeps the lists of waiting tasks, switches and interrupts (machine/runqueue.py, machine/sched.py); who is to run, and
when, is decided in fair.py, rt.py and core.py. ``rq`` is the machine's cpu_hw. Its functions run with rq->lock held and interrupts
off in the kernel: nothing comes between, so they are the machine's kind of function. That lock's contention costs nothing here.

There are no task groups: every fair task stands in the CPU's own cfs_rq. On a real system tasks of one session or service form a
group (CONFIG_SCHED_AUTOGROUP, cpu.weight), and groups compete as single entities do here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, hw

if TYPE_CHECKING:
    from softnet.machine.state import hrtimer

ENQUEUE_WAKEUP = 0x01
ENQUEUE_RESTORE = 0x02
ENQUEUE_MOVE = 0x04
ENQUEUE_HEAD = 0x10
ENQUEUE_MIGRATED = 0x40
DEQUEUE_SLEEP = 0x01
DEQUEUE_SAVE = 0x02
DEQUEUE_MOVE = 0x04

NICE_0_LOAD = 1024
"""Without the 10 bits by which 64-bit kernels scale weights up (scale_load()): no group divides them further here."""
WMULT_CONST = 0xFFFFFFFF
WMULT_SHIFT = 32


class load_weight(Struct):
    """include/linux/sched.h: a weight and 2**32 / weight."""

    weight: int = hw()
    """1024 for nice 0."""
    inv_weight: int = hw()
    """0 where it must be computed first."""


class sched_entity(Struct):
    """include/linux/sched.h: a task in the fair class. Times are ns, virtual ones weighted by 1024 / weight."""

    load: load_weight = embed()
    on_rq: bool = hw()
    """Whether it competes: it waits in the tree, or runs."""
    exec_start: int = hw(statistic=True)
    """When it was charged last."""
    sum_exec_runtime: int = hw(statistic=True)
    """How long it ran in all."""
    prev_sum_exec_runtime: int = hw(statistic=True)
    """That when it was picked last."""
    vruntime: int = hw(statistic=True)
    """How long it ran in virtual time."""


class sched_rt_entity(Struct):
    """include/linux/sched.h: a task in the real-time class."""

    time_slice: int = hw()
    """SCHED_RR: ticks that are left."""
    on_rq: bool = hw()
    """Whether it waits or runs."""
    requeued: bool = hw()
    """requeue_task_rt() put the running task behind its equals."""


class cfs_rq(Struct):
    """kernel/sched/sched.h: the fair tasks of a CPU. The tree is the machine's list cpu_hw.fair_head, in the tree's order."""

    load: load_weight = embed()
    """The sum of the weights, with the running one's."""
    nr_running: int = hw()
    """How many compete, the running one among them."""
    min_vruntime: int = hw(init=-(1 << 20), statistic=True)
    """The least vruntime among them; it never goes back."""
    curr: sched_entity = hw()
    """The one that runs, which is not in the tree; None while no fair task runs."""
    next: sched_entity = hw()
    """The buddy that is to run next if that is not unfair."""
    last: sched_entity = hw()
    """The buddy that was preempted last."""


class rt_rq(Struct):
    """kernel/sched/sched.h: the real-time tasks of a CPU. Those that wait are the machine's list cpu_hw.rt_head."""

    rt_nr_running: int = hw()
    """How many wait or run."""
    rt_time: int = hw(statistic=True)
    """How long they ran in this period, in ns."""
    rt_throttled: bool = hw(statistic=True)
    """They had their share of it, and wait for the next."""


class rt_bandwidth(Struct):
    """kernel/sched/sched.h (6.1): sched_rt_period_us and sched_rt_runtime_us; one, def_rt_bandwidth."""

    rt_period: int = hw(init=1000000000)
    """In ns."""
    rt_runtime: int = hw(init=950000000)
    """In ns."""
    rt_period_active: bool = hw(statistic=True)
    rt_period_timer: hrtimer = embed()


class sched_sysctls(Struct):
    """Tunables of kernel/sched/fair.c in ns: one row. Those of /sys/kernel/debug/sched are here as boot leaves them."""

    sysctl_sched_latency: int = hw(init=6000000)
    sysctl_sched_min_granularity: int = hw(init=750000)
    sysctl_sched_wakeup_granularity: int = hw(init=1000000)
    sched_nr_latency: int = hw(init=8)
