# SPDX-License-Identifier: GPL-2.0-or-later
"""Defects that the explorer found in the model, tried on real kernels, which are not changed for it.

Each needs a race that the guest's program (``guest/race.py``) holds open with a real-time task. What is asserted is read
from the kernel's own memory (/proc/kcore) and shown by what the kernel does afterwards, before and after in one boot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from softnet.lab.guest.plans import RacePlan, RaceWork
from softnet.lab.play.arm import GuestArm
from softnet.lab.play.run import GuestOptions, LabResult, execute
from softnet.lab.studies.experiments import StoryStep, add_step
from softnet.lab.tracing import facts, probes
from softnet.lab.tracing.records import CSD_FUNCTIONS, MARK, LabRecord, LabTrace
from softnet.lab.vm import qemu
from softnet.properties.findings import FINDINGS

_FIELDS = {
    "defer_count": 4,
    "defer_ipi_scheduled": 4,
    "input_pkt_queue.qlen": 4,
    "process_queue.qlen": 4,
    "backlog.state": 8,
    "rps_ipi_list": 8,
}
_CPUS = 4


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect: what it is, where it can be, what the guest is asked to do."""

    name: str
    text: str
    arms: tuple[str, ...]
    boot_args: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    work: RaceWork


_SYSCTL = "/proc/sys/net/core"
_COMMON: RaceWork = {
    "main": 3,
    "freer": 1,
    "steers": 1,
    "tries": 60,
    "seconds": 120.0,
    "nap_us": 60,
    "hold_seconds": 10.0,
}


def _finding(number: str) -> tuple[str, str, tuple[str, ...]]:
    """Name, text and arms of a finding."""
    found = FINDINGS[number]
    return found.lab, found.text, found.seen


DEFECTS = {
    defect.name: defect
    for defect in (
        Defect(
            *_finding("C7"),
            ("preempt=full",),
            (),
            {
                **_COMMON, "race": "offline-kick", "owner": 2, "connections": 200, "segment": 600, "limit": 64,
                "race_limit": 1, "inside": ["kick_defer_list_purge", "skb_attempt_defer_free"],
                "past": ["kfree", "skb_release", "kmem_cache_free"],
            },
        ),
        Defect(
            *_finding("C5"),
            # While ksoftirqd is kept waiting, RCU must go on without it, or the CPU cannot be taken down.
            ("threadirqs", "rcutree.use_softirq=0"),
            (("/sys/class/net/lo/queues/rx-0/rps_cpus", "4"),),
            {**_COMMON, "race": "owed-ipi", "owner": 2, "freer": 0, "pacing": 3_000_000, "datagrams": 10},
        ),
        Defect(
            *_finding("C8"),
            (),
            (("/sys/class/net/lo/queues/rx-0/rps_cpus", "4"),),
            {
                **_COMMON, "race": "dead-queue", "owner": 2, "freer": 0, "hold_seconds": 3.0,
                "busy_ms": 40, "nap_us": 10, "seconds": 190.0,
                "inside": ["get_rps_cpu", "enqueue_to_backlog", "netif_rx_internal"],
                "past": ["wake_up_process", "try_to_wake_up", "do_softirq", "handle_softirqs"],
            },
        ),
        Defect(
            *_finding("C1"),
            (),
            ((f"{_SYSCTL}/netdev_budget", "1"),),
            {
                **_COMMON, "race": "lost-kick", "owner": 0, "connections": 200, "segment": 600, "limit": 64,
                "race_limit": 2, "frees": 2, "tries": 20_000,
            },
        ),
    )
}  # fmt: skip


def attempt(
    defect: Defect, arm: GuestArm, *, options: GuestOptions, say: Callable[[str], None], tries: int | None = None
) -> LabResult:
    """Try ``defect`` on ``arm``; the result's ``work`` is what the guest's program says."""
    known = facts.gather(arm.image, say=say, accel=options.accel)
    trace = probes.trace_plan(known, _CPUS, buffer_kb=8192)
    trace["kprobes"].append(
        [
            "smp_call_function_single_async_ret",
            "r:softnet/smp_call_function_single_async_ret smp_call_function_single_async ret=$retval:s32",
        ]
    )
    work: RaceWork = {
        **_on(defect, known),
        "fields": {
            name: [known.offsets[f"softnet_data.{name}"], size]
            for name, size in _FIELDS.items()
            if f"softnet_data.{name}" in known.offsets
        },
        "per_cpu_symbol": known.symbols["softnet_data"],
        "per_cpu_offsets": known.symbols["__per_cpu_offset"],
        # The guest ends by itself, with what it has found, before it is killed.
        "seconds": min(float(defect.work["seconds"]), options.bounds.total_seconds * 0.8),
    }
    pointer = probes.pointers(known).get(probes.NODES)
    if pointer is not None:
        work["nodes"] = {"defer_count": [known.offset("skb_defer_node.defer_count"), 8]}
        work["nodes_pointer"] = pointer
    if tries is not None:
        work["tries"] = tries
    plan: RacePlan = {
        "kind": "race",
        "settings": [list(row) for row in defect.settings],
        "threads": [["rcu*", "fifo:99", None]],
        "trace": trace,
        "work": work,
    }
    say(f"{arm.label}: booting {arm.image.release}")
    return execute(
        arm,
        plan,
        known,
        qemu.GuestMachine(cpus=_CPUS, boot_args=defect.boot_args),
        options=options,
        say=lambda text: say(f"{arm.label}: {text}"),
        about={"experiment": defect.name, **_about(work)},
    )


LOCK_FREE_LIMIT = 3
"""The least skb_defer_max at which a lock-free list kicks: it takes one skb less than the limit, and the second of them kicks."""


def _on(defect: Defect, known: facts.Facts) -> RaceWork:
    """What the guest is asked to do, where the kernel's defer lists are lock-free (since v6.18) and where they are not."""
    if "race_limit" in defect.work and probes.NODES in known.offsets:
        return {**defect.work, "race_limit": LOCK_FREE_LIMIT}
    return defect.work


def _about(work: RaceWork) -> dict[str, Any]:
    """What a check of the trace must know: C1's is whole and begins at rest, the others are recorded in pieces."""
    if work["race"] != "lost-kick":
        return {"pauses": True}
    limit = work["race_limit"]
    return {"skb_defer_max": limit, "sysctl": {"skb_defer_max": limit, "netdev_budget": 1}, "lo_rps_cpus": []}


_TRIGGER_RX = CSD_FUNCTIONS["trigger_rx_softirq"]
_ENXIO = -6
RACE, CAUGHT = "race", "caught in "
"""Marks that the guest's program puts into the trace: a race is held open; where the task was caught."""


def _told(record: LabRecord, owner: int, threads: dict[int, str]) -> str | None:
    """What a record is in the story of the owner's CPU, or None."""
    if record.event == "skb_attempt_defer_free" and record.b == owner != record.cpu:
        return "free"
    if record.event == "kick_defer_list_purge" and record.a == owner:
        return "kick"
    if record.event == "csd_queue_cpu" and record.a == owner:
        return "IPI to kick" if record.b == _TRIGGER_RX else "IPI of RPS"
    if record.event == "csd_queue_cpu_ret" and record.a == _ENXIO:
        return "refused: ENXIO"
    if record.event == "enqueue_to_backlog" and record.b == owner:
        return "packet queued"
    if record.event == "sched_waking" and threads.get(record.a) == f"backlog_napi/{owner}":
        return f"backlog_napi/{owner} woken"
    if record.cpu == owner:
        return {
            "trigger_rx_softirq": "trigger_rx_softirq",
            "rps_trigger_softirq": "rps_trigger_softirq",
            "net_rx_action_entry": "net_rx_action begins",
            "process_backlog_entry": "backlog polled",
            "net_rx_action": "net_rx_action ends",
        }.get(record.event)
    return None


def story(trace: LabTrace, owner: int) -> list[tuple[str, list[StoryStep]]]:
    """(phase, what happened on or to the owner's CPU in its order, equal neighbours counted together)."""
    threads = {int(pid): name for pid, name in trace.header.get("tasks", {}).items()}
    phases: list[tuple[str, list[StoryStep]]] = []
    for record in trace.records:
        if record.event == MARK:
            phases.append((record.text, []))
            continue
        what = _told(record, owner, threads)
        if what is None or not phases:
            continue
        steps = phases[-1][1]
        add_step(steps, what)
    return phases


def seen(defect: Defect, result: LabResult) -> bool:
    """Whether the kernel's memory and what it did afterwards both show the defect."""
    work = result.work
    if not work["found"]:
        return False
    states = {row["name"]: row for row in work["watched"]}
    race = defect.work["race"]
    if race == "offline-kick":
        after, limit = states["after"], defect.work["limit"]
        kicked = any(
            step.what == "IPI to kick"
            for name, steps in story(result.trace, defect.work["owner"])
            if name == "after"
            for step in steps
        )
        # A lock-free list counts what it does not take, too.
        return bool(after["defer_ipi_scheduled"] and after["defer_count"] >= limit and not kicked)
    if race == "owed-ipi":
        return bool(states["before"]["arrived"] and not states["after"]["arrived"])
    if race == "dead-queue":
        return bool(states["dead, a second later"]["input_pkt_queue.qlen"])
    return bool(states["a second later"]["defer_count"] > int(result.trace.header["skb_defer_max"]) >> 1)
