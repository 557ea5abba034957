# SPDX-License-Identifier: GPL-2.0-or-later
"""From where to where in a trace the state of a CPU's backlog and softirq is known.

A trace may begin in the middle, and a kprobe that is hit while another's handler runs on the CPU is missed. So a
CPU's backlog is known from the end of the first poll during which nothing was queued, its softirq from the first end
of net_rx_action(); and both are unknown again from where something that must have happened is not in the trace.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from softnet.lab.tracing.probes import NET_RX_SOFTIRQ
from softnet.lab.tracing.records import CSD_FUNCTIONS, LabRecord

Task = tuple[int, int, int]
_WEIGHT = 64
LIVES = frozenset(("netif_rx", "enqueue_to_backlog", "skb_attempt_defer_free", "consume_skb", "kfree_skb"))
"""Events that tell of an skb that it lives, or lives no longer. Its number is its address, which another skb may get."""
# Records after which what was under way when the trace began has come to its end.
_START = 50


def task_of(record: LabRecord) -> Task:
    """The thread of execution that a record belongs to."""
    return record.cpu, record.context, record.pid


def raised_at_end(records: Sequence[LabRecord], at: int) -> bool:
    """Whether NET_RX was raised between the last poll and the return of net_rx_action() at ``at``, by itself.

    What was raised for a packet that it queued is not.
    """
    task = task_of(records[at])
    inside = False
    for place in range(at - 1, -1, -1):
        record = records[place]
        if task_of(record) != task:
            continue
        if record.event in ("process_backlog", "process_backlog_entry", "net_rx_action_entry"):
            return False
        if record.event in ("enqueue_to_backlog_ret", "enqueue_to_backlog"):
            inside = record.event == "enqueue_to_backlog_ret"
        elif record.event == "softirq_raise" and record.a == NET_RX_SOFTIRQ and not inside:
            return True
    return False


@dataclass(slots=True)
class Timeline:
    """Where something begins and ceases to be known: places in order, and what holds from each on."""

    known_at_first: bool
    places: list[int] = field(default_factory=list)
    known: list[bool] = field(default_factory=list)

    def turn(self, place: int, known: bool) -> None:
        """From ``place`` on it is known, or not."""
        if (self.known[-1] if self.known else self.known_at_first) != known:
            self.places.append(place)
            self.known.append(known)

    def at(self, place: int) -> bool:
        """Whether it is known at ``place``."""
        index = bisect_right(self.places, place)
        return self.known[index - 1] if index else self.known_at_first


@dataclass(slots=True)
class Holes:
    """What is missing: place -> the CPUs whose softirq and backlog are unknown from there on; a missed arrival by its IPI.

    ``unseen`` are the places of IPIs whose function was not seen to run.
    """

    cpus: dict[int, set[int]] = field(default_factory=dict)
    unseen: set[int] = field(default_factory=set)

    def add(self, place: int, *cpus: int) -> None:
        """Something is missing from ``place`` on."""
        self.cpus.setdefault(place, set()).update(cpus)


_RUN = ("softirq_entry", "softirq_exit", "net_rx_action_entry", "net_rx_action", "process_backlog_entry", "process_backlog",
        "napi_poll", "netif_rx", "enqueue_to_backlog")  # fmt: skip


def cards_of(records: Sequence[LabRecord]) -> frozenset[int]:
    """The NAPIs of the trace that are not a backlog's: no poll of theirs was ever process_backlog()'s."""
    before: dict[Task, str] = {}
    polled: set[int] = set()
    backlogs: set[int] = set()
    for record in records:
        if record.event == "napi_poll":
            polled.add(record.a)
            if before.get(task_of(record)) == "process_backlog":
                backlogs.add(record.a)
        before[task_of(record)] = record.event
    return frozenset(polled - backlogs)


def holes_of(records: Sequence[LabRecord], cpus: int, cards: Collection[int] = ()) -> Holes:
    """What must have happened and is not in the trace; polls of ``cards`` follow nothing that is in it."""
    holes = Holes()
    # Of each task: its last event of a softirq's, the place of it, and where the net_rx_action() or poll began.
    last: dict[Task, tuple[str, int, int]] = {}
    calls: dict[tuple[int, int], int] = {}
    for at, record in enumerate(records):
        if record.event == "csd_queue_cpu":
            before = calls.pop((record.a, record.b), None)
            if before is not None:
                holes.unseen.add(before)
            calls[record.a, record.b] = at
        elif record.event in CSD_FUNCTIONS:
            calls.pop((record.cpu, CSD_FUNCTIONS[record.event]), None)
        if record.event not in _RUN or (record.event.startswith("softirq") and record.a != NET_RX_SOFTIRQ):
            continue
        if record.event == "napi_poll" and record.a in cards:
            continue
        task = task_of(record)
        was, since = last.get(task, ("", at, at))[0], last.get(task, ("", at, at))[2]
        begins = record.event in ("softirq_entry", "process_backlog_entry") or was == ""
        if was == "netif_rx" and record.event != "enqueue_to_backlog":
            holes.add(since, *range(cpus))
        elif _gap(was, record.event):
            holes.add(since, record.cpu)
        if record.event == "enqueue_to_backlog" or (record.event == "netif_rx" and was not in ("", "netif_rx")):
            # Within a poll, or between two: what comes after it follows what was before it.
            if record.event == "netif_rx":
                last[record.cpu, record.context, -record.pid - 1] = last[task]
                last[task] = ("netif_rx", at, at)
            elif (record.cpu, record.context, -record.pid - 1) in last:
                last[task] = last.pop((record.cpu, record.context, -record.pid - 1))
            else:
                last.pop(task, None)
            continue
        last[task] = (record.event, at, at if begins else since)
    # Of the last one it cannot be told whether it comes after the trace's end.
    holes.unseen.update(calls.values())
    return holes


def _gap(was: str, event: str) -> bool:
    """Whether ``event`` cannot be a task's next of these after ``was``."""
    if was == "softirq_entry":
        return event != "net_rx_action_entry"
    if event == "napi_poll":
        return was != "" and was != "process_backlog"
    if event in ("process_backlog_entry", "net_rx_action_entry") and was == "process_backlog_entry":
        return True
    if event == "softirq_exit":
        return was not in ("", "net_rx_action")
    return was == "net_rx_action_entry" and event == "net_rx_action_entry"


class Knowledge:
    """What is known of each CPU, place by place."""

    def __init__(
        self,
        records: Sequence[LabRecord],
        cpus: int,
        *,
        threads: Collection[int],
        known_at_first: bool,
        hotplugs: Collection[tuple[int, int, int]] = (),
    ) -> None:
        cards = cards_of(records)
        self.holes = holes_of(records, cpus, cards)
        # (CPU, first place, last place): a CPU on its way down or up. What dev_cpu_dead() does with its queues is not
        # in the trace but for the packets that it queues elsewhere.
        self._hotplugs = hotplugs
        for cpu, first, last in hotplugs:
            self.holes.add(first, cpu)
            self.holes.add(last, cpu)
        # What a card's poll has at hand is not in the trace, so neither is what its CPU's net_rx_action() will do.
        self.card_cpus = frozenset(r.cpu for r in records if r.event == "napi_poll" and r.a in cards)
        polled = {r.cpu for r in records if r.event == "process_backlog_entry"}
        used = polled | {r.b for r in records if r.event == "enqueue_to_backlog"}
        self._backlog = {cpu: Timeline(known_at_first or cpu not in used) for cpu in range(cpus)}
        self._softirq = {cpu: Timeline(known_at_first and cpu not in self.card_cpus) for cpu in range(cpus)}
        # Place -> CPUs whose backlog, and whose softirq, is known or unknown from there on.
        self.backlog_known: dict[int, list[int]] = {}
        self.softirq_known: dict[int, list[int]] = {}
        self._scan(records, frozenset(threads))

    def backlog(self, cpu: int, at: int) -> bool:
        """Whether the CPU's backlog is known at this place."""
        return self._backlog[cpu].at(at)

    def softirq(self, cpu: int, at: int) -> bool:
        """Whether it is known what the CPU's net_rx_action() has at hand."""
        return self._softirq[cpu].at(at) and self._backlog[cpu].at(at)

    def _scan(self, records: Sequence[LabRecord], threads: Collection[int]) -> None:
        quiet: dict[int, bool] = {}
        # Which CPU's backlog each task is queueing on. A guest's CPU may stand still in there for thousands of records.
        inside: dict[Task, int] = {}
        weight = _WEIGHT
        for at, record in enumerate(records):
            for cpu in sorted(self.holes.cpus.get(at, ())):
                quiet[cpu] = False
                self._backlog[cpu].turn(at, False)
                self._softirq[cpu].turn(at, False)
            if record.event == "enqueue_to_backlog":
                inside[task_of(record)] = record.b
            elif record.event == "enqueue_to_backlog_ret" or record.event in _RUN:
                inside.pop(task_of(record), None)
            cpu = record.b if record.event == "enqueue_to_backlog" else record.cpu
            if record.event == "kick_defer_list_purge":
                quiet[record.a] = False
            elif record.event == "enqueue_to_backlog":
                quiet[cpu] = False
            elif record.event == "process_backlog_entry":
                quiet[cpu], weight = cpu not in inside.values(), record.a
            elif record.event == "process_backlog":
                # A full quota leaves packets behind.
                quiet[cpu] = quiet.get(cpu, False) and record.a < weight
                if quiet[cpu] and record.pid in threads:
                    self._known(at + 1, cpu)
            elif record.event == "net_rx_action":
                # One that is over without a poll, of a CPU that nothing was queued on since the trace began: none waits.
                if quiet.get(cpu, at > _START):
                    self._known(at + 1, cpu)
                if cpu not in self.card_cpus and not self._softirq[cpu].at(at + 1) and not self._moves(at, cpu):
                    self._softirq[cpu].turn(at + 1, True)
                    self.softirq_known.setdefault(at, []).append(cpu)

    def _moves(self, place: int, cpu: int) -> bool:
        """Whether the CPU is on its way down or up."""
        return any(cpu == who and first <= place <= last for who, first, last in self._hotplugs)

    def _known(self, place: int, cpu: int) -> None:
        if self._moves(place - 1, cpu):
            return
        if not self._backlog[cpu].at(place):
            self._backlog[cpu].turn(place, True)
            self.backlog_known.setdefault(place - 1, []).append(cpu)
