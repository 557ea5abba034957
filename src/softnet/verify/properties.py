# SPDX-License-Identifier: GPL-2.0-or-later
"""The properties by number, as softnet.verify.harness finds them violated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from softnet.errors import SoftnetError
from softnet.verify import harness


@dataclass(frozen=True)
class Property:
    """A property: its name, the invariants of docs/verify.md that it is part of, and what its violation means."""

    name: str
    invariants: str
    text: str


PROPERTIES: dict[int, Property] = {
    harness.VX_SCHED_WITHOUT_OWNER: Property("phantom SCHED", "I3", "SCHED is set on a backlog that nobody owns: no later packet or kick schedules it"),
    harness.VX_BACKLOG_STUCK: Property("lost work", "I5", "a packet is queued on a backlog that nobody will poll"),
    harness.VX_LOST_KICK: Property("lost kick", "I6", "the defer list is above its watermark and no flush is owed"),
    harness.VX_DEADLOCK: Property("deadlock", "I11", "contexts wait for locks that nobody will release"),
    harness.VX_LEAK: Property("conservation", "I12", "an skb in use is on no list"),
    harness.VX_LINKED_NOT_SCHED: Property("linked without SCHED", "I3", "a backlog is on a poll list although SCHED is clear"),
    harness.VX_TWO_OWNERS: Property("two owners", "I3", "a backlog is on a poll list while SCHED_THREADED gives it to its thread"),
    harness.VX_QUEUED_NOT_SCHED: Property("queued without SCHED", "I5", "input_pkt_queue is not empty although SCHED is clear"),
    harness.VX_OVER_LIMIT: Property("over the limit", "I7", "the defer list holds more than the limit and the producers' overshoot"),
    harness.VX_PENDING_SOFTIRQ: Property("softirq left pending", "I6", "a softirq is pending on a CPU that sleeps"),
    harness.VX_DRIVER_STUCK: Property("driver stuck", "", "a task of the harness cannot start"),
    harness.VX_CSD_STUCK: Property("function call lost", "I8", "defer_ipi_scheduled or a csd's lock bit is set with no call in flight"),
    harness.VX_COUNT_WITHOUT_LIST: Property("count without list", "I10", "defer_count is not 0 although defer_list is empty: deferral stalls"),
    harness.VX_POLL_LIST_STUCK: Property("poll list left", "I3", "a poll list is not empty on a CPU that sleeps"),
}  # fmt: skip


def properties_mask(names: Iterable[str]) -> int:
    """The bits of the named properties, of all for no name. Raises SoftnetError for a name that there is not."""
    by_name = {p.name: number for number, p in PROPERTIES.items()}
    mask = 0
    for name in names or by_name:
        if name not in by_name:
            raise SoftnetError("no such property", where="--property", found=name, expected=", ".join(sorted(by_name)))
        mask |= 1 << by_name[name]
    return mask
