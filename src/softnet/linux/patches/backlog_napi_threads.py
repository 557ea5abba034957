# SPDX-License-Identifier: GPL-2.0-or-later
"""net: Allow to use SMP threads for backlog NAPI. The series, 2/4.

backlog_napi/N polls CPU N's backlog: by the boot argument thread_backlog_napi, and always on PREEMPT_RT, where an RPS
IPI would raise NET_RX from hard interrupt context and so wake ksoftirqd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.drivers.net.softnet_nic import nic_vector
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.softirq import *
    from softnet.linux.kernel.softirq import __raise_softirq_irqoff
    from softnet.linux.net.core.dev import __napi_poll, __napi_schedule_irqoff, napi_thread_wait, skb_defer_free_flush
    from softnet.linux.net.core.dev_backlog import net_rps_action_and_irq_enable, net_rps_send_ipi
    from softnet.machine.state import *


PATCH = {
    "commit": "dad6b9770263",
    "subject": "net: Allow to use SMP threads for backlog NAPI.",
    "since": "6.10",
    "link": "https://lore.kernel.org/r/20240325074943.289909-3-bigeasy@linutronix.de",
}


class backlog_napi(Struct, per_cpu=True):
    """net/core/dev.c:4681 (6.12): DEFINE_PER_CPU(struct task_struct *, backlog_napi)."""

    task: task_struct = private()


@kfunc
def use_backlog_threads() -> bool:
    """net/core/dev.c:215 (6.12): the static key of the boot argument; always true on PREEMPT_RT."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        return True
    return bool(table(net_hotdata, 0).use_backlog_threads_key)


@kfunc
def ____napi_schedule(sd: softnet_data, napi: napi_struct) -> None:
    """net/core/dev.c:4688 (6.12), interrupts off: this CPU's own backlog stays in this CPU's softirq."""
    trace_napi_schedule(napi, smp_processor_id())
    if test_bit(NAPI_STATE_THREADED, napi.state):
        thread = READ_ONCE(napi.thread)
        if thread:
            # Waking a thread for a packet that this CPU itself queued costs loopback traffic its throughput.
            if not (use_backlog_threads() and thread == this_cpu_ptr(backlog_napi).task):
                set_bit(NAPI_STATE_SCHED_THREADED, napi.state)
                if wake_up_process(thread) and use_backlog_threads() and not napi.dev:
                    trace_backlog_napi_wake(container_of(napi, softnet_data, "backlog").cpu)
                return

    list_add_tail(napi.poll_list, sd.poll_list)
    if not sd.in_net_rx_action:
        raise_softirq_irqoff(NET_RX_SOFTIRQ)


@kfunc
def napi_schedule_rps(sd: softnet_data) -> None:
    """net/core/dev.c:4948 (6.12): with threads another CPU's backlog is scheduled from here, no IPI list."""
    mysd = this_cpu_ptr(softnet_data)
    trace_napi_schedule_rps(sd.cpu)
    if IS_ENABLED(CONFIG_RPS):
        if sd != mysd:
            if use_backlog_threads():
                __napi_schedule_irqoff(sd.backlog)
                return
            sd.rps_ipi_next = mysd.rps_ipi_list
            mysd.rps_ipi_list = sd
            if not mysd.in_net_rx_action and not mysd.in_napi_threaded_poll:
                __raise_softirq_irqoff(NET_RX_SOFTIRQ)
            return
    __napi_schedule_irqoff(mysd.backlog)


@kfunc
def sd_has_rps_ipi_waiting(sd: softnet_data) -> bool:
    """net/core/dev.c:6270 (6.12)."""
    if IS_ENABLED(CONFIG_RPS):
        return bool(not use_backlog_threads() and sd.rps_ipi_list)
    return False


@kfunc
def process_backlog_retire_sched(napi: napi_struct) -> None:
    """net/core/dev.c:6318 (6.12), in process_backlog(): THREADED survives the end of a poll."""
    napi.state &= NAPIF_STATE_THREADED


@kfunc
def dev_cpu_dead_backlog(napi: napi_struct) -> None:
    """net/core/dev.c:11955 (6.12)."""
    napi.state &= NAPIF_STATE_THREADED


@kfunc
def dev_cpu_dead_send_ipi(oldsd: softnet_data) -> None:
    """net/core/dev.c:11963 (6.12): with threads there are no IPIs pending."""
    if not use_backlog_threads():
        if IS_ENABLED(CONFIG_RPS):
            remsd = oldsd.rps_ipi_list
            oldsd.rps_ipi_list = None
            net_rps_send_ipi(remsd)


@kfunc
def napi_threaded_poll_loop(napi: napi_struct) -> None:
    """net/core/dev.c:7055 (6.12), taken out of napi_threaded_poll() for both kinds of thread."""
    while True:
        local_bh_disable()
        sd = this_cpu_ptr(softnet_data)
        sd.in_napi_threaded_poll = True
        __napi_poll(napi)
        repoll = sd.do_repoll
        sd.in_napi_threaded_poll = False
        barrier()

        if sd_has_rps_ipi_waiting(sd):
            local_irq_disable()
            net_rps_action_and_irq_enable(sd)
        skb_defer_free_flush(sd)
        local_bh_enable()
        if not repoll:
            break
        cond_resched()


@kfunc(entry=True)
def napi_threaded_poll(data: int) -> None:
    """net/core/dev.c:7094 (6.12)."""
    napi = table(nic_vector, data).napi
    while True:
        napi_thread_wait(napi)
        napi_threaded_poll_loop(napi)


@kfunc(entry=True)
def backlog_napi_should_run(cpu: int) -> bool:
    """net/core/dev.c:12399 (6.12): SCHED_THREADED; SCHED alone may be the softirq's."""
    return test_bit(NAPI_STATE_SCHED_THREADED, per_cpu(softnet_data, cpu).backlog.state)


@kfunc(entry=True)
def run_backlog_napi(cpu: int) -> None:
    """net/core/dev.c:12407 (6.12)."""
    napi_threaded_poll_loop(per_cpu(softnet_data, cpu).backlog)


@kfunc(entry=True)
def backlog_napi_setup(cpu: int) -> None:
    """net/core/dev.c:12414 (6.12): at the thread's first run; until then the backlog is the softirq's."""
    napi = per_cpu(softnet_data, cpu).backlog
    napi.thread = this_cpu_ptr(backlog_napi).task
    set_bit(NAPI_STATE_THREADED, napi.state)
