# SPDX-License-Identifier: GPL-2.0-or-later
"""What takes root: one packet at a time over the loopback device of a network namespace of our own, with the kernel's tracepoints.

The sender's and the reader's own clock is the trace's clock, so a packet's time from call to return falls into stages without a
gap. What an event itself costs is measured twice: by two tracepoints that stand behind each other, and by what all events together
add to a send. The latter is subtracted from each stage, once for each event in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import socket
import struct
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from softnet.errors import HostError
from softnet.ftrace.ringbuffer import events_of_pages, parse_format
from softnet.host.calibrate.estimate import SAMPLES_MIN, Estimate, estimate
from softnet.host.calibrate.loops import loops
from softnet.host.calibrate.tun import OURS, PORT, Tun, datagram
from softnet.host.calibrate.user import Words, pinned
from softnet.host.recorder import drain
from softnet.host.tracefs import Instance, put

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIZE: Final = 64
"""Bytes of payload."""
GAP_US: Final = 300
PRIORITY: Final = 5

# (system/name, filter with the numbers of sender {s} and reader {r}, fields)
_EVENTS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("net/netif_rx_entry", "common_pid=={s}", ()),
    ("net/netif_rx", "common_pid=={s}", ()),
    ("irq/softirq_raise", "common_pid=={s}&&vec==3", ()),
    ("irq/softirq_entry", "common_pid=={s}&&vec==3", ()),
    ("irq/softirq_exit", "common_pid=={s}&&vec==3", ()),
    ("net/netif_receive_skb", "common_pid=={s}", ()),
    ("sched/sched_waking", "pid=={r}", ("pid",)),
    ("sched/sched_wakeup", "pid=={r}", ("pid",)),
    ("sched/sched_switch", "prev_pid=={r}||next_pid=={r}", ("prev_pid", "next_pid")),
    ("ipi/ipi_send_cpu", "common_pid=={s}", ("cpu",)),
    ("irq_vectors/call_function_single_entry", "", ()),
    ("irq_vectors/reschedule_entry", "", ()),
    ("sched/sched_wake_idle_without_ipi", "", ("cpu",)),
)
_CARD_EVENTS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("net/napi_gro_receive_entry", "common_pid=={s}", ()),
    ("net/napi_gro_receive_exit", "common_pid=={s}", ()),
    ("napi/napi_poll", "common_pid=={s}", ()),
)


class Seen(NamedTuple):
    """An event: ns, CPU, name and its fields."""

    when: int
    cpu: int
    name: str
    values: tuple[int | str, ...]


@dataclass(slots=True)
class Flow:
    """What one experiment recorded: ns of each send and each turn of the reader, and the events between."""

    sends: list[tuple[int, int]] = field(default_factory=list)
    serves: list[tuple[int, int, int]] = field(default_factory=list)
    events: list[Seen] = field(default_factory=list)


def own_network() -> str:
    """Put this process into a network namespace of its own, with its loopback up; why not, or nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        return os.strerror(ctypes.get_errno())
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            request = struct.pack("16sH14s", b"lo", 0, b"")
            up = struct.unpack_from("H", fcntl.ioctl(sock, 0x8913, request), 16)[0] | 1
            fcntl.ioctl(sock, 0x8914, struct.pack("16sH14s", b"lo", up, b""))
    except OSError as error:
        return error.strerror or str(error)
    return ""


@contextlib.contextmanager
def joined(kind: str) -> Iterator[tuple[socket.socket | Tun, socket.socket]]:
    """Two sockets over the loopback device, the sender's and the reader's; or a TUN device and a socket that reads from it."""
    with contextlib.ExitStack() as kept:
        if kind == "tun":
            device = kept.enter_context(Tun())
            reader = kept.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            reader.bind((OURS, PORT))
            yield device, reader
        elif kind == "udp":
            reader = kept.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            reader.bind(("127.0.0.1", 0))
            sender = kept.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sender.connect(reader.getsockname())
            yield sender, reader
        else:
            listener = kept.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            sender = kept.enter_context(socket.create_connection(listener.getsockname()))
            reader = kept.enter_context(listener.accept()[0])
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield sender, reader


class Reader:
    """A thread that waits by epoll and reads, on one CPU. On the sender's it is SCHED_BATCH, so that it does not cut a send in
    two; on another one it is real-time where it may be, so that it does not wait for other programs.
    """

    def __init__(self, sock: socket.socket, cpu: int, turns: int, apart: bool) -> None:
        self.poll = select.epoll()
        self.poll.register(sock.fileno(), select.EPOLLIN)
        self.words, self.buffer, self.turns, self.sock, self.cpu = Words(3 * (turns + 1)), Words(512), turns, sock, cpu
        self.tid, self.apart = 0, apart
        self._pool = ThreadPoolExecutor(1)
        self._pool.submit(self._begin).result()
        self._served: Future[int] = self._pool.submit(
            loops()["serve"], self.poll.fileno(), sock.fileno(), self.buffer.address, 4096, turns + 1, self.words.address
        )

    def _begin(self) -> None:
        self.tid = threading.get_native_id()
        os.sched_setaffinity(0, {self.cpu})
        with contextlib.suppress(OSError):
            urgent = os.SCHED_FIFO, os.sched_param(PRIORITY)
            os.sched_setscheduler(0, *(urgent if self.apart else (os.SCHED_BATCH, os.sched_param(0))))

    def done(self, sender: socket.socket | Tun) -> list[tuple[int, int, int]]:
        """End it, by a message of one byte; what it did."""
        while not self._served.done():
            sender.send(b".")
            time.sleep(0.001)
        count = self._served.result()
        self._pool.shutdown()
        self.poll.close()
        words = self.words.array
        return [(words[3 * n], words[3 * n + 1], words[3 * n + 2]) for n in range(min(count, self.turns))]


def flow(
    kind: str, places: tuple[int, int], turns: int, instance: Instance | None, *, size: int = SIZE, gap_us: int = GAP_US
) -> Flow:
    """Send ``turns`` packets from the first CPU to a reader on the second, one each ``gap_us``; traced if there is an instance."""
    words, packet = Words(2 * turns), datagram(bytes(size)) if kind == "tun" else bytes(size)
    buffer = ctypes.create_string_buffer(packet, len(packet))
    send_cpu, read_cpu = places
    out = Flow()
    with joined(kind) as (sender, reading), pinned(send_cpu):
        reader = Reader(reading, read_cpu, turns, send_cpu != read_cpu)
        try:
            time.sleep(0.01)
            trace = _Trace(instance, threading.get_native_id(), reader.tid, kind) if instance is not None else None
            with trace or contextlib.nullcontext():
                send = loops()["writes" if kind == "tun" else "sends"]
                sent = send(sender.fileno(), ctypes.addressof(buffer), len(packet), turns, gap_us, words.address)
        finally:
            out.serves = reader.done(sender)
        out.sends = words.pairs(sent)
        if trace is not None:
            out.events = trace.events
    return out


class _Trace:
    """A context in which the events are recorded."""

    def __init__(self, instance: Instance, sender: int, reader: int, kind: str) -> None:
        self.wanted = (*_EVENTS, *(_CARD_EVENTS if kind == "tun" else ()))
        self.instance, self.pids = instance, {"s": sender, "r": reader}
        self.readers: dict[int, tuple[str, object]] = {}
        self.events: list[Seen] = []

    def __enter__(self) -> None:
        for name, condition, fields in self.wanted:
            if not self.instance.has(name) or self.instance.enable(name, condition.format(**self.pids)):
                continue
            parsed = parse_format(name.partition("/")[0], self.instance.read(f"events/{name}/format"))
            self.readers[parsed.number] = name.partition("/")[2], parsed.reader(fields)
        put(self.instance.path / "tracing_on", "1")

    def __exit__(self, *_: object) -> None:
        put(self.instance.path / "tracing_on", "0")
        put(self.instance.path / "events/enable", "0")
        size = self.instance.page_bytes()
        for cpu in self.instance.cpus():
            for page in drain(self.instance.pipe(cpu), size):
                for when, payload in events_of_pages(page, size, lambda lost: None):
                    known = self.readers.get(int.from_bytes(payload[:2], "little"))
                    if known is not None:
                        self.events.append(Seen(when, cpu, known[0], known[1](payload)))  # type: ignore[operator]
        self.events.sort(key=lambda event: event.when)


def prepare(instance: Instance) -> None:
    """The instance's clock is the programs' own, and its buffers are small."""
    put(instance.path / "tracing_on", "0")
    put(instance.path / "trace_clock", "mono")
    put(instance.path / "buffer_size_kb", "1024")


SEND_STAGES: Final = ("send", "enqueue", "dequeue", "receive", "wake")
"""A send's parts: to netif_rx() and after the softirq; to the softirq's raise; to the skb and after the wakeup; to the wakeup."""
_ORDER: Final = (
    "netif_rx_entry",
    "softirq_raise",
    "softirq_entry",
    "netif_receive_skb",
    "sched_waking",
    "sched_wakeup",
    "softirq_exit",
)


CARD_STAGES: Final = ("gro", "complete", "receive")
_CARD_ORDER: Final = ("softirq_entry", "napi_gro_receive_entry", "napi_gro_receive_exit", "netif_receive_skb", "sched_waking",
                      "sched_wakeup", "napi_poll", "softirq_exit")  # fmt: skip


def card_stages(events: Sequence[Seen], event_ps: int) -> dict[str, int] | None:
    """One packet through a NAPI with GRO, in ps less its events: napi_gro_receive(); napi_complete_done() around the delivery in
    it; from netif_receive_skb() to the wakeup. None if it went otherwise.
    """
    times = {event.name: event.when for event in events}
    at = [times.get(name, -1) for name in _CARD_ORDER]
    if min(at) < 0 or at != sorted(at) or len(events) != len(_CARD_ORDER):
        return None
    _, entry, leave, received, waking, wakeup, poll, _ = at
    return {
        "gro": (leave - entry) * 1000 - event_ps,
        "complete": (received - leave + poll - wakeup) * 1000 - 2 * event_ps,
        "receive": (waking - received) * 1000 - event_ps,
    }


def all_polls(found: Flow, event_ps: int) -> dict[str, list[int]]:
    """Stage -> its times in ps, of the packets that nothing interrupted."""
    out: dict[str, list[int]] = {name: [] for name in CARD_STAGES}
    times = [event.when for event in found.events]
    wanted = {*_CARD_ORDER, *_DISTURBING}
    for start, end in found.sends:
        events = [event for event in found.events[bisect_left(times, start) : bisect_right(times, end)] if event.name in wanted]
        for name, took in (card_stages(events, event_ps) or {}).items():
            out[name].append(took)
    return out


_DISTURBING: Final = ("sched_switch", "call_function_single_entry", "reschedule_entry")


def send_stages(send: tuple[int, int], events: Sequence[Seen], event_ps: int) -> dict[str, int] | None:
    """One traced send, whose softirq ran in it, as ps of each stage less its events; None if it went otherwise.

    Events are counted to the stage in which they are written: one at its end is, one at its beginning is not.
    """
    times = {}
    for event in events:
        if event.name in times:
            return None
        times[event.name] = event.when
    at = [times.get(name, -1) for name in _ORDER]
    if min(at) < 0 or at != sorted(at):
        return None
    entry, raised, softirq, received, waking, wakeup, end = at

    def part(start: int, stop: int) -> int:
        written = sum(start <= event.when < stop for event in events)
        return (stop - start) * 1000 - written * event_ps

    return {
        "send": part(send[0], entry) + part(raised, softirq) + part(end, send[1]),
        "enqueue": part(entry, raised),
        "dequeue": part(softirq, received) + part(wakeup, end),
        "receive": part(received, waking),
        "wake": part(waking, wakeup),
    }


def all_sends(found: Flow, event_ps: int) -> dict[str, list[int]]:
    """Stage -> its times in ps, of the sends that ran whole on their CPU."""
    out: dict[str, list[int]] = {name: [] for name in SEND_STAGES}
    times = [event.when for event in found.events]
    for send in found.sends:
        events = found.events[bisect_left(times, send[0]) : bisect_right(times, send[1])]
        if any(event.name in _DISTURBING for event in events):
            continue
        others = ("ipi_send_cpu", "sched_wake_idle_without_ipi")
        stages = send_stages(send, [event for event in events if event.name not in others], event_ps)
        for name, took in (stages or {}).items():
            out[name].append(took)
    return out


def ways(found: Flow) -> list[int]:
    """From a send's call to the end of the recv() that ended before the next one, in ps."""
    starts = [start for start, _ in found.sends]
    out = []
    for _, _, read in found.serves:
        at = bisect_left(starts, read)
        if at:
            out.append((read - starts[at - 1]) * 1000)
    return out


def events_per_send(found: Flow) -> int:
    """The median number of events within a send."""
    times = [event.when for event in found.events]
    counts = sorted(bisect_right(times, end) - bisect_left(times, start) for start, end in found.sends)
    return counts[len(counts) // 2] if counts else 0


def event_cost(traced: Sequence[Flow], bare: Sequence[Flow]) -> tuple[Estimate | None, Estimate, int]:
    """What an event costs: by two that stand behind each other, and by what a send takes more with them, in ps; and which of the
    two is to be believed. The latter also has what a send loses beside the event's own writing, but load that changes spoils it: a
    stretch of traced sends is held to the bare one before it, and where both ways differ by more than half, the former is taken.
    """
    pairs, added = [], []
    for found in traced:
        last = -1
        for event in found.events:
            if event.name == "netif_rx_entry":
                last = event.when
            elif event.name == "netif_rx" and last >= 0:
                pairs.append((event.when - last) * 1000)
                last = -1
    for with_them, without in zip(traced, bare, strict=True):
        count = events_per_send(with_them)
        if count:
            typical, usual = (sorted(end - start for start, end in found.sends) for found in (with_them, without))
            added += [(typical[len(typical) * n // 8] - usual[len(usual) * n // 8]) * 1000 // count for n in (2, 3, 4, 5, 6)]
    if not added:
        raise HostError("no event was recorded within a send")
    close, by_sends = (estimate(pairs) if len(pairs) >= SAMPLES_MIN else None), estimate(added)
    believed = by_sends.ps if close is None or abs(by_sends.ps - close.ps) <= close.ps // 2 else close.ps
    return close, by_sends, max(believed, 0)


READ_STAGES: Final = ("recv", "switch")


def all_reads(found: Flow, event_ps: int) -> dict[str, list[int]]:
    """The reader's turns in ps: ``recv``, its recvmsg(); ``switch``, from being switched to until epoll_wait() returns, and from
    the next one's call until being switched from. The two halves of a switch and of a sleeping epoll_wait() belong to one packet.
    """
    out: dict[str, list[int]] = {name: [] for name in READ_STAGES}
    ins = [event.when for event in found.events if event.name == "sched_switch" and event.cpu >= 0]
    for number, (_, woke, read) in enumerate(found.serves[:-1]):
        out["recv"].append((read - woke) * 1000)
        before = bisect_left(ins, woke) - 1
        asked = found.serves[number + 1][0]
        after = bisect_left(ins, asked)
        if before >= 0 and after < len(ins) and ins[before] > found.serves[number][0] and ins[after] < found.serves[number + 1][1]:
            out["switch"].append((woke - ins[before] + ins[after] - asked) * 1000 - event_ps)
    return out


_WAY: Final = frozenset(
    {"sched_waking", "sched_wakeup", "ipi_send_cpu", "call_function_single_entry", "reschedule_entry", "sched_switch"}
)
"""Events that are written between a wakeup and the woken task."""


_CAME: Final = ("call_function_single_entry", "reschedule_entry")


def all_runs(found: Flow, event_ps: int) -> dict[str, list[int]]:
    """From the reader's wakeup to epoll_wait()'s return in ps, by what its CPU did: it ran something, idled with an interrupt to
    come, or idled and looked by itself. And of the interrupt's way, from who sends it to its handler.
    """
    out: dict[str, list[int]] = {name: [] for name in ("woken_busy", "woken_idle", "woken_polling", "ipi_busy", "ipi_idle")}
    times = [event.when for event in found.events]
    for asked, woke, _ in found.serves:
        events = found.events[bisect_left(times, asked) : bisect_right(times, woke)]
        waking = [event for event in events if event.name == "sched_waking"]
        switch = [event for event in events if event.name == "sched_switch" and waking and event.values[1] == waking[0].values[0]]
        if len(waking) != 1 or len(switch) != 1 or switch[0].when < waking[0].when:
            continue
        behind = [event for event in events if event.when >= waking[0].when]
        took = (woke - waking[0].when) * 1000 - event_ps * sum(event.name in _WAY for event in behind)
        polling = any(event.name == "sched_wake_idle_without_ipi" for event in behind)
        out["woken_busy" if switch[0].values[0] else "woken_polling" if polling else "woken_idle"].append(max(took, 0))
        sent = next((event.when for event in behind if event.name == "ipi_send_cpu"), -1)
        came = next((event.when for event in behind if event.name in _CAME and event.cpu == switch[0].cpu), -1)
        if 0 <= sent < came < switch[0].when:
            out["ipi_busy" if switch[0].values[0] else "ipi_idle"].append(max((came - sent) * 1000 - event_ps, 0))
    return out
