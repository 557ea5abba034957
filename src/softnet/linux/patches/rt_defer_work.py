# SPDX-License-Identifier: GPL-2.0-or-later
"""net: Avoid the IPI to free the: the PREEMPT_RT patch queue's own answer to what the backlog threads solved in v6.10.

An IPI that raises NET_RX wakes ksoftirqd on PREEMPT_RT, which then takes all softirqs away from the threaded interrupts. So
the kick queues a work item on the CPU, and a kworker flushes the list there, in task context: no IPI and no NET_RX. It
stood in the queue from v6.0-rt to v6.8-rt and never went into mainline. Read in Debian's linux 6.1.176-1,
debian/patches-rt/0009-net-Avoid-the-IPI-to-free-the.patch (v6.1.176-rt64).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.netdevice import NAPI_POLL_WEIGHT, net_hotdata
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.linux.skbuff import SKB_NODEFER_CPU, SKB_NODEFER_FULL, sk_buff, skb_queue_head_init
    from softnet.linux.include.linux.spinlock import *
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.cpu import smpboot_park_threads, smpboot_unpark_threads, takedown_cpu
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.workqueue import *
    from softnet.linux.net.core.dev import dev_cpu_dead, init_gro_hash, skb_defer_free_flush
    from softnet.linux.net.core.dev_backlog import process_backlog, rps_trigger_softirq
    from softnet.linux.net.core.skbuff import __kfree_skb
    from softnet.machine.hotplug import cpu_bring_up
    from softnet.machine.interrupts import *


PATCH = {
    "commit": "13c8fbb09c28",
    "subject": "net: Avoid the IPI to free the",
    "since": "6.1-rt",
    "link": "https://git.kernel.org/cgit/linux/kernel/git/rt/linux-stable-rt.git/commit?id=13c8fbb09c281e1993213fce4248a44d7990c8af",
}


class softnet_data(Struct, extends=True):
    """include/linux/netdevice.h: instead of defer_csd, which stays here without a user."""

    defer_work: work_struct = embed(line=18)


@kfunc
def trigger_rx_softirq(defer_work: work_struct) -> None:
    """net/core/dev.c (6.1-rt), in a kworker: the flag first, so that a skb that comes later may kick again."""
    sd = container_of(defer_work, softnet_data, "defer_work")
    trace_trigger_rx_softirq(sd.cpu)
    smp_store_release(sd.defer_ipi_scheduled, 0)
    local_bh_disable()
    skb_defer_free_flush(sd)
    local_bh_enable()


@kfunc
def net_dev_init(cpu: int) -> None:
    """net/core/dev.c:11592 (6.1): INIT_WORK() in the place of INIT_CSD()."""
    sd = per_cpu(softnet_data, cpu)
    skb_queue_head_init(sd.input_pkt_queue)
    skb_queue_head_init(sd.process_queue)
    INIT_LIST_HEAD(sd.poll_list)
    INIT_LIST_HEAD(sd.local_list)
    INIT_LIST_HEAD(sd.local_repoll)
    sd.csd.func = rps_trigger_softirq
    sd.csd.info = sd
    sd.cpu = cpu
    INIT_LIST_HEAD(sd.defer_work.entry)
    sd.defer_work.func = trigger_rx_softirq
    spin_lock_init(sd.defer_lock)
    init_gro_hash(sd.backlog)
    INIT_LIST_HEAD(sd.backlog.rx_list)
    INIT_LIST_HEAD(sd.backlog.rx_sublist)
    sd.backlog.poll = process_backlog
    sd.backlog.weight = NAPI_POLL_WEIGHT
    INIT_LIST_HEAD(sd.backlog.poll_list)


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """net/core/skbuff.c:6721 (6.1): as in 6.1, but the kick is a work item."""
    cpu = skb.alloc_cpu
    if WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu) or cpu == raw_smp_processor_id():
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_CPU)
        __kfree_skb(skb)
        return

    sd = per_cpu(softnet_data, cpu)
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    if READ_ONCE(sd.defer_count) >= defer_max:
        trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
        __kfree_skb(skb)
        return

    work("skb_attempt_defer_free")
    flags = spin_lock_irqsave(sd.defer_lock)
    kick = sd.defer_count == defer_max >> 1
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    skb.next = sd.defer_list
    WRITE_ONCE(sd.defer_list, skb)
    trace_skb_attempt_defer_free(skb, cpu, sd.defer_count)
    spin_unlock_irqrestore(sd.defer_lock, flags)

    if kick:
        if not cmpxchg(sd.defer_ipi_scheduled, 0, 1):
            trace_kick_defer_list_purge(cpu)
            schedule_work_on(cpu, sd.defer_work)
        else:
            trace_kick_coalesced(cpu)


@kfunc
def cpu_down(cpu: int) -> None:
    """kernel/cpu.c _cpu_down() (6.1), with the workers that this kernel has."""
    workqueue_offline_cpu(cpu)
    smpboot_park_threads(cpu)
    takedown_cpu(cpu)
    trace_cpu_offline(cpu)
    dev_cpu_dead(cpu)


@kfunc
def cpu_up(cpu: int) -> None:
    """kernel/cpu.c _cpu_up() (6.1), likewise."""
    cpu_bring_up(cpu)
    trace_cpu_online(cpu)
    smpboot_unpark_threads(cpu)
    workqueue_online_cpu(cpu)
