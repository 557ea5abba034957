# SPDX-License-Identifier: GPL-2.0-or-later
"""From events to packets, softirqs, polls and tasks: of a recording and of the model's own trace alike, by the same code."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from softnet.host.recording import FLAG_HARDIRQ, FLAG_SOFTIRQ, Event

NET_RX: Final = 3
UDP: Final = 17
MSG_PEEK: Final = 2
HEADERS_IPV4, HEADERS_IPV6 = 28, 48
"""Of a datagram: IP's without options, and UDP's."""
FITTING_MAX: Final = 64
BACKLOG: Final = "(no_device)"
"""What napi_poll calls the device of a CPU's backlog."""
KERNEL_OWN: Final = re.compile(r"(swapper|ksoftirqd|backlog_napi|napi|irq|ktimers)/")
"""Tasks that the model has by itself."""


@dataclass(slots=True, eq=False)
class Packet:
    """One arrival and what came of it. Times in ns of the recording, -1 where it did not happen."""

    when: int
    cpu: int
    pid: int
    """The task that sent it, or that was interrupted."""
    dev: str
    size: int
    hash: int
    in_softirq: bool
    """It arrived within a softirq: from a card, or forwarded; else a task of this machine sent it."""
    received: int = -1
    received_cpu: int = -1
    softirq: Softirq | None = None
    protocol: int = -1
    read: int = -1
    reader: int = -1
    dropped: str = ""


@dataclass(slots=True, eq=False)
class Softirq:
    """One run of NET_RX."""

    cpu: int
    start: int
    end: int = -1
    taken: int = 0
    """Time of hard interrupts within it."""


@dataclass(slots=True, eq=False)
class Burst:
    """A task's time on a CPU, from being switched to until being switched from."""

    pid: int
    cpu: int
    start: int
    end: int
    woken: int
    """When it was woken, if it was; else -1: it was preempted before."""
    slept: bool
    """It gave the CPU up to sleep."""
    stolen: int = 0
    """Time of softirqs and interrupts within it."""

    @property
    def ran(self) -> int:
        return max(self.end - self.start - self.stolen, 0)


@dataclass(slots=True)
class Observed:
    """All that the events tell."""

    first: int = 0
    last: int = 0
    packets: list[Packet] = field(default_factory=list)
    bursts: list[Burst] = field(default_factory=list)
    polls: list[tuple[int, list[Packet]]] = field(default_factory=list)
    """Polls of backlogs that found something: when, and what."""
    raises: list[int] = field(default_factory=list)
    """When NET_RX was raised."""
    ipis: list[int] = field(default_factory=list)
    """When RPS asked another CPU to work."""
    wakeups: dict[int, list[int]] = field(default_factory=dict)
    """pid -> when it was woken."""
    comms: dict[int, str] = field(default_factory=dict)
    prios: dict[int, int] = field(default_factory=dict)
    """pid -> the kernel's priority: 100 to 139 of fair tasks, below that real time."""
    softirqs: list[Softirq] = field(default_factory=list)
    """All runs of NET_RX, whatever they received."""


class _Cpu:
    """What a CPU is doing."""

    def __init__(self) -> None:
        self.pid = -1
        self.since = -1
        self.woken = -1
        self.stolen = 0
        self.irq = -1
        self.softirq: Softirq | None = None
        self.softirq_since = -1
        self.received: Packet | None = None
        self.polled: list[Packet] = []


class Observer:
    """Takes events one by one, in time order."""

    def __init__(self) -> None:
        self.out = Observed()
        self.live: dict[int, Packet] = {}
        self.cpus: dict[int, _Cpu] = {}
        self.woken: dict[int, int] = {}
        self.queued: dict[int, deque[Packet]] = {}
        """Socket -> the datagrams that it holds."""
        self.handlers: dict[str, Callable[[Event, _Cpu], None]] = {
            "netif_rx_entry": self.arrives,
            "netif_rx": self.arrives_bare,
            "napi_gro_receive_entry": self.arrives,
            "napi_gro_frags_entry": self.arrives,
            "netif_receive_skb": self.received,
            "napi_poll": self.polled,
            "softirq_raise": self.raised,
            "softirq_entry": self.softirq_begins,
            "softirq_exit": self.softirq_ends,
            "irq_handler_entry": self.irq_begins,
            "irq_handler_exit": self.irq_ends,
            "sched_switch": self.switch,
            "sched_waking": self.waking,
            "sched_wakeup": self.waking,
            "csd_queue_cpu": self.asked,
            "kfree_skb": self.freed,
            "consume_skb": self.consumed,
            "skb_copy_datagram_iovec": self.copied,
            "sk_data_ready": self.ready,
            "sock_recv_length": self.recv,
        }

    def take(self, event: Event) -> None:
        """The next event."""
        self.out.first = self.out.first or event.when
        self.out.last = event.when
        handler = self.handlers.get(event.name)
        if handler is not None:
            handler(event, self.cpu(event.cpu))

    def cpu(self, number: int) -> _Cpu:
        found = self.cpus.get(number)
        if found is None:
            found = self.cpus[number] = _Cpu()
        return found

    def arrives(self, event: Event, cpu: _Cpu) -> None:
        name, skb, size, hashed = event.values[:4]
        packet = Packet(event.when, event.cpu, event.pid, name, size, max(hashed, 0), self.interrupted(event, cpu))
        self.live[skb] = packet
        self.out.packets.append(packet)

    def arrives_bare(self, event: Event, cpu: _Cpu) -> None:
        """A kernel or a recording without netif_rx_entry: no hash; where there are both, the entry came just before."""
        name, skb, size = event.values[:3]
        known = self.live.get(skb)
        if known is None or known.received >= 0 or known.dev != name:
            self.arrives(event._replace(values=(name, skb, size, 0)), cpu)

    @staticmethod
    def interrupted(event: Event, cpu: _Cpu) -> bool:
        return bool(event.flags & (FLAG_SOFTIRQ | FLAG_HARDIRQ)) or cpu.softirq is not None

    def received(self, event: Event, cpu: _Cpu) -> None:
        skb = event.values[1]
        packet = self.live.get(skb)
        cpu.received = packet
        if packet is None:
            return
        if packet.received < 0:
            packet.received, packet.received_cpu, packet.softirq = event.when, event.cpu, cpu.softirq
            cpu.polled.append(packet)

    def polled(self, event: Event, cpu: _Cpu) -> None:
        if event.values[0] == BACKLOG and event.values[1] > 0:
            self.out.polls.append((event.when, cpu.polled))
        cpu.polled = []

    def raised(self, event: Event, cpu: _Cpu) -> None:
        if event.values[0] == NET_RX:
            self.out.raises.append(event.when)

    def softirq_begins(self, event: Event, cpu: _Cpu) -> None:
        cpu.softirq_since = event.when
        if event.values[0] == NET_RX:
            cpu.softirq = Softirq(event.cpu, event.when)

    def softirq_ends(self, event: Event, cpu: _Cpu) -> None:
        if cpu.softirq_since >= 0 and not self.own_thread(cpu.pid):
            cpu.stolen += event.when - cpu.softirq_since
        cpu.softirq_since = -1
        if event.values[0] == NET_RX and cpu.softirq is not None:
            cpu.softirq.end = event.when
            self.out.softirqs.append(cpu.softirq)
            cpu.softirq = None

    def own_thread(self, pid: int) -> bool:
        return bool(KERNEL_OWN.match(self.out.comms.get(pid, "")))

    def irq_begins(self, event: Event, cpu: _Cpu) -> None:
        cpu.irq = event.when

    def irq_ends(self, event: Event, cpu: _Cpu) -> None:
        if cpu.irq < 0:
            return
        took, cpu.irq = event.when - cpu.irq, -1
        if cpu.softirq is not None:
            cpu.softirq.taken += took
        elif cpu.softirq_since < 0:
            cpu.stolen += took

    def switch(self, event: Event, cpu: _Cpu) -> None:
        prev_comm, prev, asleep, next_comm, next_pid, prio = event.values
        self.out.prios[next_pid] = prio
        self.out.comms[prev], self.out.comms[next_pid] = prev_comm, next_comm
        if cpu.since >= 0 and cpu.pid == prev and prev:
            self.out.bursts.append(Burst(prev, event.cpu, cpu.since, event.when, cpu.woken, bool(asleep), cpu.stolen))
        cpu.pid, cpu.since, cpu.stolen = next_pid, event.when, 0
        cpu.woken = self.woken.pop(next_pid, -1)

    def waking(self, event: Event, cpu: _Cpu) -> None:
        pid = event.values[0]
        self.woken[pid] = event.when
        self.out.wakeups.setdefault(pid, []).append(event.when)

    def asked(self, event: Event, cpu: _Cpu) -> None:
        if event.values[1] == "rps_trigger_softirq":
            self.out.ipis.append(event.when)

    def freed(self, event: Event, cpu: _Cpu) -> None:
        packet = self.live.pop(event.values[0], None)
        if packet is not None and packet.read < 0:
            packet.dropped = event.values[1] or "NOT_SPECIFIED"

    def consumed(self, event: Event, cpu: _Cpu) -> None:
        packet = self.live.pop(event.values[0], None)
        # A datagram is consumed by who reads it (__consume_stateless_skb(), net/core/skbuff.c).
        if packet is not None and packet.read < 0 and packet.received >= 0 and not self.interrupted(event, cpu):
            packet.read, packet.reader = event.when, event.pid

    def copied(self, event: Event, cpu: _Cpu) -> None:
        packet = self.live.get(event.values[0])
        if packet is not None and packet.read < 0:
            packet.read, packet.reader = event.when, event.pid

    def ready(self, event: Event, cpu: _Cpu) -> None:
        packet, cpu.received = cpu.received, None
        if packet is not None:
            sk, packet.protocol = event.values
            if packet.protocol == UDP:
                self.queued.setdefault(max(sk, 0), deque()).append(packet)

    def recv(self, event: Event, cpu: _Cpu) -> None:
        """recvmsg() gave somebody a datagram: the one that waited longest. What it frees may be freed elsewhere, and later."""
        sk, length, flags = event.values
        if length < 0 or (flags > 0 and flags & MSG_PEEK):
            return
        waiting = self.queued.get(sk)
        if not waiting:
            # The text of sk_data_ready does not say the socket: there the first datagram of that length is taken.
            waiting = self.queued.get(0, deque())
            while waiting and (waiting[0].read >= 0 or waiting[0].dropped):
                waiting.popleft()
            fitting = (p for p in islice(waiting, FITTING_MAX) if p.read < 0 and p.size - length in (HEADERS_IPV4, HEADERS_IPV6))
            packet = next(fitting, None)
            if packet is None:
                return
        else:
            packet = waiting.popleft()
        if packet.read < 0:
            packet.read, packet.reader = event.when, event.pid


def observe(events: Iterable[Event]) -> Observed:
    """Follow the events, which are in time order."""
    observer = Observer()
    for event in events:
        observer.take(event)
    return observer.out


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a stretch of time. ``unit`` is "" for a count, "ns" for a time; ``value`` None where nothing tells it."""

    name: str
    title: str
    unit: str
    value: int | None
    of: int = 0
    """Of how many a quantile is."""


def quantile(values: list[int], numerator: int, denominator: int) -> int | None:
    """The smallest value that so large a part does not exceed; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(-(-len(ordered) * numerator // denominator), 1) - 1]


def figures(seen: Observed, packets: list[Packet], readers: frozenset[int], start: int, end: int) -> tuple[Figure, ...]:
    """What is compared: of these packets and the tasks that read them, between two times. Same code for kernel and model."""
    mine = [packet for packet in packets if start <= packet.when < end]
    chosen = set(map(id, packets))
    softirqs = {id(p.softirq): p.softirq for p in packets if p.softirq is not None and p.softirq.end >= 0}
    runs = [run for run in softirqs.values() if start <= run.start < end]
    polls = [when for when, found in seen.polls if start <= when < end and any(id(packet) in chosen for packet in found)]
    read = [packet.read - packet.when for packet in mine if packet.read >= 0]
    received = [packet.received - packet.when for packet in mine if packet.received >= 0]
    bursts = [burst for burst in seen.bursts if burst.pid in readers and start <= burst.start < end]
    waited = [burst.start - burst.woken for burst in bursts if burst.woken >= 0]
    begun: dict[int, list[int]] = {}
    for burst in bursts:
        if burst.woken >= 0:
            begun.setdefault(burst.pid, []).append(burst.start)
    reading = _first_reads(begun, [(packet.reader, packet.read) for packet in packets if packet.read >= 0])
    woken = sum(start <= when < end for pid in sorted(readers) for when in seen.wakeups.get(pid, ()))
    out: list[Figure] = [
        Figure("arrived", "packets arrived", "", len(mine)),
        Figure("received", "packets given to the protocol", "", len(received)),
        Figure("read", "packets read by applications", "", len(read)),
        Figure("dropped", "packets dropped", "", sum(bool(packet.dropped) for packet in mine)),
        Figure("softirqs", "runs of NET_RX", "", len(runs)),
        Figure("polls", "polls of backlogs", "", len(polls)),
        Figure("ipis", "IPIs of RPS", "", sum(start <= when < end for when in seen.ipis)),
        Figure("wakeups", "wakeups of the readers", "", woken),
    ]
    for name, title, values in (("receive", "arrival to protocol", received), ("latency", "arrival to reading", read),
                                ("run", "woken to running, readers", waited),
                                ("read", "running to reading, readers", reading)):  # fmt: skip
        for label, share in (("p50", (50, 100)), ("p99", (99, 100))):
            out.append(Figure(f"{name}_{label}_ns", f"{title}, {label}", "ns", quantile(values, *share), len(values)))
    out.append(Figure("softirq_ns", "CPU time in NET_RX", "ns", sum(run.end - run.start - run.taken for run in runs)))
    out.append(Figure("readers_ns", "CPU time of the readers", "ns", sum(burst.ran for burst in bursts)))
    return tuple(out)


def _first_reads(begun: dict[int, list[int]], reads: list[tuple[int, int]]) -> list[int]:
    """From each time that a reader came to run to its first read behind it, before it came to run again."""
    times: dict[int, list[int]] = {}
    for pid, when in reads:
        times.setdefault(pid, []).append(when)
    out = []
    for pid, starts in begun.items():
        found = sorted(times.get(pid, ()))
        for at, start in enumerate(sorted(starts)):
            place = bisect_left(found, start)
            until = starts[at + 1] if at + 1 < len(starts) else None
            if place < len(found) and (until is None or found[place] < until):
                out.append(found[place] - start)
    return out


def by_name(rows: tuple[Figure, ...]) -> dict[str, Any]:
    """Name -> value."""
    return {row.name: row.value for row in rows}
