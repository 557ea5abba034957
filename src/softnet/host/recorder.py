# SPDX-License-Identifier: GPL-2.0-or-later
"""Record the receive path: tracepoints into per-CPU buffers, pages out of them, a file of trace-cmd in the end.

Which tracepoints there are says /sys/kernel/tracing/events, not the release. Pages are kept as the kernel gives them, in bounded
memory; nothing is decoded while it records, unless a latency is watched for.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softnet.errors import HostError
from softnet.files import atomic
from softnet.ftrace import tracedat
from softnet.ftrace.ringbuffer import events_of_pages
from softnet.host.observe import Observer, Packet
from softnet.host.recording import Event, readers_of
from softnet.host.tracefs import Instance, put, tracing_folder

if TYPE_CHECKING:
    from softnet.host.model import HostReport

NET_SOFTIRQS: Final = "vec == 2 || vec == 3"
EVENTS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("net/netif_rx_entry", "net/netif_rx"), ""),
    (("net/napi_gro_receive_entry",), ""),
    (("net/napi_gro_frags_entry",), ""),
    (("net/netif_receive_skb",), ""),
    (("napi/napi_poll",), ""),
    (("irq/softirq_raise",), NET_SOFTIRQS),
    (("irq/softirq_entry",), NET_SOFTIRQS),
    (("irq/softirq_exit",), NET_SOFTIRQS),
    (("irq/irq_handler_entry",), ""),
    (("irq/irq_handler_exit",), ""),
    (("sched/sched_switch",), ""),
    (("sched/sched_waking", "sched/sched_wakeup"), ""),
    (("csd/csd_queue_cpu",), ""),
    (("ipi/ipi_send_cpu",), ""),
    (("skb/kfree_skb",), ""),
    (("skb/consume_skb",), ""),
    (("skb/skb_copy_datagram_iovec",), ""),
    (("sock/sk_data_ready",), ""),
    (("sock/sock_recv_length",), ""),
    (("sock/sock_rcvqueue_full",), ""),
    (("tcp/tcp_retransmit_skb",), ""),
)
"""Of each row the first that the kernel has, with a filter."""
SYMBOLS: Final = ("rps_trigger_softirq", "trigger_rx_softirq", "sock_def_readable", "__napi_schedule")
UNREAD_MAX: Final = 1 << 16
DRAIN_SECONDS: Final = 0.05
MEGABYTE: Final = 1 << 20
SCHEMA: Final = "softnet-recording/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """``seconds``: None is until Ctrl-C. ``until_ns``: end when a packet took as long from arrival to being read. ``kept_bytes``:
    the bound of what is kept, of all CPUs; with ``until_ns`` the newest, else recording ends there. ``buffer_bytes``: of the
    kernel's buffer for each CPU.
    """

    seconds: float | None = 10.0
    until_ns: int | None = None
    kept_bytes: int = 64 * MEGABYTE
    buffer_bytes: int = 4 * MEGABYTE


@dataclass(slots=True)
class Recorded:
    """What came of it. Times in ns, sizes in bytes."""

    reason: str = ""
    span_ns: int = 0
    cpu_ns: int = 0
    """CPU time of the recorder itself, not of the tracepoints."""
    page_bytes: int = 4096
    pages: dict[int, deque[bytes]] = field(default_factory=dict)
    kept: int = 0
    let_go: int = 0
    """Pages that went to make room for newer ones."""
    events: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Events that the kernel has not, or refused."""
    lost: dict[str, int] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    slowest_ns: int = 0
    """With a latency to watch for: the longest one seen."""

    @property
    def lost_total(self) -> int:
        return sum(self.lost.values())


class Stop(Exception):
    """Recording is to end: the reason is its text."""


def record(out: Path, options: RecordOptions, report: Callable[[], HostReport] | None = None) -> Recorded:
    """Record this machine into a file. Ctrl-C and SIGTERM end it as its time does. Raises HostError; SoftnetError if the file
    cannot be written.

    Whatever happens, the instance is gone afterwards, but for kill -9; then the next call removes it.
    """
    folder = tracing_folder()
    told = Recorded()
    with atomic(out) as stream:
        with Instance(folder) as instance:
            told.removed = instance.removed
            data = _prepare(instance, options, told)
            try:
                _run(instance, data, options, told)
            except KeyboardInterrupt:
                told.reason = "at Ctrl-C"
            _finish(instance, data, told)
        data.options[tracedat.OPTION_SOFTNET] = _about(told, report() if report is not None else None)
        tracedat.write(data, stream)
    return told


def _prepare(instance: Instance, options: RecordOptions, told: Recorded) -> tracedat.TraceData:
    put(instance.path / "tracing_on", "0")
    put(instance.path / "trace_clock", "mono")
    try:
        put(instance.path / "buffer_size_kb", str(max(options.buffer_bytes >> 10, 64)))
    except OSError as error:
        raise HostError("no memory for the kernel's buffers", where="buffer_size_kb", found=error.strerror or str(error),
                        expected=f"{options.buffer_bytes:,} bytes a CPU", hint="a smaller --buffer-kb") from None  # fmt: skip
    told.page_bytes = instance.page_bytes()
    data = tracedat.TraceData(told.page_bytes)
    data.header_page = instance.read_root("events/header_page").encode()
    data.header_event = instance.read_root("events/header_event").encode()
    for names, condition in EVENTS:
        name = next((name for name in names if instance.has(name)), "")
        why = instance.enable(name, condition) if name else "not in this kernel"
        if why:
            told.missing.append(f"{names[0]}: {why}")
            continue
        told.events.append(name)
        data.formats.append((name.partition("/")[0], instance.read(f"events/{name}/format")))
    if not told.events:
        raise HostError("the kernel has none of the tracepoints of the receive path", where=str(instance.path / "events"))
    with contextlib.suppress(OSError), open("/proc/kallsyms", encoding="utf-8", errors="replace") as stream:
        data.symbols = tracedat.kept_symbols(stream, SYMBOLS)
    return data


def _run(instance: Instance, data: tracedat.TraceData, options: RecordOptions, told: Recorded) -> None:
    """Until the time is over, the room is used up, a packet was too slow, or Ctrl-C."""
    cpus = instance.cpus()
    told.pages = {cpu: deque() for cpu in cpus}
    watch = _Watch(options.until_ns, data) if options.until_ns is not None else None
    put(instance.path / "tracing_on", "1")
    start, own = time.monotonic_ns(), time.process_time_ns()
    end = None if options.seconds is None else start + round(options.seconds * 1e9)
    try:
        while True:
            left = DRAIN_SECONDS if end is None else min(DRAIN_SECONDS, (end - time.monotonic_ns()) / 1e9)
            if left <= 0:
                raise Stop(f"after {options.seconds:g} seconds")
            time.sleep(left)
            before = time.monotonic_ns()
            for cpu in cpus:
                for page in drain(instance.pipe(cpu), told.page_bytes):
                    _keep(told, cpu, page, options, watch is not None)
                    if watch is not None:
                        watch.take(cpu, page)
            if watch is not None:
                watch.judge(before)
    except Stop as stop:
        told.reason = str(stop)
    finally:
        put(instance.path / "tracing_on", "0")
        told.span_ns = time.monotonic_ns() - start
        told.cpu_ns = time.process_time_ns() - own
        told.slowest_ns = watch.slowest_ns if watch is not None else 0


def drain(pipe: int, page_bytes: int) -> Iterator[bytes]:
    """The pages that wait; a page that the kernel still writes comes as far as it is written."""
    while True:
        try:
            page = os.read(pipe, page_bytes)
        except BlockingIOError:
            return
        except OSError:  # the CPU went offline
            return
        if len(page) < 16 or not int.from_bytes(page[8:12], "little") & (1 << 30) - 1:
            return
        yield page.ljust(page_bytes, b"\0")


def _keep(told: Recorded, cpu: int, page: bytes, options: RecordOptions, newest: bool) -> None:
    if told.kept + len(page) > options.kept_bytes:
        if not newest:
            raise Stop(f"{options.kept_bytes >> 20} MB were recorded, which is the bound (--max-mb)")
        oldest = max(told.pages.values(), key=len)
        told.kept -= len(oldest.popleft())
        told.let_go += 1
    told.pages[cpu].append(page)
    told.kept += len(page)


def _finish(instance: Instance, data: tracedat.TraceData, told: Recorded) -> None:
    """What is left in the buffers, and what they say of themselves."""
    room = told.kept + len(told.pages) * (8 * MEGABYTE)
    for cpu, pages in told.pages.items():
        for page in drain(instance.pipe(cpu), told.page_bytes):
            if told.kept + len(page) > room or told.reason.endswith("(--max-mb)"):
                break
            pages.append(page)
            told.kept += len(page)
    told.lost = instance.lost()
    with contextlib.suppress(OSError):
        data.comms = instance.read_root("saved_cmdlines")
    data.pages = [list(told.pages.get(cpu, ())) for cpu in range(max(told.pages, default=-1) + 1)]


def _about(told: Recorded, report: HostReport | None) -> bytes:
    """JSON beside the pages: of the recording, and of the machine without names and addresses."""
    document: dict[str, Any] = {
        "schema": SCHEMA, "reason": told.reason, "span_ns": told.span_ns, "recorder_cpu_ns": told.cpu_ns, "clock": "mono",
        "lost": told.lost, "let_go_pages": told.let_go, "missing": told.missing, "release": os.uname().release,
    }  # fmt: skip
    if report is not None:
        from softnet.host.anonymous import anonymised

        document["machine"] = json.loads(anonymised(report).to_json())
    return json.dumps(document, sort_keys=True).encode()


class _Watch:
    """Looks for a packet that took too long from its arrival to being read, as a replay would find it."""

    def __init__(self, until_ns: int, data: tracedat.TraceData) -> None:
        self.until_ns = until_ns
        self.slowest_ns = 0
        self.page_bytes = data.page_bytes
        self._observer = Observer()
        self._waiting: list[Event] = []
        self._unread: list[Packet] = []
        self._readers = readers_of(data)
        names = {name for name, _ in self._readers.values()}
        arrive, read = {"netif_rx_entry", "netif_rx"}, {"sock_recv_length", "consume_skb", "skb_copy_datagram_iovec"}
        if not names & arrive or not names & read:
            raise HostError("this kernel does not say when a packet arrives and is read", where="--until-latency",
                            expected="net/netif_rx and sock/sock_recv_length or skb/consume_skb")  # fmt: skip

    def take(self, cpu: int, page: bytes) -> None:
        """Keep what is to be judged of a page."""
        for when, payload in events_of_pages(page, self.page_bytes, lambda lost: None):
            known = self._readers.get(int.from_bytes(payload[:2], "little"))
            if known is not None:
                pid, flags, values = known[1](payload)
                self._waiting.append(Event(when, cpu, pid, flags, known[0], values))

    def judge(self, before_ns: int) -> None:
        """Of what happened before that time every CPU's events are here. Raises Stop."""
        self._waiting.sort(key=lambda event: event.when)
        later = [event for event in self._waiting if event.when >= before_ns]
        out = self._observer.out
        for event in self._waiting[: len(self._waiting) - len(later)]:
            self._observer.take(event)
        self._waiting = later
        self._unread += out.packets
        for packet in self._unread:
            if packet.read >= 0:
                self.slowest_ns = max(self.slowest_ns, packet.read - packet.when)
        out.packets.clear()
        out.bursts.clear()
        out.polls.clear()
        out.raises.clear()
        out.softirqs.clear()
        out.ipis.clear()
        out.wakeups.clear()
        self._unread = [packet for packet in self._unread if packet.read < 0 and not packet.dropped][-UNREAD_MAX:]
        if self.slowest_ns >= self.until_ns:
            raise Stop(f"a packet took {self.slowest_ns / 1000:,.0f} us from its arrival to being read, which is"
                       f" {self.until_ns / 1000:,.0f} us or more")  # fmt: skip
