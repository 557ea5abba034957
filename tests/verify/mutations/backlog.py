# SPDX-License-Identifier: GPL-2.0-or-later
"""The backlog: its queues, its lock, SCHED, RPS, and its threads."""

from __future__ import annotations

from tests.mutation import Edit, mutation

BACKLOG = (
    mutation(
        "enqueue_looks_at_the_weight",
        "Whoever queues a packet looks, by a plain read, at the weight that process_backlog() stores. Nothing follows from it.",
        Edit(
            "enqueue_to_backlog",
            "",
            """
            if per_cpu(softnet_data, cpu).backlog.weight < 0:
                work("net_rx_action")
            """,
        ),
    ),
    mutation(
        "sched_not_retired",
        "process_backlog() ends a poll without giving SCHED up.",
        Edit("process_backlog_retire_sched", "napi.state &= NAPIF_STATE_THREADED", "pass"),
    ),
    mutation(
        "sched_threaded_stays",
        "The end of a poll clears SCHED and not SCHED_THREADED.",
        Edit("process_backlog_retire_sched", "&= NAPIF_STATE_THREADED", "&= ~NAPIF_STATE_SCHED"),
    ),
    mutation(
        "sched_cleared_unlocked",
        "SCHED is retired after the lock is released: a packet or a kick in between sees it set.",
        Edit("process_backlog", "process_backlog_retire_sched(napi)", ""),
        Edit(
            "process_backlog",
            "backlog_unlock_irq_enable(sd)",
            """
            backlog_unlock_irq_enable(sd)
            if not again:
                process_backlog_retire_sched(napi)
            """,
        ),
    ),
    mutation(
        "retire_after_splice",
        "SCHED is retired after the splice, with the packets on process_queue.",
        Edit(
            "process_backlog",
            """
                local_unlock_nested_bh(sd.process_queue_bh_lock)
            backlog_unlock_irq_enable(sd)
            """,
            """
                local_unlock_nested_bh(sd.process_queue_bh_lock)
                process_backlog_retire_sched(napi)
                again = False
            backlog_unlock_irq_enable(sd)
            """,
        ),
    ),
    mutation(
        "retire_before_last_splice",
        "A poll retires SCHED, and lets others in, before it takes the last packets off input_pkt_queue, to save another look.",
        Edit(
            "process_backlog",
            "else:",
            """
            else:
                if sd.input_pkt_queue.qlen == 1:
                    process_backlog_retire_sched(napi)
                    backlog_unlock_irq_enable(sd)
                    backlog_lock_irq_disable(sd)
            """,
        ),
    ),
    mutation(
        "retire_at_quota",
        "A poll that used its quota retires SCHED and reports less, with packets on process_queue.",
        Edit(
            "process_backlog",
            """
                return work_done
            local_lock_nested_bh(sd.process_queue_bh_lock)
            """,
            """
                process_backlog_retire_sched(napi)
                return work_done - 1
            local_lock_nested_bh(sd.process_queue_bh_lock)
            """,
        ),
    ),
    mutation(
        "retire_at_exact_quota",
        "A poll that used its whole quota and left nothing retires SCHED, which its caller does not expect.",
        Edit(
            "process_backlog",
            """
                return work_done
            local_lock_nested_bh(sd.process_queue_bh_lock)
            """,
            """
                if skb_queue_empty(sd.process_queue) and skb_queue_empty(sd.input_pkt_queue):
                    process_backlog_retire_sched(napi)
                return work_done
            local_lock_nested_bh(sd.process_queue_bh_lock)
            """,
        ),
    ),
    mutation(
        "poll_forgets_process_queue",
        "A poll that finds nothing new on input_pkt_queue ends at once, with packets on process_queue.",
        Edit(
            "process_backlog",
            "while again:",
            """
            backlog_lock_irq_disable(sd)
            if skb_queue_empty(sd.input_pkt_queue):
                process_backlog_retire_sched(napi)
                again = False
            backlog_unlock_irq_enable(sd)
            while again:
            """,
        ),
    ),
    mutation(
        "queue_lock_first",
        "process_backlog() takes the backlog lock under process_queue's, enqueue the other way round.",
        Edit(
            "process_backlog",
            "backlog_lock_irq_disable(sd)",
            """
            local_lock_nested_bh(sd.process_queue_bh_lock)
            backlog_lock_irq_disable(sd)
            backlog_unlock_irq_enable(sd)
            local_unlock_nested_bh(sd.process_queue_bh_lock)
            backlog_lock_irq_disable(sd)
            """,
        ),
    ),
    mutation(
        "queue_before_sched",
        "The packet is queued and the lock given up before SCHED is taken.",
        Edit(
            "enqueue_to_backlog",
            """
            if not qlen:
                # The lock is held, so the test-and-set need not be atomic.
                if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
                    napi_schedule_rps(sd)
            __skb_queue_tail(sd.input_pkt_queue, skb)
            tail = rps_input_queue_tail_incr(sd)
            trace_enqueue_to_backlog(skb, cpu, qlen + 1)
            """,
            """
            __skb_queue_tail(sd.input_pkt_queue, skb)
            tail = rps_input_queue_tail_incr(sd)
            trace_enqueue_to_backlog(skb, cpu, qlen + 1)
            backlog_unlock_irq_restore(sd, flags)
            flags = backlog_lock_irq_save(sd)
            if not qlen:
                if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
                    napi_schedule_rps(sd)
            """,
        ),
    ),
    mutation(
        "link_before_sched",
        "A packet puts the backlog on a poll list if it is on none, and takes SCHED behind that.",
        Edit(
            "enqueue_to_backlog",
            """
            if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):
                napi_schedule_rps(sd)
            """,
            """
            if list_empty(sd.backlog.poll_list):
                napi_schedule_rps(sd)
                sd.backlog.state |= 1
            """,
        ),
    ),
    mutation(
        "lock_before_interrupts_off",
        "The backlog lock is taken before interrupts go off, and a device's interrupt takes it, too.",
        Edit(
            "backlog_lock_irq_save",
            """
            if IS_ENABLED(CONFIG_RPS) or use_backlog_threads():
                return spin_lock_irqsave(sd.input_pkt_queue.lock)
            """,
            """
            spin_lock(sd.input_pkt_queue.lock)
            """,
        ),
        Edit(
            "backlog_unlock_irq_restore",
            """
            if IS_ENABLED(CONFIG_RPS) or use_backlog_threads():
                spin_unlock_irqrestore(sd.input_pkt_queue.lock, flags)
            else:
                local_irq_restore(flags)
            """,
            """
            local_irq_restore(flags)
            spin_unlock(sd.input_pkt_queue.lock)
            """,
        ),
    ),
    mutation(
        "rps_polls_here",
        "RPS schedules another CPU's backlog on this CPU.",
        Edit(
            "napi_schedule_rps",
            """
            sd.rps_ipi_next = mysd.rps_ipi_list
            mysd.rps_ipi_list = sd
            if not mysd.in_net_rx_action and not mysd.in_napi_threaded_poll:
                __raise_softirq_irqoff(NET_RX_SOFTIRQ)
            """,
            """
            __napi_schedule_irqoff(sd.backlog)
            """,
        ),
    ),
    mutation(
        "rt_rps_ipi",
        "On PREEMPT_RT, too, RPS sends an IPI whose handler raises NET_RX.",
        Edit(
            "napi_schedule_rps",
            """
            if use_backlog_threads():
                __napi_schedule_irqoff(sd.backlog)
                return
            """,
            "",
        ),
        Edit(
            "sd_has_rps_ipi_waiting",
            "not use_backlog_threads() and sd.rps_ipi_list",
            "sd.rps_ipi_list",
        ),
        Edit(
            "rps_trigger_softirq",
            "____napi_schedule(sd, sd.backlog)",
            """
            __raise_softirq_irqoff(NET_RX_SOFTIRQ)
            list_add_tail(sd.backlog.poll_list, sd.poll_list)
            """,
        ),
    ),
    mutation(
        "delivered_not_freed",
        "A delivered packet is forgotten, not freed.",
        Edit("__netif_receive_skb", "return ip_rcv(skb, skb.dev)", "return 0"),
    ),
)

THREADS = (
    mutation(
        "should_run_tests_sched",
        "The backlog thread runs when SCHED is set, whoever owns it: version 1 of the series.",
        Edit("backlog_napi_should_run", "NAPI_STATE_SCHED_THREADED", "NAPI_STATE_SCHED"),
    ),
    mutation(
        "thread_of_another",
        "A backlog's thread polls the next CPU's.",
        Edit("run_backlog_napi", "per_cpu(softnet_data, cpu)", "per_cpu(softnet_data, 1 - cpu)"),
    ),
    mutation(
        "no_local_shortcut",
        "Local packets wake the backlog thread as well: slower loopback, and safe.",
        Edit(
            "____napi_schedule",
            "if not (use_backlog_threads() and thread == this_cpu_ptr(backlog_napi).task):",
            "if thread:",
        ),
    ),
    mutation(
        "always_wake_the_thread",
        "The local CPU's own backlog is linked and its thread is told to poll it as well.",
        Edit(
            "____napi_schedule",
            "list_add_tail(napi.poll_list, sd.poll_list)",
            """
            if test_bit(NAPI_STATE_THREADED, napi.state):
                set_bit(NAPI_STATE_SCHED_THREADED, napi.state)
            list_add_tail(napi.poll_list, sd.poll_list)
            """,
        ),
    ),
    mutation(
        "threaded_bit_comes_first",
        "SCHED_THREADED is set before it is clear that the thread is to poll.",
        Edit(
            "____napi_schedule",
            """
            if not (use_backlog_threads() and thread == this_cpu_ptr(backlog_napi).task):
                set_bit(NAPI_STATE_SCHED_THREADED, napi.state)
            """,
            """
            set_bit(NAPI_STATE_SCHED_THREADED, napi.state)
            if not (use_backlog_threads() and thread == this_cpu_ptr(backlog_napi).task):
            """,
        ),
    ),
    mutation(
        "threaded_bit_plain",
        "SCHED_THREADED is set by a plain store, under the backlog's lock: safe on x86, since waking takes a lock before it looks.",
        Edit("____napi_schedule", " set_bit(", " __set_bit("),
    ),
    mutation(
        "state_without_barrier",
        "set_current_state() without its barrier: the sleeper looks whether there is work while its state is still on the way, the"
        " waker provides work and finds it running. On x86 nobody wakes it; with sequentially consistent memory nothing is wrong.",
        Edit("set_current_state", "smp_mb()", ""),
    ),
)
