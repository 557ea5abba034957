# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recording says of the load: who sent which packets when, who read them, who else computed."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from softnet.errors import TraceError, printable
from softnet.host.observe import KERNEL_OWN, UDP, Burst, Observed, Packet
from softnet.host.patches.recorded_load import BURSTS_MAX, SENDS_MAX
from softnet.units import mix

HOGS_MAX: Final = 16
"""So many tasks, those that computed longest, are tasks of their own; the others of a CPU are one."""
SHORT_NS: Final = 1000


class Send(NamedTuple):
    """One packet of a sender; times in ns from the recording's beginning, ``wake`` 0 where the task did not sleep before."""

    due: int
    wake: int
    work_before: int
    work_after: int
    size: int
    hash: int


@dataclass(slots=True)
class Task:
    """A task that was seen: its name is safe to be printed."""

    name: str
    pid: int
    cpu: int
    prio: int

    @property
    def sched(self) -> str:
        """As a scenario writes it."""
        return "other" if self.prio >= 100 or self.prio < 0 else f"fifo:{min(max(99 - self.prio, 1), 99)}"

    @property
    def nice(self) -> int:
        return min(max(self.prio - 120, -20), 19) if self.prio >= 100 else 0


@dataclass(slots=True)
class Sender(Task):
    """A task on one CPU, and what it sent to one application."""

    to: int = 0
    sends: list[Send] = field(default_factory=list)


@dataclass(slots=True)
class Other(Task):
    """Another task on one CPU: (when it was woken, how long it computed)."""

    bursts: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Load:
    """All of it. ``packets`` are those that are replayed."""

    start: int
    span_ns: int
    packets: list[Packet]
    readers: list[Task]
    senders: list[Sender]
    others: list[Other]
    rps_cpus: list[int]
    cpus: int
    asks: str = ""
    """What most packets ask another CPU for: "steering" by RPS, "waking" of the reader, or nothing."""
    notes: list[str] = field(default_factory=list)
    """What was left out or assumed."""

    @property
    def middle_ns(self) -> int:
        """When half of the packets had arrived, from the beginning."""
        return self.packets[len(self.packets) // 2].when - self.start


def load_of(seen: Observed, cpus: int) -> Load:
    """The load of a recording. Raises TraceError where it holds none that can be replayed."""
    notes: list[str] = []
    flows = _flows(seen, notes)
    pids = sorted({pid for _, pid in flows})
    place = {pid: at for at, pid in enumerate(pids)}
    packets = sorted((packet for found, _ in flows for packet in found), key=lambda packet: packet.when)
    start = seen.first
    end = _cut(seen, packets, start, notes)
    packets = [packet for packet in packets if packet.when < end]
    readers = [_reader(seen, pid, at, notes) for at, pid in enumerate(pids)]
    rps = sorted({packet.received_cpu for packet in packets if packet.received_cpu >= 0})
    steered = sum(packet.received_cpu not in (-1, packet.cpu) for packet in packets)
    rps_cpus = rps if steered else []
    if steered:
        notes.append(f"RPS steered {steered:,} packets; its mask is taken to be the CPUs that it was seen to choose: {rps}")
    to = {id(packet): place[pid] for found, pid in flows for packet in found}
    senders = _senders(seen, packets, to, rps_cpus, notes)
    others = _others(seen, {(sender.pid, sender.cpu) for sender in senders}, set(pids), start, end)
    if steered * 2 > len(packets):
        asks = "steering"
    else:
        remote = sum(packet.received_cpu != readers[to[id(packet)]].cpu for packet in packets) * 2 > len(packets)
        asks = "waking" if remote else ""
    return Load(start, end - start, packets, readers, senders, others, rps_cpus, cpus, asks, notes)


def _flows(seen: Observed, notes: list[str]) -> list[tuple[list[Packet], int]]:
    """Flows that this machine's tasks sent and one of its tasks read, each with its reader."""
    by_key: dict[tuple[str, int, int], list[Packet]] = {}
    forwarded = 0
    for packet in seen.packets:
        if packet.in_softirq:
            forwarded += 1
            continue
        by_key.setdefault((packet.dev, packet.hash, 0 if packet.hash else packet.pid), []).append(packet)
    out = []
    unread = 0
    for found in by_key.values():
        readers = Counter(packet.reader for packet in found if packet.reader >= 0 and packet.protocol in (UDP, -1))
        if not readers:
            unread += len(found)
            continue
        out.append((found, readers.most_common(1)[0][0]))
    if forwarded:
        notes.append(f"left out: {forwarded:,} packets that came from a card or were forwarded, in a softirq")
    if unread:
        notes.append(f"left out: {unread:,} packets of flows that no task read as UDP datagrams (TCP, ICMP, ARP, nobody)")
    if not out:
        raise TraceError("nothing in the recording can be replayed", found=f"{len(seen.packets):,} packets",
                         expected="UDP packets that one task of the machine sent to another, over veth or lo",
                         hint="record while they flow, with sock/sock_recv_length or skb/consume_skb among the events")  # fmt: skip
    return out


def _cut(seen: Observed, packets: list[Packet], start: int, notes: list[str]) -> int:
    """Where the replay ends: with the recording, or where a table of the model is full."""
    end = seen.last + 1
    sent: Counter[tuple[int, int]] = Counter()
    for packet in packets:
        sent[packet.pid, packet.cpu] += 1
        if sent[packet.pid, packet.cpu] >= SENDS_MAX:
            end = packet.when
            break
    ran: Counter[int] = Counter()
    for burst in seen.bursts:
        ran[burst.cpu] += 1
        if ran[burst.cpu] >= BURSTS_MAX * 2 and burst.end < end:
            end = burst.end
    if end <= seen.last:
        notes.append(f"replayed are the first {(end - start) / 1e9:.2f} of {(seen.last - start) / 1e9:.2f} s: more does not fit")
    return end


def _name(seen: Observed, pid: int, kind: str, at: int) -> str:
    comm = re.sub(r"[^A-Za-z0-9_-]", "_", printable(seen.comms.get(pid, "")))[:20]
    return f"{kind}{at}_{comm}" if comm else f"{kind}{at}"


def _reader(seen: Observed, pid: int, at: int, notes: list[str]) -> Task:
    ran: Counter[int] = Counter()
    for burst in seen.bursts:
        if burst.pid == pid:
            ran[burst.cpu] += burst.ran
    cpu, most = ran.most_common(1)[0] if ran else (0, 0)
    name = _name(seen, pid, "app", at)
    total = sum(ran.values())
    if total and most * 10 < total * 9:
        notes.append(
            f"{name} ran on several CPUs; in the model it stays on CPU {cpu}, where it ran {most * 100 // total} % of its time"
        )
    return Task(name, pid, cpu, seen.prios.get(pid, 120))


class Ran:
    """How long a task computed on a CPU between two times, without the softirqs that came over it."""

    def __init__(self, seen: Observed) -> None:
        self.bursts: dict[tuple[int, int], list[Burst]] = {}
        for burst in seen.bursts:
            self.bursts.setdefault((burst.pid, burst.cpu), []).append(burst)
        self.starts = {key: [burst.start for burst in found] for key, found in self.bursts.items()}
        self.softirqs: dict[int, tuple[list[int], list[int]]] = {}
        """By CPU: when each began, and the sum of those before it."""
        for run in seen.softirqs:
            begins, sums = self.softirqs.setdefault(run.cpu, ([], [0]))
            begins.append(run.start)
            sums.append(sums[-1] + run.end - run.start)

    def softirq_ns(self, cpu: int, start: int, end: int) -> int:
        begins, sums = self.softirqs.get(cpu, ([], [0]))
        return sums[bisect_left(begins, end)] - sums[bisect_left(begins, start)]

    def between(self, key: tuple[int, int], start: int, end: int) -> int:
        total = 0
        found = self.bursts.get(key, [])
        at = max(bisect_right(self.starts.get(key, []), start) - 1, 0)
        for burst in found[at:]:
            if burst.start >= end:
                break
            low, high = max(burst.start, start), min(burst.end, end)
            if low < high:
                total += max(high - low - self.softirq_ns(key[1], low, high), 0)
        return total

    def woken(self, key: tuple[int, int], start: int, end: int) -> Burst | None:
        """The last time within which it was woken and came to run."""
        found, starts = self.bursts.get(key, []), self.starts.get(key, [])
        for at in range(bisect_right(starts, end) - 1, bisect_right(starts, start) - 1, -1):
            if found[at].woken >= 0:
                return found[at]
        return None


def _senders(seen: Observed, packets: list[Packet], to: dict[int, int], rps_cpus: list[int], notes: list[str]) -> list[Sender]:
    ran = Ran(seen)
    out: dict[tuple[int, int, int], Sender] = {}
    before: dict[tuple[int, int], int] = {}
    made_up = 0
    for packet in packets:
        key, app = (packet.pid, packet.cpu), to[id(packet)]
        sender = out.get((*key, app))
        if sender is None:
            name = _name(seen, packet.pid, "sender", len(out))
            sender = out[*key, app] = Sender(name, packet.pid, packet.cpu, seen.prios.get(packet.pid, 120), app)
        since = before.get(key, seen.first)
        burst = ran.woken(key, since, packet.when)
        work = ran.between(key, burst.start if burst is not None else since, packet.when)
        wake = max(burst.woken - seen.first, 1) if burst is not None else 0
        if burst is not None and sender.sends:
            after = ran.between(key, since, burst.start)
            sender.sends[-1] = sender.sends[-1]._replace(work_after=after)
        hashed = _hash(packet, rps_cpus)
        made_up += hashed != packet.hash
        sender.sends.append(Send(max(packet.when - seen.first, 1), wake, work, 0, packet.size, hashed))
        before[key] = packet.when
    if made_up and rps_cpus:
        notes.append(
            f"the hash of {made_up:,} packets is not in the recording; one that steers them as they were steered stands in"
        )
    return list(out.values())


def _hash(packet: Packet, rps_cpus: list[int]) -> int:
    """The recorded hash; where it is none, or does not lead where RPS led the packet, one that does (reciprocal_scale())."""
    count = len(rps_cpus)
    if not count or packet.received_cpu not in rps_cpus:
        return packet.hash or 1
    wanted = rps_cpus.index(packet.received_cpu)
    if packet.hash and packet.hash * count >> 32 == wanted:
        return packet.hash
    return -(-(wanted << 32) // count) + mix(packet.hash, packet.pid, wanted) % ((1 << 32) // count - 1) or 1


def _others(seen: Observed, senders: set[tuple[int, int]], readers: set[int], start: int, end: int) -> list[Other]:
    """What else ran, as bursts of each task on each CPU; one that was preempted goes on in the same burst."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for burst in sorted(seen.bursts, key=lambda burst: burst.start):
        key = burst.pid, burst.cpu
        if key in senders or burst.pid in readers or KERNEL_OWN.match(seen.comms.get(burst.pid, "")) or burst.start >= end:
            continue
        bursts = found.setdefault(key, [])
        if burst.woken < 0 and bursts:
            bursts[-1] = bursts[-1][0], bursts[-1][1] + burst.ran
        else:
            bursts.append((max((burst.woken if burst.woken >= 0 else burst.start) - start, 1), burst.ran))
    total = {key: sum(ran for _, ran in bursts) for key, bursts in found.items()}
    heaviest = sorted(found, key=lambda key: (-total[key], key))
    own = [key for key in heaviest[:HOGS_MAX] if len(found[key]) < BURSTS_MAX and total[key]]
    out = [
        Other(_name(seen, key[0], "task", at), *key, seen.prios.get(key[0], 120), _long(found[key])) for at, key in enumerate(own)
    ]
    for cpu in sorted({key[1] for key in found}):
        rest = sorted(burst for key, bursts in found.items() if key[1] == cpu and key not in own for burst in bursts)
        if rest:
            out.append(Other(f"rest{cpu}", -1, cpu, 120, _long(rest)[: BURSTS_MAX - 1]))
    return [other for other in out if other.bursts]


def _long(bursts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without the shortest, if there are many."""
    return [burst for burst in bursts if burst[1] >= SHORT_NS] if len(bursts) >= BURSTS_MAX else [b for b in bursts if b[1] > 0]
