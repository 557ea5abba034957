# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the kernel's events the lab records, with what arguments, and what they are called in the trace.

The kernel's functions are probed at their entry (``p:``) and, where the decision shows in the returned value,
at their return (``r:``). Arguments are registers of the x86-64 calling convention and fields at offsets that
the kernel itself told (``softnet.lab.tracing.facts``). State that a function is about to test is read at its entry
without a lock, so under contention it may be stale by the time the kernel tests it.
"""

from __future__ import annotations

from softnet.lab.guest.plans import TracePlan
from softnet.lab.tracing.facts import Facts

NET_RX_SOFTIRQ = 3
_WAKEUPS = 'comm ~ "ksoftirqd/*" || comm ~ "backlog_napi/*"'
# Whether a wakeup of theirs was one depends on whether they slept.
_SLEEPS = 'prev_comm ~ "ksoftirqd/*" || prev_comm ~ "backlog_napi/*"'


def _per_cpu(facts: Facts, prefix: str, field: str, cpus: int) -> str:
    """Arguments that read one u32 of every CPU's softnet_data."""
    where = facts.symbols["softnet_data"] + facts.offset(f"softnet_data.{field}")
    return " ".join(f"{prefix}{cpu}=+{where}(@__per_cpu_offset+{8 * cpu}):u32" for cpu in range(cpus))


def kprobes(facts: Facts, cpus: int) -> list[list[str]]:
    """[event name, definition] for every function that this kernel has as a function of its own."""
    counts = _per_cpu(facts, "count", "defer_count", cpus)
    qlens = _per_cpu(facts, "qlen", "input_pkt_queue.qlen", cpus)
    alloc_cpu = facts.offset("sk_buff.alloc_cpu")
    func = facts.offset("__call_single_data.func")
    flow = f"hash=+{facts.offset('sk_buff.hash')}(%di):u32"
    table = [
        ("p", "skb_attempt_defer_free", "", f"skb=%di:x64 alloc_cpu=+{alloc_cpu}(%di):u16 {counts}"),
        ("p", "kick_defer_list_purge", "", "target=%si:u32"),
        ("p", "smp_call_function_single_async", "", f"target=%di:s32 func=+{func}(%si):x64"),
        ("p", "trigger_rx_softirq", "", ""),
        ("p", "rps_trigger_softirq", "", ""),
        ("p", "enqueue_to_backlog", "", f"skb=%di:x64 target=%si:s32 {flow} {qlens}"),
        ("r", "enqueue_to_backlog", "_ret", "ret=$retval:s32"),
        ("p", "process_backlog", "", "quota=%si:s32"),
        ("r", "process_backlog", "_ret", "work=$retval:s32"),
        ("p", "net_rx_action", "", ""),
        ("r", "net_rx_action", "_ret", ""),
    ]
    if "softnet_data.defer_work" in facts.offsets:
        work_func = facts.offset("work_struct.func")
        table.append(("p", "queue_work_on", "", f"target=%di:s32 func=+{work_func}(%dx):x64"))
    return [
        [f"{symbol}{suffix}", f"{kind}:softnet/{symbol}{suffix} {symbol} {arguments}".rstrip()]
        for kind, symbol, suffix, arguments in table
        if symbol in facts.symbols
    ]


def tracepoints(facts: Facts, *, switches: bool) -> list[list[str]]:
    """[event, filter] for the tracepoints; scheduler events only of softnet's own threads, unless ``switches``."""
    wanted = [
        ["irq/softirq_raise", f"vec == {NET_RX_SOFTIRQ}"],
        ["irq/softirq_entry", f"vec == {NET_RX_SOFTIRQ}"],
        ["irq/softirq_exit", f"vec == {NET_RX_SOFTIRQ}"],
        ["sched/sched_waking", _WAKEUPS],
        ["napi/napi_poll", ""],
        ["net/netif_rx", ""],
        ["skb/kfree_skb", ""],
        ["skb/consume_skb", ""],
    ]
    wanted.append(["sched/sched_switch", "" if switches else _SLEEPS])
    return [entry for entry in wanted if entry[0] in facts.tracepoints]


def trace_plan(facts: Facts, cpus: int, *, clock: str = "counter", buffer_kb: int = 32768, switches: bool = False) -> TracePlan:
    """The tracing part of a plan for the guest. ``buffer_kb`` is for each CPU."""
    return {
        "clock": clock,
        "buffer_kb": buffer_kb,
        "kprobes": kprobes(facts, cpus),
        "events": tracepoints(facts, switches=switches),
    }


NO_TRACE: TracePlan = {"clock": "counter", "buffer_kb": 0, "kprobes": [], "events": []}
