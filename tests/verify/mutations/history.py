# SPDX-License-Identifier: GPL-2.0-or-later
"""Bugs that were fixed before or while the series went in."""

from __future__ import annotations

from tests.mutation import Edit, mutation

ATTEMPT = "skb_attempt_defer_free"

HISTORY = (
    mutation(
        "csd_without_flag",
        "Before 97e719a82b43 (v5.19): every crossing of the watermark queues the csd, in flight or not.",
        Edit(
            ATTEMPT,
            """
            if not cmpxchg(sd.defer_ipi_scheduled, 0, 1):
                trace_kick_defer_list_purge(cpu)
                smp_call_function_single_async(cpu, sd.defer_csd)
            else:
                trace_kick_coalesced(cpu)
            """,
            """
            trace_kick_defer_list_purge(cpu)
            smp_call_function_single_async(cpu, sd.defer_csd)
            """,
        ),
    ),
    mutation(
        "enable_before_complete",
        "Before 39e6c8208d7b (v4.11) an interrupt during the poll was forgotten: the driver unmasks it first, and there is"
        " no MISSED.",
        Edit(
            "softnet_poll",
            """
            if napi_complete_done(napi, done):
                work("nic_irq_enable")
                nic_irq_enable(v.queue)
            """,
            """
            work("nic_irq_enable")
            nic_irq_enable(v.queue)
            napi_complete_done(napi, done)
            """,
        ),
        Edit("napi_schedule_prep", "new |= (val & NAPIF_STATE_SCHED) // NAPIF_STATE_SCHED * NAPIF_STATE_MISSED", ""),
    ),
    mutation(
        "flush_after_the_test",
        "Before f3412b3879b4 (v5.19): net_rx_action() returns without a flush when there is no NAPI to poll.",
        Edit("net_rx_action", "skb_defer_free_flush(sd)", ""),
        Edit(
            "net_rx_action",
            'n = container_of(list.next, napi_struct, "poll_list")',
            """
            skb_defer_free_flush(sd)
            n = container_of(list.next, napi_struct, "poll_list")
            """,
        ),
    ),
)
