# SPDX-License-Identifier: GPL-2.0-or-later
"""What linking puts in its place: the singleton ``hw``, and the functions of the kernel that the machine calls.

They are named here for the reader and the type checker. The machine says what happens (an interrupt, a wakeup, a tick, a switch
that is due); which task it is to be is the kernel's to say (linux/kernel/sched).
"""

from __future__ import annotations

from typing import Any, cast

from softnet.machine.state import cpu_hw, engine_state, task_struct

hw: engine_state = cast(Any, None)


def _linked() -> TypeError:
    return TypeError("the kernel's functions have a meaning only when linked")


def do_interrupt(vector: int, data: int) -> None:
    """The kernel's entry for an interrupt; linking puts linux/arch/x86/kernel/irq.py in its place."""
    raise _linked()


def ttwu_do_activate(rq: cpu_hw, p: task_struct, migrated: bool) -> None:
    """A sleeping task joins the queue of that CPU and may preempt there; linux/kernel/sched/core.py, as all of these."""
    raise _linked()


def ttwu_queue_cond(p: task_struct, cpu: int) -> bool:
    """Whether a sleeping task is queued on the wake list of the CPU chosen for it."""
    raise _linked()


def ttwu_wakelist(rq: cpu_hw, p: task_struct, migrated: bool) -> None:
    """The CPU is told that a task is about to stand on its wake list."""
    raise _linked()


def ttwu_runnable(rq: cpu_hw, p: task_struct) -> None:
    """A task is woken that has not left its queue."""
    raise _linked()


def try_to_block_task(rq: cpu_hw, p: task_struct) -> None:
    """The running task sleeps."""
    raise _linked()


def pick_next_task(rq: cpu_hw, prev: task_struct) -> task_struct:
    """The task to run after ``prev``, taken off the lists; None when nobody waits here."""
    raise _linked()


def set_next_task_idle(rq: cpu_hw, next: task_struct) -> None:
    """The idle task is next."""
    raise _linked()


def scheduler_tick(rq: cpu_hw) -> None:
    """A tick struck the CPU."""
    raise _linked()


def set_task_cpu(p: task_struct, new_cpu: int) -> None:
    """A sleeping task is about to wake on another CPU than its last."""
    raise _linked()


def move_queued_task(rq: cpu_hw, p: task_struct, new_rq: cpu_hw) -> None:
    """A waiting task goes to another CPU's queue."""
    raise _linked()


def can_migrate_task(p: task_struct) -> bool:
    """Whether a waiting task may be pulled to another CPU, its affinity apart."""
    raise _linked()


def rt_mutex_setprio(p: task_struct, prio: int) -> None:
    """The effective priority of a task changes."""
    raise _linked()


def update_sysctl(nr_online: int) -> None:
    """The scheduler's tunables follow the number of CPUs."""
    raise _linked()
