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


# The registers of a function's parameters on x86-64.
_REGISTERS = ("di", "si", "dx", "cx", "r8", "r9")
NODES = "net_hotdata.skb_defer_nodes"
"""Where a kernel has it, a CPU's defer lists are lock-free, one for each NUMA node (since v6.18)."""


def _per_cpu(facts: Facts, prefix: str, field: str, cpus: int) -> str:
    """Arguments that read one u32 of every CPU's softnet_data."""
    where = facts.symbols["softnet_data"] + facts.offset(f"softnet_data.{field}")
    # Since v6.15 a per-CPU symbol is an address like any other, and a kprobe's offsets are signed.
    where -= (where >> 63) << 64
    return " ".join(f"{prefix}{cpu}={where:+d}(@__per_cpu_offset+{8 * cpu}):u32" for cpu in range(cpus))


def _defer_counts(facts: Facts, cpus: int) -> str:
    """Arguments that read the counter of every CPU's defer list: a field of softnet_data, or of a list for each NUMA node.

    The second is allocated at boot, and no kprobe's argument adds a pointer to a CPU's offset. So the guest reads the pointer and
    puts its value where ``<name+number>`` stands (``guest/tracefs.py``). A guest has one node, and the first is read.
    """
    if NODES not in facts.offsets:
        return _per_cpu(facts, "count", "defer_count", cpus)
    count = facts.offset("skb_defer_node.defer_count")
    return " ".join(f"count{cpu}=<{NODES}+{count}>(@__per_cpu_offset+{8 * cpu}):u32" for cpu in range(cpus))


def pointers(facts: Facts) -> dict[str, int]:
    """Name -> address of the pointers that the guest must read before it defines the kprobes."""
    return {NODES: facts.symbols["net_hotdata"] + facts.offset(NODES)} if NODES in facts.offsets else {}


def kprobes(facts: Facts, cpus: int) -> list[list[str]]:
    """[event name, definition] for every function that this kernel has as a function of its own."""
    counts = _defer_counts(facts, cpus)
    qlens = _per_cpu(facts, "qlen", "input_pkt_queue.qlen", cpus)
    alloc_cpu = facts.offset("sk_buff.alloc_cpu")
    func = facts.offset("__call_single_data.func")
    kicked = _REGISTERS[facts.parameters.get("kick_defer_list_purge.cpu", 1)]
    flow = f"hash=+{facts.offset('sk_buff.hash')}(%di):u32"
    table = [
        ("p", "skb_attempt_defer_free", "", f"skb=%di:x64 alloc_cpu=+{alloc_cpu}(%di):u16 {counts}"),
        ("p", "kick_defer_list_purge", "", f"target=%{kicked}:u32"),
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
        "pointers": pointers(facts),
        "kprobes": kprobes(facts, cpus),
        "events": tracepoints(facts, switches=switches),
    }


NO_TRACE: TracePlan = {"clock": "counter", "buffer_kb": 0, "kprobes": [], "events": []}
