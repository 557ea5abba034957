# SPDX-License-Identifier: GPL-2.0-or-later
"""net_rx_action(), the driver, softirqs and ksoftirqd, function calls, CPU hotplug."""

from __future__ import annotations

from tests.mutation import Edit, mutation

POLLING = (
    mutation(
        "disable_does_not_wait",
        "napi_disable() takes a NAPI that somebody polls.",
        Edit(
            "napi_disable",
            """
            if val & (NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC):
                usleep_range(20, 200)
                continue
            """,
            "",
        ),
    ),
    mutation(
        "enable_keeps_npsvc",
        "napi_enable() leaves NPSVC, with which no poll may complete.",
        Edit("napi_enable", "val & ~(NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC)", "val & ~NAPIF_STATE_SCHED"),
    ),
    mutation(
        "interrupt_before_enable",
        "The driver unmasks its interrupt before napi_enable(): one that comes in between masks it again and schedules nothing.",
        Edit(
            "softnet_open",
            """
            napi_enable(v.napi)
            nic_irq_enable(v.queue)
            """,
            """
            nic_irq_enable(v.queue)
            napi_enable(v.napi)
            """,
        ),
    ),
    mutation(
        "busy_poll_keeps_its_bit",
        "busy_poll_stop() leaves IN_BUSY_POLL, with which no poll may complete.",
        Edit("busy_poll_stop", "clear_bit(NAPI_STATE_IN_BUSY_POLL, napi.state)", "pass"),
    ),
    mutation(
        "busy_poll_just_ends",
        "busy_poll_stop() gives the NAPI up without the poll that lets the card interrupt again.",
        Edit("busy_poll_stop", "rc = napi.poll(napi, budget)", "rc = 0\nclear_bit(NAPI_STATE_SCHED, napi.state)"),
    ),
    mutation(
        "busy_poll_before_cmpxchg",
        "A task that polls takes the NAPI without asking whether somebody has it.",
        Edit(
            "napi_busy_loop_try",
            "if not val & (NAPIF_STATE_DISABLE | NAPIF_STATE_SCHED | NAPIF_STATE_IN_BUSY_POLL):",
            "if not val & NAPIF_STATE_DISABLE:",
        ),
    ),
    mutation(
        "no_raise_at_the_end",
        "net_rx_action() leaves a poll list behind without raising NET_RX.",
        Edit("net_rx_action", "__raise_softirq_irqoff(NET_RX_SOFTIRQ)", "pass"),
    ),
    mutation(
        "no_restart",
        "net_rx_action() does not look again after it has cleared in_net_rx_action.",
        Edit(
            "net_rx_action",
            """
            # ____napi_schedule() may have filled poll_list without a raise while the flag was true.
            if not list_empty(sd.poll_list):
                sd.in_net_rx_action = True
                local_irq_disable()
                list_splice_init(sd.poll_list, list)
                local_irq_enable()
                continue
            """,
            "",
        ),
    ),
    mutation(
        "poll_left_to_ksoftirqd",
        "net_rx_action() flushes and leaves polling to ksoftirqd, which leaves it as well.",
        Edit(
            "net_rx_action",
            'work("net_rx_action")',
            """
            work("net_rx_action")
            skb_defer_free_flush(sd)
            if not list_empty(sd.poll_list):
                raise_softirq_irqoff(NET_RX_SOFTIRQ)
                return
            """,
        ),
    ),
    mutation(
        "softirq_raised_again",
        "net_rx_action() raises NET_RX again and again: a livelock.",
        Edit(
            "net_rx_action",
            "while True:",
            """
            __raise_softirq_irqoff(NET_RX_SOFTIRQ)
            while True:
            """,
        ),
    ),
    mutation(
        "completed_twice",
        "The card's driver ends its poll twice.",
        Edit(
            "softnet_poll",
            "if napi_complete_done(napi, done):",
            """
            napi_complete_done(napi, done)
            if napi_complete_done(napi, 0):
            """,
        ),
    ),
    mutation(
        "interrupt_stays_masked",
        "The card's driver does not unmask its interrupt after a poll that received frames.",
        Edit("softnet_poll", "if napi_complete_done(napi, done):", "if napi_complete_done(napi, done) and done == 0:"),
    ),
)

SOFTIRQS_AND_CALLS = (
    mutation(
        "exit_without_softirq",
        "The end of a hard interrupt leaves what it raised pending.",
        Edit(
            "irq_exit_rcu",
            """
            if not in_interrupt() and local_softirq_pending():
                invoke_softirq()
            """,
            "",
        ),
    ),
    mutation(
        "pending_not_cleared",
        "What is pending is not cleared before it is run.",
        Edit("handle_softirqs", "this_cpu_ptr(irq_cpustat_t).softirq_pending = 0", ""),
    ),
    mutation(
        "ksoftirqd_sleeps",
        "ksoftirqd never finds anything to do.",
        Edit("ksoftirqd_should_run", "bool(local_softirq_pending())", "False"),
    ),
    mutation(
        "ksoftirqd_waits",
        "ksoftirqd waits for somebody else to run what is pending; interrupts leave it to ksoftirqd.",
        Edit("run_ksoftirqd", "handle_softirqs(True)", ""),
        Edit(
            "invoke_softirq",
            """
            if not force_irqthreads() or not this_cpu_ptr(irq_cpustat_t).ksoftirqd:
                __do_softirq()
            else:
                wakeup_softirqd()
            """,
            """
            wakeup_softirqd()
            """,
        ),
    ),
    mutation(
        "ksoftirqd_raises_again",
        "ksoftirqd raises NET_RX after each of its rounds: a livelock.",
        Edit(
            "run_ksoftirqd",
            "handle_softirqs(True)",
            """
            __raise_softirq_irqoff(NET_RX_SOFTIRQ)
            handle_softirqs(True)
            __raise_softirq_irqoff(NET_RX_SOFTIRQ)
            """,
        ),
    ),
    mutation(
        "csd_not_unlocked",
        "A function call is run and its csd stays locked.",
        Edit("__flush_smp_call_function_queue", "csd_unlock(csd)", ""),
    ),
    mutation(
        "csd_unlocked_twice",
        "The csd is unlocked a second time after its function.",
        Edit(
            "__flush_smp_call_function_queue",
            "func(info)",
            """
            func(info)
            csd_unlock(csd)
            """,
        ),
    ),
    mutation(
        "csd_without_wmb",
        "The function call's lock bit is set without smp_wmb(): safe on x86, which keeps stores in order.",
        Edit("smp_call_function_single_async", "smp_wmb()", ""),
    ),
    mutation(
        "call_interrupts_a_busy_queue",
        "The interrupt for a function call is sent by who finds the queue in use, not by who finds it empty.",
        Edit("__smp_call_single_queue", "if llist_add(", "if not llist_add("),
    ),
    mutation(
        "wakeup_without_interrupt",
        "A task goes on the other CPU's wake list, and nobody tells that CPU.",
        Edit(
            "__ttwu_queue_wakelist",
            "__smp_call_single_queue(p.cpu, p.wake_entry.llist)",
            "llist_add(p.wake_entry.llist, per_cpu(call_single_queue, p.cpu).head)",
        ),
    ),
    mutation(
        "work_cleared_without_mb",
        "The work item's pending bit is cleared without the barriers around it: safe for this item, whose local_bh_disable() takes"
        " a lock on PREEMPT_RT before it looks at the list.",
        Edit("set_work_pool_and_clear_pending", "smp_wmb()", ""),
        Edit("set_work_pool_and_clear_pending", "smp_mb()", ""),
    ),
)

HOTPLUG = (
    mutation(
        "dead_backlog_moves",
        "The dead CPU's backlog is scheduled where it is taken over, like any NAPI.",
        Edit(
            "dev_cpu_dead",
            """
            if napi == oldsd.backlog:
                dev_cpu_dead_backlog(napi)
            else:
                ____napi_schedule(sd, napi)
            """,
            """
            ____napi_schedule(sd, napi)
            """,
        ),
    ),
    mutation(
        "dead_queue_unlocked",
        "dev_cpu_dead() takes the dead CPU's packets without the backlog's lock: safe, since stop_machine() has waited for whoever"
        " queues there.",
        Edit("dev_cpu_dead", " skb_dequeue(", " __skb_dequeue("),
    ),
    mutation(
        "flush_here_when_dead",
        "dev_cpu_dead() flushes the defer list of the CPU that it runs on.",
        Edit(
            "dev_cpu_dead",
            "local_irq_enable()",
            """
            local_irq_enable()
            local_bh_disable()
            skb_defer_free_flush(sd)
            local_bh_enable()
            """,
        ),
    ),
    mutation(
        "flush_before_stop_machine",
        "A CPU that goes down flushes its defer list before the others are stopped, so that they can still add to it.",
        Edit(
            "cpu_stopper_thread",
            "stop_machine_begin()",
            """
            local_bh_disable()
            skb_defer_free_flush(this_cpu_ptr(softnet_data))
            local_bh_enable()
            stop_machine_begin()
            """,
        ),
    ),
)
