# SPDX-License-Identifier: GPL-2.0-or-later
"""The invariants I1 to I13 and the explorer's properties, each said once: number, name, sentence, what a violation means.

The tables of docs/invariants.md, docs/verify.md and docs/findings.md are held to these (tests/properties/test_statements.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from softnet.properties import numbers

__all__ = ["CHAIN", "INVARIANTS", "PROPERTIES", "STATEMENTS", "Invariant", "Property", "explained_by", "in_order"]


@dataclass(frozen=True)
class Invariant:
    """What must hold: its number, the sentence, and what a checked simulation looks at."""

    number: str
    sentence: str
    looked_at: str


_INVARIANTS = """
I1  | every skb is handed out, freed and put back exactly once, and none is lost
    | every store to an skb's state; every hand-over between user, NAPI cache and slab; at the end, if every CPU idles, all queues
I2  | a deferred skb is freed on the CPU that allocated it, if that is online
    | every free of an skb that was deferred
I3  | a NAPI has SCHED set if and only if it has exactly one owner
    | every change of SCHED, every step from owner to owner, and between contexts
I4  | a backlog is polled on its own CPU only
    | the beginning and the end of each poll
I5  | the backlog of an online CPU with packets in its input queue has SCHED set
    | between contexts, while nobody is inside the backlog's critical section
I6  | a defer list above skb_defer_max / 2 will be flushed: a kick is under way or NET_RX is due
    | between contexts; broken for longer than 100 µs
I7  | a defer list is never longer than skb_defer_max and one more for each other task that defers to it
    | every skb that is deferred
I8  | defer_ipi_scheduled is set only while its function call, or on 6.1-rt its work item, is under way
    | between contexts; broken for longer than 100 µs
I9  | a function call is queued at most once at a time
    | every call that is queued
I10 | defer_count and defer_list agree while defer_lock is free: a list that counts but is empty stops deferral
    | between contexts, while `defer_lock` is free; from 6.18 on, without a lock, that no empty list counts as full
I11 | locks are taken in one order, interrupts cannot deadlock on them, and nothing sleeps in atomic context
    | every acquisition of a lock
I12 | packets that came in are delivered, dropped, used up or queued, and a backlog holds what went in and not out
    | between contexts for each backlog, while nobody is at its queues; at the end for all packets
I13 | on PREEMPT_RT with backlog threads no function call from another CPU raises NET_RX
    | every raise of NET_RX
"""


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")]


def _invariants() -> dict[str, Invariant]:
    lines = _INVARIANTS.strip().splitlines()
    rows = [Invariant(*_cells(first + second)) for first, second in zip(lines[::2], lines[1::2], strict=True)]
    return {row.number: row for row in rows}


INVARIANTS: dict[str, Invariant] = _invariants()

STATEMENTS: dict[str, str] = {number: row.sentence for number, row in INVARIANTS.items()}
"""What each invariant says (numbers as in the research notes of the project)."""


@dataclass(frozen=True)
class Property:
    """A property of the explorer: its name, the invariant that it is part of, and what its violation means.

    ``when``: ``state`` every state, ``end`` where nothing can happen any more, ``any`` in a function of the harness, ``search``
    over the whole search, ``ever`` in the graph of the finished search. ``premise``: what must have been there for it to be a
    question, counted over the search; empty if it always is one.
    """

    name: str
    invariants: str
    text: str
    when: str = "user"
    where: str = ""
    premise: str = ""


_PROPERTIES = """
VX_SCHED_WITHOUT_OWNER | phantom SCHED | I3 | end
    | SCHED is set on a backlog that nobody owns: no packet or kick schedules it
    | the end: SCHED means that the backlog is on a poll list, or owned by the parked thread of an offline CPU
    | backlogs with SCHED
VX_BACKLOG_STUCK | lost work | I5 | end
    | a packet is queued on a backlog that nobody will poll
    | the end: nothing is on input_pkt_queue or process_queue
    | packets on a backlog
VX_LOST_KICK | lost kick | I6 | end
    | the defer list is above its watermark and no flush is owed
    | the end: no online CPU has more deferred skbs than its watermark, by the list and by what was deferred and not freed
    | lists above their watermark
VX_DEADLOCK | deadlock | I11 | end
    | contexts wait for locks that nobody will release
    | the end; spinlock recursion, unlock by another, sleeping in atomic context (on PREEMPT_RT contended or not) at any time
    |
VX_LEAK | conservation | I12 | end
    | an skb in use is on no list
    | the end: every skb in use is on a defer list or a backlog's queue, or with a driver that has not come to it
    |
VX_LINKED_NOT_SCHED | linked without SCHED | I3 | state
    | a backlog is on a poll list although SCHED is clear
    | every state: a backlog on a poll list has SCHED
    | backlogs on a poll list
VX_TWO_OWNERS | two owners | I3 | state
    | a backlog is on a poll list while SCHED_THREADED gives it to its thread
    | every state: a backlog on a poll list has not SCHED_THREADED; any time: nobody else polls it, or a card whose NAPI is disabled
    | backlogs on a poll list
VX_QUEUED_NOT_SCHED | queued without SCHED | I5 | state
    | input_pkt_queue is not empty although SCHED is clear
    | every state in which nobody is inside the backlog's critical section: a packet on an online CPU's input_pkt_queue means SCHED
    | packets on input_pkt_queue
VX_OVER_LIMIT | over the limit | I7 | state
    | the defer list holds more than the limit and the producers' overshoot
    | every state: the list holds at most the limit, the largest there was, and one for each producer but one
    | skbs on a known defer list
VX_PENDING_SOFTIRQ | softirq left pending | I6 | end
    | a softirq is pending on a CPU that sleeps
    | the end: no softirq is pending on an online CPU
    | pending softirqs
VX_DRIVER_STUCK | driver stuck | | end
    | a task of the harness cannot finish, or frames stay in a card's ring
    | the end: every task of the harness has finished, every card's ring is empty
    |
VX_CSD_STUCK | function call lost | I8 | end
    | a csd stays locked: its function call never ends
    | the end: no csd is locked, no task is left on a wake list
    | function calls in flight
VX_COUNT_WITHOUT_LIST | count without list | I10 | state
    | defer_count and defer_list disagree: one says that there are skbs, the other that there are none
    | every state in which the lock is free
    | skbs on a known defer list
VX_DEFERRAL_STOPPED | deferral stopped | I10 | end
    | a defer list is empty and counts as full: nothing is ever deferred to it again
    | the end: no online CPU has a defer list that is empty and takes no skb for being full, if skb_defer_max allows any
    | skbs on a known defer list
VX_POLL_LIST_STUCK | poll list left | I3 | end
    | a poll list is not empty, and no NET_RX is pending
    | the end: every poll list is empty
    | entries on a poll list
VX_WRONG_CPU | polled elsewhere | I4 | any
    | a backlog is polled on another CPU than its own
    | any time: process_backlog() runs on its own CPU
    | polls of a backlog
VX_FREED_AWAY | freed away from home | I2 | any
    | a deferred skb is freed away from its allocating CPU, which is online
    | any time: a freed skb that was on a defer list is freed on its alloc_cpu, if that is online
    | deferred skbs freed
VX_CSD_TWICE | csd queued twice | I9 | any
    | a csd is used again while its function call is in flight
    | any time, in llist_add() and csd_unlock(): a csd is not used again while in flight
    | queued function calls
VX_FLAG_WITHOUT_CSD | flag without a call | I8 | end
    | defer_ipi_scheduled stays set, and no function call is in flight that would clear it: no kick is sent any more
    | the end: defer_ipi_scheduled is clear, or a function call is in flight
    | sets of defer_ipi_scheduled
VX_RX_FROM_IPI | NET_RX from an IPI | I13 | any
    | on PREEMPT_RT a function call raises NET_RX, which ksoftirqd must then run
    | any time, on PREEMPT_RT; do_softirq_post_smp_call_flush()'s WARN about NET_RX is this one
    | function calls on PREEMPT_RT
VX_STRANDED | stranded | I6 | end
    | an skb stays on the defer list of an offline CPU, which nobody flushes
    | the end: no skb is on the defer list of an offline CPU
    | offline CPUs
VX_LOCK_ORDER | lock order | I11 | search
    | two classes of locks are taken in both orders, or two of one class at once
    | over the whole search, by classes as lockdep: no circle
    | locks taken under another
VX_NEVER_FLUSHED | kick without a flush | L1 | ever
    | a fair run for ever in which a defer list stays above its watermark
    | `--liveness`: an online CPU's defer list is above its watermark for ever
    | lists above their watermark
VX_NEVER_POLLED | never polled | L2 | ever
    | a fair run for ever in which a queued packet is never polled
    | `--liveness`: a packet is queued on an online CPU for ever
    | packets on a backlog
VX_NEVER_RUN | softirq never runs | L3 | ever
    | a fair run for ever in which a softirq stays pending
    | `--liveness`: a softirq is pending on an online CPU for ever
    | pending softirqs
VX_NEVER_DONE | never finished | L4 | ever
    | a fair run for ever in which a task of the harness does not finish
    | `--liveness`: a task of the harness has been started and does not finish
    |
VX_NO_REST | livelock | L5 | ever
    | a fair run for ever: the system never comes to rest
    | `--liveness`: the system never comes to rest
    |
VX_WARN | no warning | | any
    | a WARN_ON_ONCE of the kernel fires
    | any time: no WARN_ON_ONCE fires
    |
VX_DATA_RACE | data race | | any
    | two contexts touch a word, one of them writes it, one access is plain, and nothing orders the two
    | any time: plain accesses that conflict are ordered, by a lock, by what keeps contexts away, or by an access that both see
    |
"""


def _properties() -> dict[int, Property]:
    lines = _PROPERTIES.strip().splitlines()
    found = {}
    for head, text, where, premise in zip(lines[::4], lines[1::4], lines[2::4], lines[3::4], strict=True):
        constant, name, invariant, when = _cells(head)
        rest = [_cells(line)[1] for line in (text, where, premise)]
        found[getattr(numbers, constant)] = Property(name, invariant, rest[0], when, rest[1], rest[2])
    return found


PROPERTIES: dict[int, Property] = _properties()
"""The explorer's properties by number."""

CHAIN: tuple[tuple[int, ...], ...] = (
    (numbers.VX_DEADLOCK,),
    (numbers.VX_PENDING_SOFTIRQ, numbers.VX_CSD_STUCK),
    (numbers.VX_POLL_LIST_STUCK,),
    (numbers.VX_SCHED_WITHOUT_OWNER, numbers.VX_FLAG_WITHOUT_CSD),
    (numbers.VX_BACKLOG_STUCK, numbers.VX_LOST_KICK, numbers.VX_DRIVER_STUCK, numbers.VX_STRANDED),
    (numbers.VX_LEAK, numbers.VX_DEFERRAL_STOPPED),
)
"""Where nothing can happen any more all of these are asked. What is broken is named along the chain that would do what is owed:
who waits for a lock; a softirq or a function call that does not run; a poll list without NET_RX; SCHED that nobody owns; only then
what nobody was asked to do. A broken link explains those behind it."""


def in_order(mask: int) -> list[int]:
    """The numbers in a mask of what does not hold, the one that explains the others first."""
    rank = dict.fromkeys(PROPERTIES, -1) | {number: at for at, links in enumerate(CHAIN) for number in links}
    return sorted((n for n in range(mask.bit_length()) if mask >> n & 1), key=lambda n: (rank.get(n, len(CHAIN)), n))


def explained_by(number: int) -> frozenset[int]:
    """The properties that a violation of this one may break as well, at the same end or for ever."""
    if PROPERTIES[number].when == "ever" and number != numbers.VX_NO_REST:
        return frozenset((numbers.VX_NO_REST,))
    if number == numbers.VX_COUNT_WITHOUT_LIST:
        # A list that counts and is empty may count as full.
        return frozenset((numbers.VX_DEFERRAL_STOPPED,))
    for at, links in enumerate(CHAIN):
        if number in links:
            return frozenset(n for behind in CHAIN[at + 1 :] for n in behind)
    return frozenset()
