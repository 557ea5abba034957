# SPDX-License-Identifier: GPL-2.0-or-later
"""The defer list: its limit, its flush, its lock, and the kick."""

from __future__ import annotations

from tests.mutation import Edit, mutation

FLUSH = "skb_defer_free_flush"
ATTEMPT = "skb_attempt_defer_free"
KICK = "kick_defer_list_purge"

DEFER_LIST = (
    mutation(
        "no_limit",
        "Nothing stops a push on a full list.",
        Edit(ATTEMPT, "READ_ONCE(sd.defer_count) >= defer_max", "READ_ONCE(sd.defer_count) > defer_max"),
    ),
    mutation(
        "limit_twice",
        "The limit is twice what it should be.",
        Edit(ATTEMPT, ">= defer_max:", ">= defer_max << 1:"),
    ),
    mutation(
        "wait_for_room",
        "Who finds the defer list full waits until there is room; only a full list kicks.",
        Edit(
            ATTEMPT,
            """
            if READ_ONCE(sd.defer_count) >= defer_max:
                trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)
                kfree_skb_napi_cache(skb)
                return
            """,
            """
            while READ_ONCE(sd.defer_count) >= defer_max:
                cond_resched()
            """,
        ),
        Edit(ATTEMPT, "== defer_max >> 1", "== defer_max"),
    ),
    mutation(
        "wait_below_the_watermark",
        "Who would go beyond the watermark waits for a flush, which nobody has asked for.",
        Edit(
            ATTEMPT,
            'work("skb_attempt_defer_free")',
            """
            while READ_ONCE(sd.defer_count) >= defer_max >> 1:
                cond_resched()
            work("skb_attempt_defer_free")
            """,
        ),
    ),
    mutation(
        "count_not_reset",
        "The flush forgets to reset the count.",
        Edit(FLUSH, "sd.defer_count = 0", ""),
    ),
    mutation(
        "node_count_not_reset",
        "From 6.18 on: the flush forgets to reset the count.",
        Edit(FLUSH, "atomic_set(sdn.defer_count, 0)", ""),
    ),
    mutation(
        "node_count_lowered_once",
        "From 6.18 on: the flush takes one off the count, however many skbs it frees and however many were refused.",
        Edit(FLUSH, "atomic_set(sdn.defer_count, 0)", "atomic_dec(sdn.defer_count)"),
    ),
    mutation(
        "count_reset_late",
        "The flush resets the count in a critical section of its own, after that in which it takes the list.",
        Edit(
            FLUSH,
            "sd.defer_count = 0",
            """
            spin_unlock(sd.defer_lock)
            spin_lock(sd.defer_lock)
            sd.defer_count = 0
            """,
        ),
    ),
    mutation(
        "flush_forgets_one",
        "The flush frees every skb but the last.",
        Edit(
            FLUSH,
            "napi_consume_skb(skb, 1)",
            """
            if next:
                napi_consume_skb(skb, 1)
            """,
        ),
    ),
    mutation(
        "flush_keeps_the_lock",
        "The flush of two skbs or more leaves defer_lock taken.",
        Edit(
            FLUSH,
            "spin_unlock(sd.defer_lock)",
            """
            if count < 2:
                spin_unlock(sd.defer_lock)
            """,
        ),
    ),
    mutation(
        "flush_unlocked",
        "The flush detaches the list without defer_lock: the guard of defer_list refuses it.",
        Edit(FLUSH, "spin_lock(sd.defer_lock)", ""),
        Edit(FLUSH, "spin_unlock(sd.defer_lock)", ""),
    ),
    mutation(
        "flush_of_the_neighbour",
        "Who would flush its own list flushes the other CPU's.",
        Edit(
            FLUSH,
            "if not READ_ONCE(sd.defer_list):",
            """
            sd = per_cpu(softnet_data, 1 - sd.cpu)
            if not READ_ONCE(sd.defer_list):
            """,
        ),
    ),
    mutation(
        "flush_left_to_ksoftirqd",
        "A long defer list is left to ksoftirqd, which leaves it as well.",
        Edit(
            FLUSH,
            "spin_lock(sd.defer_lock)",
            """
            if READ_ONCE(sd.defer_count) > READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max) >> 1:
                raise_softirq_irqoff(NET_RX_SOFTIRQ)
                return
            spin_lock(sd.defer_lock)
            """,
        ),
    ),
    mutation(
        "defer_under_backlog",
        "The flush takes the backlog lock under defer_lock, process_backlog() the other way round.",
        Edit(
            FLUSH,
            "spin_lock(sd.defer_lock)",
            """
            spin_lock(sd.defer_lock)
            spin_lock(sd.input_pkt_queue.lock)
            spin_unlock(sd.input_pkt_queue.lock)
            """,
        ),
        Edit(
            "process_backlog",
            "backlog_lock_irq_disable(sd)",
            """
            backlog_lock_irq_disable(sd)
            spin_lock(sd.defer_lock)
            spin_unlock(sd.defer_lock)
            """,
        ),
    ),
    mutation(
        "consume_outside_bh",
        "An skb that is not deferred is freed as from a poll, with bottom halves on.",
        Edit("kfree_skb_napi_cache", "local_bh_disable()", ""),
        Edit("kfree_skb_napi_cache", "__kfree_skb_defer(skb)", "napi_consume_skb(skb, 1)"),
        Edit("kfree_skb_napi_cache", "local_bh_enable()", ""),
    ),
    mutation(
        "kicker_flushes",
        "The kicker flushes the other CPU's list itself.",
        Edit(
            ATTEMPT,
            "kick_defer_list_purge(sd, cpu)",
            """
            local_bh_disable()
            skb_defer_free_flush(sd)
            local_bh_enable()
            """,
        ),
    ),
)

KICKS = (
    mutation(
        "kick_at_max",
        "The kick is sent when the list is full: it never holds so many before a push, so nothing kicks.",
        Edit(ATTEMPT, "== defer_max >> 1", "== defer_max"),
    ),
    mutation(
        "kick_at_or_above",
        "A kick at every push at or above the watermark: a storm of kicks, and safe.",
        Edit(ATTEMPT, "== defer_max >> 1", ">= defer_max >> 1"),
    ),
    mutation(
        "kick_once",
        "Nothing kicks unless skb_defer_max is 0 or 1.",
        Edit(ATTEMPT, "== defer_max >> 1", "== 0 and defer_max < 2"),
    ),
    mutation(
        "kick_before_push",
        "The kick is sent before the skb is on the list: the flush may come first and find nothing.",
        Edit(
            ATTEMPT,
            """
            work("skb_attempt_defer_free")
            spin_lock_bh(sd.defer_lock)
            kick = sd.defer_count == defer_max >> 1
            """,
            """
            work("skb_attempt_defer_free")
            if READ_ONCE(sd.defer_count) == defer_max >> 1:
                kick_defer_list_purge(sd, cpu)
            spin_lock_bh(sd.defer_lock)
            """,
        ),
        Edit(
            ATTEMPT,
            """
            if kick:
                kick_defer_list_purge(sd, cpu)
            """,
            "",
        ),
    ),
    mutation(
        "kick_under_defer_lock",
        "The kick is sent under defer_lock, and process_backlog() takes defer_lock under the backlog's.",
        Edit(
            ATTEMPT,
            """
            spin_unlock_bh(sd.defer_lock)

            if kick:
                kick_defer_list_purge(sd, cpu)
            """,
            """
            if kick:
                kick_defer_list_purge(sd, cpu)
            spin_unlock_bh(sd.defer_lock)
            """,
        ),
        Edit(
            "process_backlog",
            "backlog_lock_irq_disable(sd)",
            """
            backlog_lock_irq_disable(sd)
            spin_lock(sd.defer_lock)
            spin_unlock(sd.defer_lock)
            """,
        ),
    ),
    mutation(
        "kick_takes_sched_only",
        "The kick takes SCHED and schedules nothing. (The first skb on a list kicks, so that the list owes no flush.)",
        Edit(KICK, "__napi_schedule_irqoff(sd.backlog)", ""),
        Edit(ATTEMPT, "== defer_max >> 1", "== 0"),
    ),
    mutation(
        "kick_sets_flag_only",
        "The kicker that wins the flag sends nothing. (The first skb on a list kicks, so that the list owes no flush.)",
        Edit(KICK, "smp_call_function_single_async(cpu, sd.defer_csd)", ""),
        Edit(ATTEMPT, "== defer_max >> 1", "== 0"),
    ),
    mutation(
        "kick_without_flag",
        "defer_ipi_scheduled is not looked at, and the csd's lock bit neither.",
        Edit(KICK, "not cmpxchg(sd.defer_ipi_scheduled, 0, 1)", "cmpxchg(sd.defer_ipi_scheduled, 0, 1) <= 1"),
        Edit("smp_call_function_single_async", "csd.u_flags & CSD_FLAG_LOCK:", "csd.u_flags < 0:"),
    ),
    mutation(
        "plain_ipi_flag",
        "defer_ipi_scheduled is tested, then set, instead of both at once: two kickers queue the same csd.",
        Edit(
            KICK,
            "elif not cmpxchg(sd.defer_ipi_scheduled, 0, 1):",
            """
            elif not READ_ONCE(sd.defer_ipi_scheduled):
                WRITE_ONCE(sd.defer_ipi_scheduled, 1)
            """,
        ),
    ),
    mutation(
        "kick_looks_at_net_rx_action",
        "Who kicks looks, by a plain read, whether the other CPU is in net_rx_action(), which only that CPU may look at.",
        Edit(
            KICK,
            "if use_backlog_threads():",
            """
            if sd.in_net_rx_action:
                work("net_rx_action")
            if use_backlog_threads():
            """,
        ),
    ),
    mutation(
        "flag_not_cleared",
        "The handler never clears defer_ipi_scheduled.",
        Edit("trigger_rx_softirq", "smp_store_release(sd.defer_ipi_scheduled, 0)", ""),
    ),
    mutation(
        "flag_cleared_after_flush",
        "defer_ipi_scheduled is cleared after the flush and not by the handler: a kick in between is lost.",
        Edit("trigger_rx_softirq", "smp_store_release(sd.defer_ipi_scheduled, 0)", ""),
        Edit(
            FLUSH,
            """
                napi_consume_skb(skb, 1)
                skb = next
            """,
            """
                napi_consume_skb(skb, 1)
                skb = next
            smp_store_release(sd.defer_ipi_scheduled, 0)
            """,
        ),
    ),
    mutation(
        "rt_ipi_kick",
        "On PREEMPT_RT, too, the kick is an IPI.",
        Edit(KICK, "if use_backlog_threads():", "if use_backlog_threads() and cpu < 0:"),
    ),
    mutation(
        "kick_looks_at_the_flag",
        "The kick saves its cmpxchg where the flag is set already. The skb is on the list when the cmpxchg is done, but not yet"
        " when the flag is read: on x86 the handler may have cleared the flag and found the list empty. (The handler has the"
        " barrier here that the shipped one lacks: examples/patches/flag_cleared_with_barrier.py.)",
        Edit(
            "trigger_rx_softirq",
            "smp_store_release(sd.defer_ipi_scheduled, 0)",
            """
            smp_store_release(sd.defer_ipi_scheduled, 0)
            smp_mb()
            """,
        ),
        Edit(
            KICK,
            "elif not cmpxchg(sd.defer_ipi_scheduled, 0, 1):",
            "elif not READ_ONCE(sd.defer_ipi_scheduled) and not cmpxchg(sd.defer_ipi_scheduled, 0, 1):",
        ),
    ),
    mutation(
        "kick_looks_at_sched",
        "The kick of a backlog thread saves the lock where SCHED is set already: who has it flushes after its poll. With the lock"
        " the skb is on the list before SCHED is looked at; without it, on x86, the thread may be done with both before the skb is"
        " there.",
        Edit(
            KICK,
            "flags = backlog_lock_irq_save(sd)",
            """
            if test_bit(NAPI_STATE_SCHED, sd.backlog.state):
                trace_kick_coalesced(cpu)
                return
            flags = backlog_lock_irq_save(sd)
            """,
        ),
    ),
)
