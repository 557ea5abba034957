# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a context may stop, which functions are reached, and which fields change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from softnet.lang import ir
from softnet.lang.program.program import Program

DROPPED: Final = frozenset(
    ("line_read", "line_write", "line_transfer", "hist_record", "cost_ns", "cpu_update", "actor_set", "cpu_timer_update",
     "timer_program", "account", "update_curr")
)  # fmt: skip
"""Machine functions that only keep time, prices and statistics: calls of them are left out, their result is 0."""

LOCAL: Final = frozenset(
    ("preempt_count_add", "preempt_count_sub", "preempt_count", "softirq_count", "in_hardirq", "irqs_disabled", "current",
     "nr_cpu_ids", "cpu_online", "cpu_is_offline", "vtime_softirq_enter", "vtime_softirq_exit", "vtime_user_enter",
     "vtime_user_exit", "migrate_count", "ktime_get", "local_clock", "irq_ack", "cpu_irq_line", "preempt_enable_due",
     "task_is_rt_policy", "spin_release", "hrtimer_active", "mix32", "rt_spin_lock_checks")
)  # fmt: skip
"""Machine functions that only this context can see or that commute to the left (spin_release): no stop before them.

preempt_enable_due() reads NEED_RESCHED, which another CPU may set; whoever does also sends an interrupt, which preempts at
the next stop, so that reading it early loses nothing.
"""


OWN_MACHINE: Final = frozenset(
    (
        "set_task_state",
        "schedule_now",
        "need_resched",
        "set_polling",
        "clear_polling",
        "idle_enter",
        "irq_return",
        "rt_save_state",
        "schedule_preempt",
    )
)
"""Machine functions that touch nothing but their own CPU's machine, as long as no task of that CPU holds a lock."""
OWN_LOCK: Final = frozenset(("rt_try_take", "rt_block_on", "rt_wait_how", "rt_release"))
"""Machine functions that touch, besides, a lock and the machines of those who hold it or wait for it."""


def point_kind(why: str, fields: Mapping[str, str], changing: frozenset[str], reduce: bool) -> str:
    """What an interaction point is: "" none, ``non`` (non-mover), ``own`` (own CPU's interrupts only), ``acquire``,
    ``disable``, ``enable`` (interrupts), ``commit`` (a left mover: no stop, but one before the next that is none),
    ``hard`` (always a stop).

    ``fields`` gives the kind of "structure.field", ``changing`` the fields that any function stores to.
    """
    if why.startswith("trace "):
        return ""
    if "." in why:
        if why not in changing:
            return ""
        if not reduce:
            return "hard"
        return "own" if fields.get(why) == "percpu" else "non"
    if why == "spin_acquire":
        return "acquire" if reduce else "hard-acquire"
    if why.startswith("vx_"):
        # The harness's own notes, which no function of the kernel reads.
        return ""
    if not reduce:
        return "hard"
    if why in ("cpu_online", "cpu_is_offline") and "cpu_hw.online" in changing:
        return "non"
    if why == "spin_release":
        return "commit"
    if why in LOCAL:
        return ""
    if why == "irq_local_disable":
        return "disable"
    if why == "irq_local_restore":
        return "enable"
    return "non"


def reachable(module: ir.Module, roots: Iterable[str], program: Program) -> set[str]:
    """The functions that the roots lead to, by call or by a pointer that some of them store."""
    names = {number: name for name, number in module.function_ids.items()}
    fnptr = {f"{s.name}.{f.name}" for s in program.structs.values() for f in s.fields.values() if f.type == "fnptr"}
    seen: set[str] = set()
    pending = list(roots)
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for block in module.functions[name].blocks:
            for i in block.body:
                if isinstance(i, ir.Call):
                    if i.function not in DROPPED:
                        pending.append(i.function)
                elif isinstance(i, ir.Store) and i.place.field in fnptr and isinstance(i.value, int) and i.value:
                    pending.append(names[i.value])
    return seen


def stored_fields(module: ir.Module, functions: Iterable[str]) -> frozenset[str]:
    """The fields that some of the functions store to; everything else is constant once booted."""
    found: set[str] = set()
    for name in functions:
        for block in module.functions[name].blocks:
            found |= {i.place.field for i in block.body if isinstance(i, ir.Store | ir.Atomic)}
    return frozenset(found)
