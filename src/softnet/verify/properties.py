# SPDX-License-Identifier: GPL-2.0-or-later
"""The properties by number, as softnet.verify.inside.harness finds them violated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from softnet.errors import SoftnetError
from softnet.verify.inside import cycles, harness


@dataclass(frozen=True)
class Property:
    """A property: its name, the invariants of docs/verify.md that it is part of, and what its violation means."""

    name: str
    invariants: str
    text: str


_TABLE = """
VX_SCHED_WITHOUT_OWNER    | phantom SCHED        | I3  | SCHED is set on a backlog that nobody owns: no packet or kick schedules it
VX_BACKLOG_STUCK          | lost work            | I5  | a packet is queued on a backlog that nobody will poll
VX_LOST_KICK              | lost kick            | I6  | the defer list is above its watermark and no flush is owed
VX_DEADLOCK               | deadlock             | I11 | contexts wait for locks that nobody will release
VX_LEAK                   | conservation         | I12 | an skb in use is on no list
VX_LINKED_NOT_SCHED       | linked without SCHED | I3  | a backlog is on a poll list although SCHED is clear
VX_TWO_OWNERS             | two owners           | I3  | a backlog is on a poll list while SCHED_THREADED gives it to its thread
VX_QUEUED_NOT_SCHED       | queued without SCHED | I5  | input_pkt_queue is not empty although SCHED is clear
VX_OVER_LIMIT             | over the limit       | I7  | the defer list holds more than the limit and the producers' overshoot
VX_PENDING_SOFTIRQ        | softirq left pending | I6  | a softirq is pending on a CPU that sleeps
VX_DRIVER_STUCK           | driver stuck         |     | a task of the harness cannot finish, or frames stay in a card's ring
VX_CSD_STUCK              | function call lost   | I8  | a csd stays locked: its function call never ends
VX_COUNT_WITHOUT_LIST     | count without list   | I10 | defer_count is not 0 although defer_list is empty
VX_POLL_LIST_STUCK        | poll list left       | I3  | a poll list is not empty, and no NET_RX is pending
VX_WRONG_CPU              | polled elsewhere     | I4  | a backlog is polled on another CPU than its own
VX_FREED_AWAY             | freed away from home | I2  | a deferred skb is freed away from its allocating CPU, which is online
VX_CSD_TWICE              | csd queued twice     | I9  | a csd is used again while its function call is in flight
VX_FLAG_WITHOUT_CSD       | flag without a call  | I8  | defer_ipi_scheduled is set, no function call is in flight or being sent
VX_RX_FROM_IPI            | NET_RX from an IPI   | I13 | on PREEMPT_RT a function call raises NET_RX, which ksoftirqd must then run
VX_STRANDED               | stranded             | I6  | an skb stays on the defer list of an offline CPU, which nobody flushes
VX_LOCK_ORDER             | lock order           | I11 | two classes of locks are taken in both orders, or two of one class at once
VX_NEVER_FLUSHED          | kick without a flush | L1  | a fair run for ever in which a defer list stays above its watermark
VX_NEVER_POLLED           | never polled         | L2  | a fair run for ever in which a queued packet is never polled
VX_NEVER_RUN              | softirq never runs   | L3  | a fair run for ever in which a softirq stays pending
VX_NEVER_DONE             | never finished       | L4  | a fair run for ever in which a task of the harness does not finish
VX_NO_REST                | livelock             | L5  | a fair run for ever in which nothing in particular stays owed
VX_WARN                   | no warning           |     | a WARN_ON_ONCE of the kernel fires
"""


def _table() -> dict[int, Property]:
    rows = ([part.strip() for part in line.split("|")] for line in _TABLE.strip().splitlines())
    return {getattr(harness, constant): Property(*rest) for constant, *rest in rows}


PROPERTIES: dict[int, Property] = _table()

LIVENESS: dict[int, int] = {
    cycles.VX_OWED_FLUSH: harness.VX_NEVER_FLUSHED,
    cycles.VX_OWED_POLL: harness.VX_NEVER_POLLED,
    cycles.VX_OWED_SOFTIRQ: harness.VX_NEVER_RUN,
    cycles.VX_OWED_DRIVER: harness.VX_NEVER_DONE,
    cycles.VX_OWED_REST: harness.VX_NO_REST,
}
"""First bit of what vx_owed() finds -> the property."""


def properties_mask(names: Iterable[str], known: Mapping[int, Property] = PROPERTIES) -> int:
    """The bits of the named properties, of all for no name. Raises SoftnetError for a name that there is not."""
    by_name = {p.name: number for number, p in known.items()}
    mask = 0
    for name in names or by_name:
        if name not in by_name:
            raise SoftnetError("no such property", where="--property", found=name, expected=", ".join(sorted(by_name)))
        mask |= 1 << by_name[name]
    return mask
