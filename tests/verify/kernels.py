# SPDX-License-Identifier: GPL-2.0-or-later
"""Broken and correct kernels, each an edit of the shipped one, with the verdict that it must get. None is in the matrix.

Each is asked for all properties at once, in the smallest configuration in which it goes wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutation import Edit

FLUSH, ATTEMPT, KICK = "skb_defer_free_flush", "skb_attempt_defer_free", "kick_defer_list_purge"
_NO = "work('net_rx_action')"
"""In the place of what is left out: a price, which the explorer does not pay."""


@dataclass(frozen=True)
class Kernel:
    """What is changed, what is explored, and which names of violations are right; none for a correct kernel."""

    name: str
    about: str
    configuration: str
    edits: tuple[Edit, ...]
    breaks: frozenset[str] = frozenset()
    adds: str = ""


def _kernel(name: str, about: str, configuration: str, *edits: Edit, breaks: str = "", adds: str = "") -> Kernel:
    return Kernel(name, about, f"kernel=6.12,{configuration}", edits, frozenset(filter(None, breaks.split(", "))), adds)


_NO_IRQ_OFF = Edit("backlog_lock_irq_save", "return local_irq_save()", "return 0")
_SEND_FIRST = Edit(
    "net_rps_send_ipi",
    """
    next = remsd.rps_ipi_next
    if cpu_online(remsd.cpu):
        trace_net_rps_send_ipi(remsd.cpu)
        smp_call_function_single_async(remsd.cpu, remsd.csd)
    remsd = next
    """,
    """
    if cpu_online(remsd.cpu):
        smp_call_function_single_async(remsd.cpu, remsd.csd)
    remsd = remsd.rps_ipi_next
    """,
)
_LIST_KEPT = Edit(
    "net_rps_action_and_irq_enable",
    """
    sd.rps_ipi_list = None
    local_irq_enable()
    net_rps_send_ipi(remsd)
    """,
    """
    local_irq_enable()
    net_rps_send_ipi(remsd)
    sd.rps_ipi_list = None
    """,
)
_NEXT_LATE = Edit(
    FLUSH,
    """
    next = skb.next
    napi_consume_skb(skb, 1)
    skb = next
    """,
    """
    napi_consume_skb(skb, 1)
    skb = skb.next
    """,
)
_FLAG_IN_FLUSH = (
    Edit("trigger_rx_softirq", "smp_store_release(sd.defer_ipi_scheduled, 0)", ""),
    Edit(FLUSH, "", "smp_store_release(sd.defer_ipi_scheduled, 0)"),
)
_COUNTERS = "class counters(Struct):\n    pushed: int = shared(line=0)\n"
_PLAIN_COUNTERS = "class counters(Struct):\n    pushed: int = private(line=0)\n"

_SPLICED_OPENLY = Edit(
    "net_rx_action",
    """
    local_irq_disable()
    list_splice_init(sd.poll_list, list)
    local_irq_enable()
    """,
    """
    list_splice_init(sd.poll_list, list)
    """,
    2,
)
_KICK_BEFORE_THE_LOCK = Edit(
    ATTEMPT,
    """
    spin_lock_bh(sd.defer_lock)
    kick = sd.defer_count == defer_max >> 1
    """,
    """
    kick = READ_ONCE(sd.defer_count) == defer_max >> 1
    spin_lock_bh(sd.defer_lock)
    """,
)
_KICK_BEHIND_THE_COUNT = Edit(
    ATTEMPT,
    """
    kick = sd.defer_count == defer_max >> 1
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    """,
    """
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    kick = sd.defer_count == (defer_max >> 1) + 1
    """,
)
_FREED_AND_PUSHED = Edit(
    ATTEMPT,
    """
    trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
    kfree_skb_napi_cache(skb)
    return
    """,
    """
    kfree_skb_napi_cache(skb)
    """,
)
_ON_THE_TARGETS_LIST = Edit(
    "napi_schedule_rps",
    """
    sd.rps_ipi_next = mysd.rps_ipi_list
    mysd.rps_ipi_list = sd
    """,
    """
    sd.rps_ipi_next = None
    sd.rps_ipi_list = sd
    """,
)
_LOOKS_AT_THE_NEXT = Edit(
    FLUSH,
    """
    next = skb.next
    napi_consume_skb(skb, 1)
    """,
    """
    next = skb.next
    if next and next.len < 0:
        work("net_rx_action")
    napi_consume_skb(skb, 1)
    """,
)

BROKEN = (
    _kernel("queue_with_interrupts_on", "A task and an interrupt queue on one backlog.", "driver=netif_rx:0,driver=irq:0",
            _NO_IRQ_OFF, breaks="data race"),
    _kernel("poll_list_with_interrupts_on", "net_rx_action() takes the poll list while an interrupt adds to it.",
            "driver=nic:0:1,driver=nic:0:1",
            _SPLICED_OPENLY, breaks="data race"),
    _kernel("rps_list_emptied_late", "An RPS list is emptied after its IPIs were sent, with interrupts on.",
            "rps=1,resched=0,rps_cpus=2,driver=irq:0:2", _LIST_KEPT, breaks="data race, phantom SCHED, lost work"),
    _kernel("watermark_before_the_lock", "Two producers see the same count, and neither kicks.",
            "cpus=3,driver=free:1:1,driver=free:2:1", _KICK_BEFORE_THE_LOCK, breaks="lost kick"),
    _kernel("length_of_the_queued", "Whoever queued a packet for another CPU looks at it afterwards.",
            "rps=1,resched=0,driver=rps:0:2:1",
            Edit("enqueue_to_backlog", "return NET_RX_SUCCESS", "return NET_RX_SUCCESS if skb.len >= 0 else NET_RX_DROP"),
            breaks="data race"),
    _kernel("full_and_pushed", "An skb that found the list full is freed, and pushed.", "defer_max=1,driver=free:1:2",
            _FREED_AND_PUSHED, breaks="freed"),
    _kernel("own_rps_list", "The target's backlog goes onto the target's own list.", "rps=1,driver=rps:0:1:1",
            _ON_THE_TARGETS_LIST, breaks="phantom SCHED, data race"),
    _kernel("flag_cleared_by_the_flush", "The flush clears the flag, and looks at the list while the store is on its way.",
            "memory_model=tso,resched=0,defer_max=1,driver=free:1:2,driver=irq:0", *_FLAG_IN_FLUSH, breaks="lost kick"),
    # Two contexts of one CPU.
    _kernel("splice_with_interrupts_on", "process_backlog() takes the queue while an interrupt adds to it.", "driver=irq:0:2",
            Edit("backlog_lock_irq_disable", "local_irq_disable()", _NO, 1), breaks="data race"),
    _kernel("raises_when_busy", "NET_RX is raised only while net_rx_action() runs.", "driver=irq:0",
            Edit("____napi_schedule", "if not sd.in_net_rx_action:", "if sd.in_net_rx_action:"), breaks="poll list left"),
    # Three CPUs.
    _kernel("next_read_after_the_ipi", "Who got the IPI may be on another CPU's list already.",
            "cpus=3,rps=1,resched=0,driver=rps:0:1:1,driver=rps:2:1:1", _SEND_FIRST, breaks="data race"),
    _kernel("pushed_without_the_lock", "Two producers push at once.", "cpus=3,driver=free:1:1,driver=free:2:1",
            Edit(ATTEMPT, "spin_lock_bh(sd.defer_lock)", "local_bh_disable()"),
            Edit(ATTEMPT, "spin_unlock_bh(sd.defer_lock)", "local_bh_enable()"), breaks="guard"),
    _kernel("counted_plainly_by_three", "A counter of one's own, which two producers change.",
            "cpus=3,driver=free:1:1,driver=free:2:1", Edit(ATTEMPT, "", "table(counters, 0).pushed += 1"), breaks="data race",
            adds=_PLAIN_COUNTERS),
    # Freed memory.
    _kernel("next_of_the_freed", "The flush reads next behind the free.", "driver=free:1:2", _NEXT_LATE, breaks="freed"),
    _kernel("length_of_the_delivered", "process_backlog() looks at what it delivered.", "driver=irq:0",
            Edit("process_backlog", "work_done += 1", "work_done += 1 if skb.len >= 0 else 2"), breaks="freed"),
    _kernel("list_stays", "The flush frees a list that it leaves.", "driver=free:1:2,driver=irq:0",
            Edit(FLUSH, "sd.defer_list = None", ""), breaks="freed, count without list, data race"),
    _kernel("flush_frees_the_first", "The flush frees the first skb of the list.", "driver=free:1:2",
            Edit(FLUSH, "skb = next", "skb = None"), breaks="conservation"),
    _kernel("push_cuts_the_list", "A push forgets what was on the list.", "defer_max=6,driver=free:1:2",
            Edit(ATTEMPT, "skb.next = sd.defer_list", "skb.next = None"), breaks="conservation"),
    # Queues, calls and counts.
    _kernel("retired_with_packets", "SCHED is given up without a look at the queue.", "driver=irq:0:2",
            Edit("process_backlog", "if skb_queue_empty(sd.input_pkt_queue):", "if sd.input_pkt_queue.qlen >= 0:"),
            breaks="queued without SCHED, lost work"),
    _kernel("scheduled_by_the_second", "The second packet schedules the backlog.", "driver=irq:0",
            Edit("enqueue_to_backlog", "if not qlen:", "if qlen == 1:"), breaks="queued without SCHED, lost work"),
    _kernel("raises_net_tx", "The function call raises the wrong softirq.", "driver=free:1:2",
            Edit("trigger_rx_softirq", "NET_RX_SOFTIRQ", "NET_TX_SOFTIRQ"), breaks="lost kick"),
    # Store buffers.
)  # fmt: skip

CORRECT = (
    _kernel("kick_behind_the_count", "The count is looked at after the push.", "cpus=3,driver=free:1:1,driver=free:2:1",
            _KICK_BEHIND_THE_COUNT),
    _kernel("looks_at_the_next", "The flush looks at the next skb before it frees this one.", "driver=free:1:2",
            _LOOKS_AT_THE_NEXT),
    _kernel("netif_rx_with_bh_on", "The softirq is left to ksoftirqd.", "driver=netif_rx:0,driver=irq:0",
            Edit("netif_rx", "not in_hardirq() and not softirq_count()", "not in_hardirq() and softirq_count() < 0")),
    _kernel("flag_cleared_first", "The handler clears the flag before it raises.", "driver=free:1:4,driver=irq:0",
            Edit("trigger_rx_softirq", "", "smp_store_release(data.defer_ipi_scheduled, 0)"),
            Edit("trigger_rx_softirq", "smp_store_release(sd.defer_ipi_scheduled, 0)", "")),
    _kernel("pushed_with_interrupts_off", "The push keeps interrupts away, too.", "driver=free:1:2,driver=irq:1",
            Edit(ATTEMPT, "spin_lock_bh(sd.defer_lock)", "flags = spin_lock_irqsave(sd.defer_lock)"),
            Edit(ATTEMPT, "spin_unlock_bh(sd.defer_lock)", "spin_unlock_irqrestore(sd.defer_lock, flags)")),
    _kernel("pushed_with_softirqs_on", "No softirq takes another CPU's defer_lock.", "driver=free:1:2,driver=irq:1",
            Edit(ATTEMPT, "spin_lock_bh(", "spin_lock("), Edit(ATTEMPT, "spin_unlock_bh(", "spin_unlock(")),
    _kernel("flush_without_a_look", "The flush takes the lock of an empty list, too.", "driver=free:1:2,driver=irq:0",
            Edit(FLUSH, "if not READ_ONCE(sd.defer_list):", "if sd.cpu < 0:")),
    _kernel("atomic_sched", "SCHED is set by an atomic.", "rps=1,resched=0,driver=rps:0:1:1,driver=rps:1:1:0",
            Edit("enqueue_to_backlog", "__test_and_set_bit(", "test_and_set_bit(")),
    _kernel("atomic_sched_with_store_buffers", "The same with store buffers.", "memory_model=tso,rps=1,resched=0,driver=rps:0:1:1",
            Edit("enqueue_to_backlog", "__test_and_set_bit(", "test_and_set_bit(")),
    _kernel("raises_always", "NET_RX is raised by every NAPI that is linked.", "driver=nic:0:2",
            Edit("____napi_schedule", "if not sd.in_net_rx_action:", "if sd.cpu >= 0:")),
    _kernel("kicks_each_time", "Each push kicks.", "cpus=3,driver=free:1:1,driver=free:2:1",
            Edit(ATTEMPT, "if kick:", "if kick or READ_ONCE(sd.defer_count) > 0:")),
    _kernel("counted_by_an_atomic", "A counter of one's own, changed by atomics.", "cpus=3,driver=free:1:1,driver=free:2:1",
            Edit(ATTEMPT, "", "atomic_inc(table(counters, 0).pushed)"), adds=_COUNTERS),
    _kernel("flag_cleared_by_the_flush_in_order", "The flag is cleared by the flush, and memory is sequentially consistent.",
            "resched=0,driver=free:1:4,driver=irq:0", *_FLAG_IN_FLUSH),
)  # fmt: skip
