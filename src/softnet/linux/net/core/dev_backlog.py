# SPDX-License-Identifier: GPL-2.0-or-later
"""net/core/dev.c (6.1), the backlog: its lock, enqueueing, RPS and RFS, the IPIs, polling, the defer list's kick.

The rest of dev.c stands in dev.py (NAPI, net_rx_action, threads) and dev_receive.py (delivery to the protocols).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.lang.intrinsics import __test_and_set_bit
    from softnet.linux.config import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.include.linux.skbuff import __skb_dequeue, __skb_queue_tail
    from softnet.linux.include.trace.events import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.kernel.smp import *
    from softnet.linux.kernel.softirq import *
    from softnet.linux.kernel.softirq import __raise_softirq_irqoff
    from softnet.linux.net.core.dev import ____napi_schedule, __napi_schedule_irqoff
    from softnet.linux.net.core.dev_receive import __netif_receive_skb
    from softnet.linux.net.core.skbuff import *
    from softnet.machine.interrupts import *


@kfunc
def rps_lock_irqsave(sd: softnet_data) -> int:
    """dev.c:221 (6.1), void rps_lock_irqsave(struct softnet_data *sd, unsigned long *flags).

    The backlog's lock. Without RPS only this CPU queues, so interrupts off were enough.
    """
    if IS_ENABLED(CONFIG_RPS):
        return spin_lock_irqsave(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        return local_irq_save()
    return 0


@kfunc
def rps_lock_irq_disable(sd: softnet_data) -> None:
    """dev.c:230 (6.1)."""
    if IS_ENABLED(CONFIG_RPS):
        spin_lock_irq(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_disable()


@kfunc
def rps_unlock_irq_restore(sd: softnet_data, flags: int) -> None:
    """dev.c:238 (6.1), void rps_unlock_irq_restore(struct softnet_data *sd, unsigned long *flags)."""
    if IS_ENABLED(CONFIG_RPS):
        spin_unlock_irqrestore(sd.input_pkt_queue.lock, flags)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_restore(flags)


@kfunc
def rps_unlock_irq_enable(sd: softnet_data) -> None:
    """dev.c:247 (6.1)."""
    if IS_ENABLED(CONFIG_RPS):
        spin_unlock_irq(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_enable()


@kfunc
def set_rps_cpu(dev: net_device, skb: sk_buff, rflow: rps_dev_flow, next_cpu: int) -> rps_dev_flow:
    """dev.c:4536 (6.1), struct rps_dev_flow *set_rps_cpu(dev, skb, struct rps_dev_flow *rflow, u16 next_cpu).

    Without CONFIG_RFS_ACCEL: move a flow to the CPU that reads its socket.
    """
    if next_cpu < nr_cpu_ids():
        rflow.last_qtail = READ_ONCE(per_cpu(softnet_data, next_cpu).input_queue_head)
    rflow.cpu = next_cpu
    return rflow


@kfunc
def get_rps_cpu(dev: net_device, skb: sk_buff) -> int:
    """dev.c:4585 (6.1), int get_rps_cpu(struct net_device *dev, struct sk_buff *skb, struct rps_dev_flow **rflowp).

    The CPU for a packet, -1 for here.

    ``struct rps_dev_flow **rflowp`` is skb.rflow: the subset has no pointer to a local.
    """
    nh = table(net_hotdata, 0)
    skb.rflow = None
    cpu = -1
    index = dev.rx_base
    if skb.queue_mapping:
        index += skb.queue_mapping - 1
    rxqueue = table(netdev_rx_queue, index)
    flow_table = rxqueue.flow_table
    map = rxqueue.map
    # The hash costs a walk through the headers; nobody pays it for a queue that steers nothing.
    if not flow_table and not map:
        return cpu
    hash = skb_get_hash(skb)
    if not hash:
        return cpu

    entries = READ_ONCE(nh.rps_sock_flow_entries)
    if flow_table and entries:
        # First check the global flow table for a reader, then the queue's own for packets still under way.
        ident = READ_ONCE(table(rps_sock_flow_entry, hash & (entries - 1)).ent)
        mask = READ_ONCE(nh.rps_cpu_mask)
        if not ((ident ^ hash) & ~mask):
            next_cpu = ident & mask
            rflow = table(rps_dev_flow, flow_table.base + (hash & flow_table.mask))
            tcpu = rflow.cpu
            if tcpu != next_cpu and rps_flow_may_move(rflow, tcpu):
                tcpu = next_cpu
                rflow = set_rps_cpu(dev, skb, rflow, next_cpu)
            if tcpu < nr_cpu_ids() and cpu_online(tcpu):
                skb.rflow = rflow
                trace_get_rps_cpu(skb, tcpu)
                return tcpu

    if map:
        tcpu = map.cpus[reciprocal_scale(hash, map.len)]
        if cpu_online(tcpu):
            cpu = tcpu
    trace_get_rps_cpu(skb, cpu)
    return cpu


@kfunc
def rps_flow_may_move(rflow: rps_dev_flow, tcpu: int) -> bool:
    """dev.c:4630 (6.1), the condition inside get_rps_cpu(): all that the flow queued on its old CPU was taken off."""
    if tcpu >= nr_cpu_ids():
        return True
    if not cpu_online(tcpu):
        return True
    return READ_ONCE(per_cpu(softnet_data, tcpu).input_queue_head) - READ_ONCE(rflow.last_qtail) >= 0


@kfunc
def reciprocal_scale(val: int, ep_ro: int) -> int:
    """include/linux/kernel.h: scale a 32-bit value into [0, ep_ro)."""
    return (val * ep_ro) >> 32


@kfunc
def rps_trigger_softirq(data: softnet_data) -> None:
    """dev.c:4723 (6.1), called from hard interrupt context: the RPS IPI has arrived."""
    sd = data
    trace_rps_trigger_softirq(sd.cpu)
    ____napi_schedule(sd, sd.backlog)
    sd.received_rps += 1


@kfunc
def trigger_rx_softirq(data: softnet_data) -> None:
    """dev.c:4734 (6.1), called from hard interrupt context: the defer list's IPI has arrived (68822bdf76f1, v5.19)."""
    sd = data
    trace_trigger_rx_softirq(sd.cpu)
    __raise_softirq_irqoff(NET_RX_SOFTIRQ)
    smp_store_release(sd.defer_ipi_scheduled, 0)


@kfunc
def napi_schedule_rps(sd: softnet_data) -> int:
    """dev.c:4747 (6.1): another CPU's backlog goes on our IPI list (1), our own is scheduled (0)."""
    mysd = this_cpu_ptr(softnet_data)
    trace_napi_schedule_rps(sd.cpu)
    if IS_ENABLED(CONFIG_RPS):
        if sd != mysd:
            sd.rps_ipi_next = mysd.rps_ipi_list
            mysd.rps_ipi_list = sd
            __raise_softirq_irqoff(NET_RX_SOFTIRQ)
            return 1
    __napi_schedule_irqoff(mysd.backlog)
    return 0


@kfunc
def skb_flow_limit(skb: sk_buff, qlen: int) -> bool:
    """dev.c:4768 (6.1): with the queue half full, whether this flow has more than half of the recent packets."""
    if not IS_ENABLED(CONFIG_NET_FLOW_LIMIT):
        return False
    nh = table(net_hotdata, 0)
    if qlen < READ_ONCE(nh.max_backlog) >> 1:
        return False

    sd = this_cpu_ptr(softnet_data)
    rcu_read_lock()
    fl = READ_ONCE(sd.flow_limit)
    if fl:
        new_flow = skb_get_hash(skb) & (fl.num_buckets - 1)
        old_flow = fl.history[fl.history_head]
        fl.history[fl.history_head] = new_flow

        fl.history_head += 1
        fl.history_head &= FLOW_LIMIT_HISTORY - 1

        if fl.buckets[old_flow]:
            fl.buckets[old_flow] -= 1

        fl.buckets[new_flow] += 1
        if fl.buckets[new_flow] > FLOW_LIMIT_HISTORY >> 1:
            fl.count += 1
            rcu_read_unlock()
            return True
    rcu_read_unlock()
    return False


@kfunc
def enqueue_to_backlog(skb: sk_buff, cpu: int, rflow: rps_dev_flow) -> int:
    """dev.c:4808 (6.1), int enqueue_to_backlog(struct sk_buff *skb, int cpu, unsigned int *qtail).

    Queue a packet on a CPU's backlog, possibly a remote one.

    SCHED is only looked at when the queue is empty, and set before the packet is there: the lock spans both.
    """
    nh = table(net_hotdata, 0)
    reason = SKB_DROP_REASON_NOT_SPECIFIED
    sd = per_cpu(softnet_data, cpu)

    work("enqueue_to_backlog")
    flags = rps_lock_irqsave(sd)
    if netif_running(skb.dev):
        qlen = sd.input_pkt_queue.qlen
        if qlen <= READ_ONCE(nh.max_backlog) and not skb_flow_limit(skb, qlen):
            if not qlen:
                # The lock is held, so the test-and-set need not be atomic.
                if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
                    napi_schedule_rps(sd)
            __skb_queue_tail(sd.input_pkt_queue, skb)
            input_queue_tail_incr_save(sd, rflow)
            trace_enqueue_to_backlog(skb, cpu, qlen + 1)
            rps_unlock_irq_restore(sd, flags)
            return NET_RX_SUCCESS
        reason = SKB_DROP_REASON_CPU_BACKLOG

    sd.dropped += 1
    rps_unlock_irq_restore(sd, flags)

    trace_backlog_drop(skb, cpu, reason)
    dev_core_stats_rx_dropped_inc(skb.dev)
    kfree_skb_reason(skb, reason)
    return NET_RX_DROP


@kfunc
def dev_core_stats_rx_dropped_inc(dev: net_device) -> None:
    """include/linux/netdevice.h."""
    atomic_inc(dev.nr_rx_dropped)


@kfunc
def netif_rx_internal(skb: sk_buff) -> int:
    """dev.c:5075 (6.1)."""
    nh = table(net_hotdata, 0)
    trace_netif_rx(skb, smp_processor_id())
    if IS_ENABLED(CONFIG_RPS):
        if nh.rps_needed:
            rcu_read_lock()
            cpu = get_rps_cpu(skb.dev, skb)
            if cpu < 0:
                cpu = smp_processor_id()
            ret = enqueue_to_backlog(skb, cpu, skb.rflow)
            rcu_read_unlock()
            return ret
    return enqueue_to_backlog(skb, smp_processor_id(), None)


@kfunc
def __netif_rx(skb: sk_buff) -> int:
    """dev.c:5115 (6.1): from interrupt context or with bottom halves off."""
    return netif_rx_internal(skb)


@kfunc
def netif_rx(skb: sk_buff) -> int:
    """dev.c:5147 (6.1): from any context."""
    need_bh_off = bool(not in_hardirq() and not softirq_count())
    if need_bh_off:
        local_bh_disable()
    ret = netif_rx_internal(skb)
    if need_bh_off:
        local_bh_enable()
    return ret


@kfunc
def net_rps_send_ipi(remsd: softnet_data) -> None:
    """dev.c:6017 (6.1). An offline CPU is skipped without a word: its backlog keeps SCHED."""
    if IS_ENABLED(CONFIG_RPS):
        while remsd:
            next = remsd.rps_ipi_next
            if cpu_online(remsd.cpu):
                trace_net_rps_send_ipi(remsd.cpu)
                smp_call_function_single_async(remsd.cpu, remsd.csd)
            remsd = next


@kfunc
def net_rps_action_and_irq_enable(sd: softnet_data) -> None:
    """dev.c:6034 (6.1): send the pending RPS IPIs. Called with interrupts off, returns with them on."""
    if IS_ENABLED(CONFIG_RPS):
        remsd = sd.rps_ipi_list
        if remsd:
            sd.rps_ipi_list = None
            local_irq_enable()
            net_rps_send_ipi(remsd)
            return
    local_irq_enable()


@kfunc
def sd_has_rps_ipi_waiting(sd: softnet_data) -> bool:
    """dev.c:6051 (6.1)."""
    if IS_ENABLED(CONFIG_RPS):
        return bool(sd.rps_ipi_list)
    return False


@kfunc
def process_backlog(napi: napi_struct, quota: int) -> int:
    """dev.c:6060 (6.1): the backlog's poll function."""
    sd = container_of(napi, softnet_data, "backlog")
    again = True
    work_done = 0

    # Better now than at the end of net_rx_action().
    if sd_has_rps_ipi_waiting(sd):
        local_irq_disable()
        net_rps_action_and_irq_enable(sd)

    work("process_backlog")
    napi.weight = READ_ONCE(table(net_hotdata, 0).dev_rx_weight)
    while again:
        while skb := __skb_dequeue(sd.process_queue):
            rcu_read_lock()
            __netif_receive_skb(skb)
            rcu_read_unlock()
            input_queue_head_incr(sd)
            work_done += 1
            if work_done >= quota:
                trace_process_backlog(work_done, quota)
                return work_done

        rps_lock_irq_disable(sd)
        if skb_queue_empty(sd.input_pkt_queue):
            process_backlog_retire_sched(napi)
            again = False
        else:
            skb_queue_splice_tail_init(sd.input_pkt_queue, sd.process_queue)
        rps_unlock_irq_enable(sd)

    trace_process_backlog(work_done, quota)
    return work_done


@kfunc
def process_backlog_retire_sched(napi: napi_struct) -> None:
    """dev.c:6098 (6.1), in process_backlog(): a custom __napi_complete().

    A plain store retires SCHED: only this CPU owns this NAPI, and all other writers hold the lock.
    """
    napi.state = 0
