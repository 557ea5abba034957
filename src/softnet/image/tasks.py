# SPDX-License-Identifier: GPL-2.0-or-later
"""The tasks of an image: what boot asks for, and how it is created."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from softnet.errors import SoftnetError
from softnet.image.image import TaskInfo
from softnet.linux.kernel.sched.core import sched_prio_to_weight, sched_prio_to_wmult
from softnet.linux.kernel.smp import CSD_TYPE_TTWU
from softnet.machine import state

if TYPE_CHECKING:
    from softnet.image.image import Image

POLICIES = {"other": state.SCHED_NORMAL, "fifo": state.SCHED_FIFO, "rr": state.SCHED_RR, "idle": state.SCHED_IDLE_TASK}
DEFAULT_PRIO = 120
"""include/linux/sched/prio.h: of a fair task with nice 0."""
NICE_OFFSET = 20
"""Of nice 0 in the tables of weights."""

TIME_CLASS_OF_KIND = {
    "ksoftirqd": state.TIME_KSOFTIRQD, "backlog_napi": state.TIME_BACKLOG_NAPI, "irq": state.TIME_IRQ_THREAD,
    "napi": state.TIME_NAPI_THREAD, "app": state.TIME_SYSTEM, "sender": state.TIME_SYSTEM, "cyclictest": state.TIME_TASK,
    "hog": state.TIME_TASK, "hotplug": state.TIME_TASK, "kworker": state.TIME_TASK, "idle": state.TIME_IDLE,
}  # fmt: skip


class TaskSpec(NamedTuple):
    """A task that the image needs.

    ``cpus`` are those it may use, the first is where it starts; ``policy`` is "other", "fifo" or "rr" with ``priority``
    1..99 and ``nice``, or "idle"; ``thread_fn`` is the kernel function that is its body, called with ``data``, a row number.
    ``kind`` is what its time counts as: ksoftirqd, backlog_napi, kworker, irq, napi, idle, app, sender, cyclictest or hog.
    ``store`` gives the created task to whom the kernel keeps a pointer for.
    """

    comm: str
    cpus: tuple[int, ...]
    policy: str
    priority: int
    nice: int
    thread_fn: str
    data: int
    kind: str
    store: Callable[[Any], None] | None = None


def idle_task(cpu: int) -> TaskSpec:
    """What a CPU runs when nothing else can."""
    return TaskSpec(f"swapper/{cpu}", (cpu,), "idle", 0, 0, "cpu_startup_entry", cpu, "idle")


def create_task(image: Image, spec: TaskSpec) -> None:
    """Create the next task of an image, and give it to whoever the kernel keeps a pointer for.

    It is runnable at time 0 on the first CPU that it may use, or that CPU's idle task.
    """
    if not spec.cpus:
        raise SoftnetError(
            "a task may run on no CPU",
            where=spec.comm,
            found="an empty CPU mask",
            expected="at least one CPU",
        )
    index, first = len(image.tasks), spec.cpus[0]
    fair = spec.policy in ("other", "idle")
    prio = DEFAULT_PRIO + spec.nice if fair else 99 - spec.priority
    policy, time_class = POLICIES[spec.policy], TIME_CLASS_OF_KIND[spec.kind]
    p = image.ref("task_struct", index)
    ctx = image.ref("context", 2 * image.nr_cpus + index)
    ctx.id, ctx.kind, ctx.cpu, ctx.task = 2 * image.nr_cpus + index, state.CTX_TASK, first, p
    p.pid, p.ctx, p.cpu, p.policy, p.data = index + 1, ctx, first, policy, spec.data
    p.prio = p.normal_prio = prio
    p.wake_entry.type = CSD_TYPE_TTWU
    set_load_weight(p, spec.nice)
    p.time_class = ctx.time_class = time_class
    p.thread_fn = image.linked.kernel[spec.thread_fn]
    for cpu in spec.cpus:
        image.linked.machine["set_allowed"](p, cpu)
    c = image.ref("cpu_hw", first)
    if policy == state.SCHED_IDLE_TASK:
        c.idle = c.task = p
        c.cur, p.on_cpu = ctx, 1
    else:
        # As after a sleep: it was created long before time begins.
        image.memory[image.engine_word("cpu")] = first
        image.linked.machine["ttwu_do_activate"](c, p, 0)
        image.memory[image.engine_word("cpu")] = 0
        c.need_resched = 1
    image.tasks.append(TaskInfo(index + 1, spec.comm, spec.cpus, policy, prio, spec.thread_fn, spec.data, time_class))
    if spec.store is not None:
        spec.store(p)


def set_load_weight(p: Any, nice: int) -> None:
    """The weight of a nice value; kernel/sched/core.c."""
    load = p.se.load
    load.weight, load.inv_weight = sched_prio_to_weight[nice + NICE_OFFSET], sched_prio_to_wmult[nice + NICE_OFFSET]
