# SPDX-License-Identifier: GPL-2.0-or-later
"""What drives the kernel's functions in a small configuration, what stands for its allocator, and the properties.

A driver is a task that sleeps until the search lets it start, then calls the shipped functions as their callers do, on skbs
of its own, and sleeps for good. Only the allocator below the network stack is replaced: an skb that is freed is cleared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc, kfunc
from softnet.lang.intrinsics import BUG_ON, READ_ONCE, address_of, cmpxchg, smp_processor_id, table, table_len

if TYPE_CHECKING:
    from softnet.kernel.include.linux.list import llist_head, llist_node
    from softnet.kernel.include.linux.netdevice import (
        NAPIF_STATE_SCHED,
        NAPIF_STATE_SCHED_THREADED,
        net_hotdata,
        softnet_data,
    )
    from softnet.kernel.include.linux.preempt import local_bh_disable, local_bh_enable
    from softnet.kernel.include.linux.skbuff import SKB_STATE_IN_USE, sk_buff
    from softnet.kernel.kernel.sched.core import schedule
    from softnet.kernel.kernel.softirq import irq_cpustat_t
    from softnet.kernel.net.core.dev_backlog import enqueue_to_backlog, netif_rx
    from softnet.kernel.net.core.skbuff import skb_attempt_defer_free
    from softnet.machine.globals import hw
    from softnet.machine.sched import set_task_state
    from softnet.machine.state import (
        CTX_TASK,
        NEVER,
        TASK_INTERRUPTIBLE,
        TASK_RUNNING,
        TASK_UNINTERRUPTIBLE,
        cpu_hw,
    )
    from softnet.verify.words import verify_env, vx_driver

VX_RESCHED = 1
VX_ORDER = 0
VX_SYSCTL = 0
VX_TICKS = 0

VX_FREE = 0
VX_NETIF_RX = 1
VX_RPS = 2
VX_IRQ = 3

# Properties by number: bits of what verify_state() and verify_terminal() find wrong.
VX_SCHED_WITHOUT_OWNER = 1
VX_BACKLOG_STUCK = 2
VX_LOST_KICK = 3
VX_DEADLOCK = 4
VX_LEAK = 5
VX_LINKED_NOT_SCHED = 6
VX_TWO_OWNERS = 7
VX_QUEUED_NOT_SCHED = 8
VX_OVER_LIMIT = 9
VX_PENDING_SOFTIRQ = 10
VX_DRIVER_STUCK = 11
VX_CSD_STUCK = 12
VX_COUNT_WITHOUT_LIST = 13
VX_POLL_LIST_STUCK = 14


@kfunc
def vx_driver_task(data: int) -> None:
    """The body of a driver; ``data`` is its row."""
    d = table(vx_driver, data)
    while d.started == 0:
        set_task_state(TASK_INTERRUPTIBLE)
        schedule()
    set_task_state(TASK_RUNNING)
    for i in range(d.count):
        skb = table(sk_buff, d.first + i)
        if d.kind == VX_FREE:
            skb_attempt_defer_free(skb)
        elif d.kind == VX_NETIF_RX:
            netif_rx(skb)
        else:
            local_bh_disable()
            enqueue_to_backlog(skb, d.target, None)
            local_bh_enable()


@kfunc
def hrtimer_interrupt() -> None:
    """The timer's interrupt, which nothing else uses here: a device without NAPI whose handler calls netif_rx()."""
    for i in range(table_len(vx_driver)):
        d = table(vx_driver, i)
        if d.kind == VX_IRQ and d.raised != 0 and d.target == smp_processor_id():
            d.raised = 0
            skb = table(sk_buff, d.first + d.started - 1)
            netif_rx(skb)


@kfunc
def vx_forget(skb: sk_buff) -> None:
    """A free skb's fields mean nothing."""
    skb.next = None
    skb.prev = None
    skb.alloc_cpu = 0
    skb.len = 0
    skb.users = 0
    skb.hdr = 0
    skb.dev = None
    skb.nr_packets = 0


@kfunc
def kmem_cache_free(skb: sk_buff) -> None:
    """mm/slub.c, as the end of an skb: state FREE was set before; a second free trips over it."""
    vx_forget(skb)


@kfunc
def napi_skb_cache_put(skb: sk_buff) -> None:
    """net/core/skbuff.c, as the end of an skb."""
    vx_forget(skb)


@kfunc
def llist_add(new: llist_node, head: llist_head) -> bool:
    """include/linux/llist.h, with the test that a node is not on the list already: I9, a csd is queued at most once."""
    while True:
        first = READ_ONCE(head.first)
        node: llist_node = first
        while node is not None:
            BUG_ON(node == new)
            node = node.next
        new.next = first
        if cmpxchg(head.first, first, new) == first:
            return first is None


@hwfunc
def jiffies() -> int:
    """Ticks that the search lets pass."""
    return table(verify_env, 0).jiffies


@hwfunc
def vx_env_enabled(action: int) -> bool:
    """What happens from outside: 0 time passes, 1 skb_defer_max is set."""
    e = table(verify_env, 0)
    if action == 0:
        return bool(VX_TICKS != 0 and e.ticks_left > 0)
    return bool(VX_SYSCTL != 0 and e.defer_max >= 0)


@hwfunc
def vx_env_perform(action: int) -> None:
    """Do it."""
    e = table(verify_env, 0)
    if VX_TICKS != 0:
        if action == 0:
            e.ticks_left -= 1
            e.jiffies += 1000
    if VX_SYSCTL != 0:
        if action == 1:
            table(net_hotdata, 0).sysctl_skb_defer_max = e.defer_max
            e.defer_max = -1


@hwfunc
def vx_linked(sd: softnet_data) -> bool:
    """Whether the CPU's backlog is on some list."""
    return address_of(sd.backlog.poll_list.next) != address_of(sd.backlog.poll_list)


@hwfunc
def verify_state() -> int:
    """What must hold in every state: a mask of the properties that do not hold."""
    e = table(verify_env, 0)
    found = 0
    for cpu in range(hw.nr_cpus):
        sd = table(softnet_data, cpu)
        state = sd.backlog.state
        if vx_linked(sd):
            if state & NAPIF_STATE_SCHED == 0:
                found |= 1 << VX_LINKED_NOT_SCHED
            if state & NAPIF_STATE_SCHED_THREADED != 0:
                found |= 1 << VX_TWO_OWNERS
        if sd.input_pkt_queue.qlen != 0 and state & NAPIF_STATE_SCHED == 0:
            found |= 1 << VX_QUEUED_NOT_SCHED
        if VX_SYSCTL == 0:
            if sd.defer_count > table(net_hotdata, 0).sysctl_skb_defer_max + e.nr_producers - 1:
                found |= 1 << VX_OVER_LIMIT
        if sd.defer_lock.owner == 0 and sd.defer_count != 0 and sd.defer_list is None:
            found |= 1 << VX_COUNT_WITHOUT_LIST
    return found


@hwfunc
def verify_terminal(blocked: int) -> int:
    """What must hold where nothing can happen any more: a mask of the properties that do not hold."""
    found = 0
    if blocked != 0:
        found |= 1 << VX_DEADLOCK
    kept = 0
    for cpu in range(hw.nr_cpus):
        c = table(cpu_hw, cpu)
        if c.t >= NEVER and (c.cur.kind != CTX_TASK or c.task != c.idle):
            found |= 1 << VX_DEADLOCK
        sd = table(softnet_data, cpu)
        if sd.input_pkt_queue.qlen != 0 or sd.process_queue.qlen != 0:
            found |= 1 << VX_BACKLOG_STUCK
        if not vx_linked(sd) and sd.backlog.state & NAPIF_STATE_SCHED != 0:
            found |= 1 << VX_SCHED_WITHOUT_OWNER
        if address_of(sd.poll_list.next) != address_of(sd.poll_list):
            found |= 1 << VX_POLL_LIST_STUCK
        if table(irq_cpustat_t, cpu).softirq_pending != 0:
            found |= 1 << VX_PENDING_SOFTIRQ
        if sd.defer_ipi_scheduled != 0 or sd.defer_csd.u_flags != 0 or sd.csd.u_flags != 0:
            found |= 1 << VX_CSD_STUCK
        if sd.defer_count > table(net_hotdata, 0).sysctl_skb_defer_max >> 1:
            found |= 1 << VX_LOST_KICK
        skb = sd.defer_list
        while skb is not None:
            kept += 1
            skb = skb.next
    for i in range(table_len(vx_driver)):
        d = table(vx_driver, i)
        if d.raised != 0 or (d.kind == VX_IRQ and d.started != d.count):
            found |= 1 << VX_DRIVER_STUCK
        if d.kind != VX_IRQ and d.task is not None and d.task.state != TASK_UNINTERRUPTIBLE:
            found |= 1 << VX_DRIVER_STUCK
    if found == 0:
        for i in range(table_len(sk_buff)):
            if table(sk_buff, i).state == SKB_STATE_IN_USE:
                kept -= 1
        if kept != 0:
            found |= 1 << VX_LEAK
    return found
