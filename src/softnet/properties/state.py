# SPDX-License-Identifier: GPL-2.0-or-later
"""Predicates on one state, for I3, I5, I6, I7, I8 and I10: a run's checks ask them between contexts, the explorer in its states.

Each is what the state itself can tell. Who stands in the middle of restoring it, where only memory of the past knows, is added
by who asks: the checks know who is inside which function, the explorer looks where nothing is under way any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import predicate
from softnet.lang.intrinsics import address_of, table

if TYPE_CHECKING:
    from softnet.linux.config import CONFIG_PREEMPT_RT, CONFIG_RPS
    from softnet.linux.include.linux.netdevice import (
        NAPIF_STATE_SCHED,
        NAPIF_STATE_SCHED_THREADED,
        napi_struct,
        net_hotdata,
        softnet_data,
    )
    from softnet.linux.kernel.softirq import NET_RX_SOFTIRQ, irq_cpustat_t
    from softnet.machine.state import cpu_hw
    from softnet.properties.kick import ck_kick_in_flight
    from softnet.properties.where import defer_list_busy, defer_list_count, defer_list_first


@predicate
def ck_on_a_list(napi: napi_struct) -> bool:
    """Whether a NAPI stands on a poll list."""
    return address_of(napi.poll_list.next) != address_of(napi.poll_list)


@predicate
def ck_linked_not_sched(napi: napi_struct) -> bool:
    """I3: on a poll list although SCHED is clear."""
    return napi.state & NAPIF_STATE_SCHED == 0 and ck_on_a_list(napi)


@predicate
def ck_linked_and_threaded(napi: napi_struct) -> bool:
    """I3: on a poll list although SCHED_THREADED gives it to its thread."""
    return napi.state & NAPIF_STATE_SCHED_THREADED != 0 and ck_on_a_list(napi)


@predicate
def ck_backlog_busy(cpu: int) -> bool:
    """Whether somebody is inside the critical section of the CPU's backlog, in which queue and SCHED may disagree.

    It is the lock; without RPS and threads only the CPU itself queues, and interrupts off are enough (rps_lock_irqsave()).
    """
    sd = table(softnet_data, cpu)
    if sd.input_pkt_queue.lock.owner != 0:
        return True
    if CONFIG_RPS != 0 or CONFIG_PREEMPT_RT != 0 or sd.backlog.thread is not None:
        return False
    return table(cpu_hw, cpu).cur.irqs_off != 0


@predicate
def ck_queued_not_sched(cpu: int) -> bool:
    """I5: an online CPU's input queue has packets although SCHED is clear, and nobody is about to set it."""
    sd = table(softnet_data, cpu)
    if sd.input_pkt_queue.qlen == 0 or sd.backlog.state & NAPIF_STATE_SCHED != 0:
        return False
    return table(cpu_hw, cpu).online != 0 and not ck_backlog_busy(cpu)


@predicate
def ck_watermark() -> int:
    """A list with more than this has been kicked for."""
    return table(net_hotdata, 0).sysctl_skb_defer_max >> 1


@predicate
def ck_above_watermark(cpu: int) -> bool:
    """I6's premise: the CPU's list is so long that it must be flushed."""
    return defer_list_count(cpu) > ck_watermark()


@predicate
def ck_flush_due(cpu: int) -> bool:
    """I6: NET_RX is pending on the CPU, or a kick is on its way there."""
    sd = table(softnet_data, cpu)
    if table(irq_cpustat_t, cpu).softirq_pending & (1 << NET_RX_SOFTIRQ) != 0:
        return True
    return sd.defer_ipi_scheduled != 0 or ck_kick_in_flight(sd)


@predicate
def ck_over_limit(count: int, limit: int, producers: int) -> bool:
    """I7: each task reads the limit without the lock, so each but one may overshoot it by one skb."""
    return count > limit + max(producers, 1) - 1


@predicate
def ck_flag_alone(sd: softnet_data) -> bool:
    """I8: defer_ipi_scheduled is set, and no call is in flight that clears it."""
    return sd.defer_ipi_scheduled != 0 and not ck_kick_in_flight(sd)


@predicate
def ck_count_disagrees(cpu: int) -> bool:
    """I10: the count says that there are skbs and the list has none, or the other way round, while nobody changes them."""
    if defer_list_busy(cpu):
        return False
    return (defer_list_count(cpu) > 0) != (defer_list_first(cpu) is not None)
