# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/cpu.c, kernel/stop_machine.c (6.1): taking a CPU down and bringing it up, in the order that softnet sees.

Down: smpboot threads park while the CPU is online; then the stopper takes it offline, flushing its function calls
(smpcfd_dying_cpu()) and moving tasks and timers; then the dead callbacks run on a surviving CPU, dev_cpu_dead() among them. The
cpuhp states in between, which do not touch the receive path, are not modelled, and waiting for completions is polling here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.smp import __flush_smp_call_function_queue
    from softnet.linux.kernel.smpboot import *
    from softnet.linux.net.core.dev import *
    from softnet.machine.hotplug import *
    from softnet.machine.interrupts import *
    from softnet.machine.sched import *
    from softnet.machine.state import *
    from softnet.machine.timers import *


HOTPLUG_POLL_NS = 10000
"""How often the hotplug task looks whether what it waits for has happened."""
STOP_LOOK_NS = 200
STOP_LOOKS = 10000
"""How often a stopper looks whether the other CPUs can come to theirs, and how many times."""


class cpuhp_event(Struct):
    """One write to /sys/devices/system/cpu/cpuN/online, from the scenario."""

    at_ns: int = private()
    cpu: int = private()
    online: int = private()


class cpu_stopper(Struct, per_cpu=True):
    """kernel/stop_machine.c: one per CPU; ``work`` is set while take_cpu_down() is asked for."""

    thread: task_struct = private()
    work: int = shared()


@kfunc(entry=True)
def cpuhp_thread(data: int) -> None:
    """Who writes to the online files: one event after the other."""
    for i in range(table_len(cpuhp_event)):
        event = table(cpuhp_event, i)
        if ktime_get() < event.at_ns:
            set_current_state(TASK_INTERRUPTIBLE)
            schedule_hrtimeout_abs(event.at_ns)
        if not event.online and cpu_online(event.cpu):
            cpu_down(event.cpu)
        elif event.online and not cpu_online(event.cpu):
            cpu_up(event.cpu)
    sleep_for_ever()


@kfunc
def hotplug_wait() -> None:
    """Wait a little for another CPU; C waits for completions."""
    set_current_state(TASK_INTERRUPTIBLE)
    schedule_hrtimeout_abs(ktime_get() + HOTPLUG_POLL_NS)


@kfunc
def smpboot_park_threads(cpu: int) -> None:
    """smpboot.c:236 (6.1): each family's thread parks; backlog_napi has no park callback, so SCHED may stay set."""
    for i in range(table_len(smp_hotplug_thread)):
        td = table(smpboot_thread_data, (table_len(smp_hotplug_thread) - 1 - i) * nr_cpu_ids() + cpu)
        if td.task:
            kthread_park(td.task)
            while not task_inactive(td.task, TASK_PARKED):
                hotplug_wait()


@kfunc
def smpboot_unpark_threads(cpu: int) -> None:
    """smpboot.c:219 (6.1)."""
    for i in range(table_len(smp_hotplug_thread)):
        td = table(smpboot_thread_data, i * nr_cpu_ids() + cpu)
        if td.task:
            kthread_unpark(td.task)


@kfunc
def cpu_down(cpu: int) -> None:
    """cpu.c _cpu_down() (6.1); sched_cpu_deactivate() comes first."""
    set_cpu_active(cpu, False)
    smpboot_park_threads(cpu)
    takedown_cpu(cpu)
    trace_cpu_offline(cpu)
    dev_cpu_dead(cpu)


@kfunc
def takedown_cpu(cpu: int) -> None:
    """cpu.c takedown_cpu() (6.1): the stopper of the CPU takes it down; then wait for its idle task to report dead."""
    stopper = table(cpu_stopper, cpu)
    WRITE_ONCE(stopper.work, 1)
    wake_up_process(stopper.thread)
    while not cpu_is_dead(cpu):
        hotplug_wait()


@kfunc(entry=True)
def cpu_stopper_thread(data: int) -> None:
    """kernel/stop_machine.c: migration/N, above every other task; ``data`` is its CPU."""
    stopper = table(cpu_stopper, data)
    while True:
        set_current_state(TASK_INTERRUPTIBLE)
        if not READ_ONCE(stopper.work):
            schedule()
            continue
        set_current_state(0)
        # sched_cpu_wait_empty(): tasks that may not move must first leave their migrate_disable() sections.
        while rq_has_pinned(data):
            hotplug_wait()
        stop_machine_begin()
        take_cpu_down()
        stop_machine_end()
        WRITE_ONCE(stopper.work, 0)


@kfunc
def stop_machine_begin() -> None:
    """stop_machine.c multi_cpu_stop(): every other CPU comes to its stopper when it can be preempted, and spins there.

    Here this CPU waits until they all can; what follows takes no time, so they need not be held (the explorer holds them). A CPU
    that serves softirqs without end has moments in between that are too short to be seen from here: it is waited for 2 ms.
    """
    looks = 0
    while looks < STOP_LOOKS and not others_preemptible():
        work_ns(STOP_LOOK_NS)
        looks += 1


@kfunc
def stop_machine_end() -> None:
    """stop_machine.c multi_cpu_stop(): MULTI_STOP_EXIT."""


@kfunc
def take_cpu_down() -> None:
    """cpu.c take_cpu_down() (6.1), on the dying CPU: offline, function calls flushed, tasks and timers moved."""
    local_irq_disable()
    cpu_disable()
    # smpcfd_dying_cpu(): what was sent before the CPU left the mask is run, not lost.
    __flush_smp_call_function_queue(False)
    migrate_dying_cpu()
    local_irq_enable()


@kfunc
def arch_cpu_idle_dead() -> None:
    """kernel/sched/idle.c do_idle(): a CPU that is offline stops in its idle task, and goes on here when it is brought up."""
    while not cpu_online(smp_processor_id()):
        cpu_play_dead()
        suspend()


@kfunc
def cpu_up(cpu: int) -> None:
    """cpu.c _cpu_up() (6.1): the CPU starts, then its threads are unparked; sched_cpu_activate() comes last."""
    cpu_bring_up(cpu)
    trace_cpu_online(cpu)
    smpboot_unpark_threads(cpu)
    set_cpu_active(cpu, True)
