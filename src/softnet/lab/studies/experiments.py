# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiments with an exact answer, and what a real kernel's trace says about each.

``first-kick``: 110 loopback TCP connections, everything on CPU 0; one 600-byte segment on each (one, because TCP
coalesces segments in a receive queue); then the same task moves to CPU 1 and reads one after the other while
CPU 0 idles. Every read frees an skb that CPU 0 allocated. With ``skb_defer_max`` 64 the first kick is at the
33rd, on every kernel that has the deferred free; where the flush lands among the attempts is timing.

``limits``: first-kick at one ``skb_defer_max`` after the other, in one run.

``flow-limit``: 200 datagrams of one flow through CPU 0's own backlog, one after the other, with ``netdev_max_backlog`` 1.
At half the bound and above, that is always, the flow's packets are counted, and from the 65th on each is dropped.

``C4``: the same as first-kick, but ``skb_defer_max`` is lowered from 64 to 16 after 20 reads. The watermark is behind by then:
no kick comes, and the 20 stay until CPU 0 happens to receive something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from softnet.lab.guest.plans import Step
from softnet.lab.play.arm import GuestArm
from softnet.lab.play.run import GuestOptions, LabResult, run_script
from softnet.lab.tracing.records import CSD_FUNCTIONS, MARK, LabRecord, LabTrace
from softnet.properties.findings import FINDINGS
from softnet.release import nearest

OWNER_CPU, READER_CPU = 0, 1
SKB_DEFER_MAX = "/proc/sys/net/core/skb_defer_max"
SEGMENT_BYTES = 600
_SETTLE_MS = 500


def first_kick_steps(connections: int) -> list[Step]:
    """The steps of first-kick."""
    return [
        ["move", OWNER_CPU],
        ["connect", connections],
        ["send_each", SEGMENT_BYTES],
        ["settle", _SETTLE_MS],
        ["move", READER_CPU],
        ["settle", _SETTLE_MS],
        ["trace", "on"],
        ["read", connections],
        ["settle", _SETTLE_MS],
        ["trace", "off"],
    ]


def c4_steps(connections: int, before: int, lowered_to: int) -> list[Step]:
    """The steps of C4: ``before`` reads, then the limit is lowered, then the rest of the reads."""
    steps = first_kick_steps(connections)
    at = steps.index(["read", connections])
    steps[at : at + 1] = [
        ["read", before],
        ["set", SKB_DEFER_MAX, str(lowered_to)],
        ["mark", f"skb_defer_max {lowered_to}"],
        ["read", connections - before],
    ]
    return steps


LIMITS = (0, 1, 2, 64, 1000)
"""The values of skb_defer_max that the experiment ``limits`` goes through, with ``reads_at`` reads at each."""


def reads_at(limit: int) -> int:
    """How many skbs to free at a limit, so that the list comes to its watermark if it has one."""
    return max(110, limit // 2 + 30)


def limits_steps() -> list[Step]:
    """The steps of ``limits``: first-kick at one limit after the other; a datagram on CPU 0 flushes in between."""
    steps: list[Step] = [
        ["move", OWNER_CPU],
        ["connect", sum(reads_at(limit) for limit in LIMITS)],
        ["send_each", SEGMENT_BYTES],
        ["settle", _SETTLE_MS],
        ["trace", "on"],
    ]
    for limit in LIMITS:
        steps += [
            ["set", SKB_DEFER_MAX, str(limit)],
            ["mark", f"skb_defer_max {limit}"],
            ["move", READER_CPU],
            ["read", reads_at(limit)],
            ["settle", 100],
            ["move", OWNER_CPU],
            ["datagrams", 1, 100],
            ["settle", 100],
        ]
    return [*steps, ["trace", "off"]]


def limits(arm: GuestArm, *, options: GuestOptions, say: Callable[[str], None]) -> LabResult:
    """Run ``limits`` on an arm."""
    about = {"experiment": "limits", "limits": list(LIMITS), "skb_defer_max": 64, "lo_rps_cpus": []}
    return run_script(arm, limits_steps(), settings=[], options=options, say=say, about=about)


def first_kicks(trace: LabTrace) -> dict[int, int | None]:
    """Limit -> the attempt after which the first kick came while it was in force, or None if none came."""
    found: dict[int, int | None] = {}
    limit = attempts = -1
    for record in trace.records:
        what = _told(record)
        if record.event == MARK:
            limit, attempts = int(record.text.split()[-1]), 0
            found[limit] = None
        elif what == "attempt":
            attempts += 1
        elif what in ("kick", "IPI", "work item") and limit >= 0 and found[limit] is None:
            found[limit] = attempts
    return found


DATAGRAMS = 200
_FLOW_LIMIT_CPUS = "/proc/sys/net/core/flow_limit_cpu_bitmap"
_MAX_BACKLOG = "/proc/sys/net/core/netdev_max_backlog"


def flow_limit(arm: GuestArm, *, options: GuestOptions, say: Callable[[str], None]) -> LabResult:
    """Run flow-limit on an arm."""
    steps: list[Step] = [
        ["move", OWNER_CPU],
        ["settle", _SETTLE_MS],
        ["trace", "on"],
        ["datagrams", DATAGRAMS, 100],
        ["settle", _SETTLE_MS],
        ["trace", "off"],
    ]
    settings = [[_MAX_BACKLOG, "1"], [_FLOW_LIMIT_CPUS, f"{1 << OWNER_CPU:x}"]]
    sysctl = {"netdev_max_backlog": 1, "flow_limit_cpu_bitmap": [OWNER_CPU]}
    about = {"experiment": "flow-limit", "datagrams": DATAGRAMS, "sysctl": sysctl, "lo_rps_cpus": []}
    return run_script(arm, steps, settings=settings, options=options, say=say, about=about)


@dataclass(frozen=True, slots=True)
class StoryStep:
    """A run of equal events in the story of an experiment."""

    what: str
    count: int


def _told(record: LabRecord) -> str | None:
    """What a record is in the story, or None if it plays no part in it."""
    if record.event == "skb_attempt_defer_free" and record.cpu == READER_CPU and record.b == OWNER_CPU:
        return "attempt"
    if record.event == "kick_defer_list_purge" and record.a == OWNER_CPU:
        return "kick"
    if record.event == "csd_queue_cpu" and record.a == OWNER_CPU and record.b == CSD_FUNCTIONS["trigger_rx_softirq"]:
        return "IPI"
    if record.event == "queue_work_on" and record.a == OWNER_CPU:
        return "work item"
    if record.event == "trigger_rx_softirq" and record.cpu == OWNER_CPU:
        return "trigger_rx_softirq"
    if record.event == "process_backlog_entry" and record.cpu == OWNER_CPU:
        return "process_backlog"
    return record.text if record.event == MARK else None


def story(trace: LabTrace) -> list[StoryStep]:
    """The order of events, equal neighbours counted together."""
    steps: list[StoryStep] = []
    for record in trace.records:
        what = _told(record)
        if what is None:
            continue
        add_step(steps, what)
    return steps


def add_step(steps: list[StoryStep], what: str) -> None:
    """One more event at the end of a story; equal neighbours are counted together."""
    if steps and steps[-1].what == what:
        steps[-1] = StoryStep(what, steps[-1].count + 1)
    else:
        steps.append(StoryStep(what, 1))


def first_kick_at(trace: LabTrace) -> int | None:
    """The number of the attempt (from 1) after which the first kick came, or None if none came.

    Where the kernel has no kick_defer_list_purge() of its own (6.1 inlines it), the IPI is the kick; on
    Debian's 6.1-rt, whose -rt patches replace the IPI, the work item is.
    """
    attempts = 0
    for record in trace.records:
        what = _told(record)
        if what == "attempt":
            attempts += 1
        elif what in ("kick", "IPI", "work item"):
            return attempts
    return None


def expected_first_kick(skb_defer_max: int, connections: int) -> int | None:
    """What the source says: the kick comes when the list already holds max >> 1 (skb_attempt_defer_free)."""
    at = (skb_defer_max >> 1) + 1
    return at if skb_defer_max > 0 and at <= connections else None


def first_kick(
    arm: GuestArm, *, connections: int = 110, skb_defer_max: int = 64, options: GuestOptions, say: Callable[[str], None]
) -> LabResult:
    """Run first-kick on an arm."""
    about = {"experiment": "first-kick", "connections": connections, "skb_defer_max": skb_defer_max}
    settings = [[SKB_DEFER_MAX, str(skb_defer_max)]]
    steps = first_kick_steps(connections)
    return run_script(arm, steps, settings=settings, options=options, say=say, about=about)


def c4(
    arm: GuestArm,
    *,
    connections: int = 110,
    before: int = 20,
    lowered_to: int = 16,
    options: GuestOptions,
    say: Callable[[str], None],
) -> LabResult:
    """Run C4 on an arm, from ``skb_defer_max`` 64."""
    about = {"experiment": "C4", "connections": connections, "skb_defer_max": 64, "lowered_to": lowered_to}
    return run_script(
        arm,
        c4_steps(connections, before, lowered_to),
        settings=[[SKB_DEFER_MAX, "64"]],
        options=options,
        say=say,
        about={**about, "reads_before": before},
    )


def held_at_end(trace: LabTrace) -> int:
    """The owner's defer_count as the last attempt found it: what stays on the list when nobody kicks.

    A lock-free list also counts what it does not take, so there each attempt is held against the limit of its time.
    """
    lock_free = nearest(str(trace.header.get("release", ""))).has("defer_nodes")
    limit, held = int(trace.header.get("skb_defer_max", 64)), 0
    for record in trace.records:
        if record.event == MARK and record.text.startswith("skb_defer_max "):
            limit = int(record.text.split()[1])
        elif record.event == "skb_attempt_defer_free" and record.b == OWNER_CPU:
            held = (held if record.c else 0) + (record.c + 1 < limit) if lock_free else record.c
    return held


C4_ARMS = FINDINGS["C4"].seen
C4_TEXT = FINDINGS["C4"].text


def c4_seen(trace: LabTrace) -> bool:
    """Whether the defect showed: no kick and no flush of the owner's, while the list held more than it may."""
    lowered_to = int(trace.header["lowered_to"])
    quiet = all(step.what == "attempt" or step.what.startswith("skb_defer_max") for step in story(trace))
    return quiet and held_at_end(trace) >= lowered_to
