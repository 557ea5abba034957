# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording as events in time order, whatever wrote it: softnet host record, trace-cmd, ``cat trace``, ``perf script``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from softnet.errors import TraceError
from softnet.files import from_json, lines_bounded
from softnet.ftrace import tracedat
from softnet.ftrace.ringbuffer import events_of_pages, symbolic

EVENTS_MAX: Final = 8_000_000
TEXT_BYTES_MAX: Final = 1 << 30
LINE_BYTES_MAX: Final = 1 << 16
FLAG_HARDIRQ, FLAG_SOFTIRQ = 0x08, 0x10
_PREEMPTED: Final = 0xFF
"""Bits of prev_state that say why a task sleeps; one that was preempted has none."""

_ENTRY: Final = ("name", "skbaddr", "len", "hash")
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "netif_rx_entry": _ENTRY,
    "netif_rx": ("name", "skbaddr", "len"),
    "napi_gro_receive_entry": _ENTRY,
    "napi_gro_frags_entry": _ENTRY,
    "netif_receive_skb": ("name", "skbaddr", "len"),
    "napi_poll": ("dev_name", "work", "budget"),
    "softirq_raise": ("vec",),
    "softirq_entry": ("vec",),
    "softirq_exit": ("vec",),
    "irq_handler_entry": ("irq",),
    "irq_handler_exit": ("irq",),
    "sched_switch": ("prev_comm", "prev_pid", "prev_state", "next_comm", "next_pid", "next_prio"),
    "sched_waking": ("pid",),
    "sched_wakeup": ("pid",),
    "csd_queue_cpu": ("cpu", "func"),
    "kfree_skb": ("skbaddr", "reason"),
    "consume_skb": ("skbaddr",),
    "skb_copy_datagram_iovec": ("skbaddr", "len"),
    "sk_data_ready": ("skaddr", "protocol"),
    "sock_recv_length": ("sk", "ret", "flags"),
}
"""Event -> what is read of it, in this order. A field that a kernel has not is -1."""


class Event(NamedTuple):
    """``when`` in ns of the recording's clock; ``flags`` of ftrace (0x10: in a softirq); ``values`` as FIELDS has them."""

    when: int
    cpu: int
    pid: int
    flags: int
    name: str
    values: tuple[Any, ...]


@dataclass(slots=True)
class Recording:
    """Events in time order, and what is known of where they are from."""

    kind: str
    """ "trace.dat" or "text"."""
    events: list[Event] = field(default_factory=list)
    cpus: int = 1
    release: str = ""
    machine: dict[str, Any] | None = None
    """A report of softnet host doctor, if the recording has one."""
    lost: int = 0
    """Events that the kernel says it lost."""
    lost_by_counters: int = 0
    """The same by the buffers' own counters, where the recording has them."""
    lost_unknown: bool = False
    """Events were lost, and the kernel did not count them."""
    coarse: bool = False
    """Its times are whole microseconds, as text has them."""
    names: frozenset[str] = frozenset()
    """The events that were recorded, whether or not they happened."""

    @property
    def span_ns(self) -> int:
        """From the first event to the last."""
        return self.events[-1].when - self.events[0].when if self.events else 0


def read_recording(path: Path) -> Recording:
    """Read a recording. Raises TraceError, with the place, for what is none."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise TraceError("the recording cannot be read", where=str(path), found=error.strerror or str(error)) from None
    found = _of_trace_dat(path) if tracedat.is_trace_dat(head) else _of_text(path)
    if not found.events:
        raise TraceError("no event of the receive path is in it", where=str(path),
                         expected="a file of softnet host record or trace-cmd, or the text of cat trace or perf script",
                         hint="softnet host record --out FILE")  # fmt: skip
    found.events.sort(key=lambda event: event.when)  # stable: events of one CPU keep their order
    return found


def _of_trace_dat(path: Path) -> Recording:
    data = tracedat.read(path)
    out = Recording("trace.dat", cpus=max(len(data.pages), 1))
    _about(out, data.options.get(tracedat.OPTION_SOFTNET), path)
    readers = readers_of(data)
    out.names = frozenset(name for name, _ in readers.values())

    def lost(count: int) -> None:
        out.lost += count
        out.lost_unknown |= not count

    events = out.events
    for cpu, pieces in enumerate(data.pages):
        for piece in pieces:
            for when, payload in events_of_pages(piece, data.page_bytes, lost):
                known = readers.get(int.from_bytes(payload[:2], "little"))
                if known is None:
                    continue
                pid, flags, values = known[1](payload)
                events.append(Event(when, cpu, pid, flags, known[0], values))
        _bounded(events, path)
    # Both count the same events; a page says it only where a later one follows.
    out.lost = max(out.lost, out.lost_by_counters)
    return out


Reader = Callable[[bytes], tuple[int, int, tuple[Any, ...]]]


def readers_of(data: tracedat.TraceData) -> dict[int, tuple[str, Reader]]:
    """Number of an event -> its name, and what makes PID, flags and values of its bytes."""
    readers: dict[int, tuple[str, Reader]] = {}
    for number, (parsed, text) in data.parsed().items():
        if parsed.name in FIELDS:
            read = parsed.reader(("common_pid", "common_flags", *FIELDS[parsed.name]))
            readers[number] = parsed.name, _translated(parsed.name, read, symbolic(text), data)
    return readers


def _about(out: Recording, option: bytes | None, path: Path) -> None:
    """What softnet host record wrote beside the events."""
    if option is None:
        return
    try:
        told = from_json(option)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise TraceError("what softnet wrote of the machine is no JSON", where=f"{path}: option {tracedat.OPTION_SOFTNET:#x}")
    release, machine, lost = told.get("release"), told.get("machine"), told.get("lost")
    out.release = release if isinstance(release, str) else ""
    out.machine = machine if isinstance(machine, dict) else None
    if isinstance(lost, dict):
        out.lost_by_counters = sum(count for count in lost.values() if type(count) is int and 0 < count < 1 << 62)


def _translated(name: str, read: Callable[[bytes], tuple[Any, ...]], words: dict[int, str], data: tracedat.TraceData) -> Reader:
    """Values in the form that text has, too: a function's name for its address, a reason's name for its number."""
    known: dict[int, str] = {}

    def symbol(address: int) -> str:
        if address not in known:
            known[address] = data.symbol(address)
        return known[address]

    def translate(payload: bytes) -> tuple[int, int, tuple[Any, ...]]:
        pid, flags, *values = read(payload)
        if name == "csd_queue_cpu":
            values[1] = symbol(values[1])
        elif name == "kfree_skb":
            values[1] = words.get(values[1], "NOT_SPECIFIED")
        elif name == "sched_switch":
            values[2] = int(bool(values[2] & _PREEMPTED))
        return pid, flags, tuple(values)

    return translate


def _bounded(events: list[Event], path: Path) -> None:
    if len(events) > EVENTS_MAX:
        raise TraceError("too many events for one replay", where=str(path), found=f"more than {EVENTS_MAX:,}",
                         expected="a shorter recording", hint="softnet host record --seconds 5")  # fmt: skip


# "  comm-123   [001] d.s1.  12.345678: event: text", and perf's "comm   123 [001]  12.345678:  system:event: text".
_FTRACE: Final = re.compile(
    r"\s*(?P<comm>.{1,40}?)-(?P<pid>\d{1,9})\s{1,20}(?:\([^)]{1,20}\)\s{1,9})?\[(?P<cpu>\d{1,4})\]\s{1,9}"
    r"(?:(?P<flags>[^\s:]{4,8})\s{1,20})?(?P<time>\d{1,10}\.\d{6,9}): (?P<event>\w{1,60}):\s{0,60}(?P<text>.*)",
    re.ASCII,
)
_PERF: Final = re.compile(
    r"\s*(?P<comm>\S.{0,40}?)\s{1,20}(?P<pid>\d{1,9})(?:/\d{1,9})?\s{1,20}\[(?P<cpu>\d{1,4})\]\s{1,20}"
    r"(?:(?P<flags>[^\s:]{4,8})\s{1,20})?(?P<time>\d{1,10}\.\d{6,9}):\s{1,20}(?:\d{1,12}\s{1,20})?"
    r"(?P<system>\w{1,40}):(?P<event>\w{1,60}):\s{0,60}(?P<text>.*)",
    re.ASCII,
)
_WORD: Final = re.compile(r"(?<![\w])(\w{1,40})[=:] ?(\S{1,200})", re.ASCII)
_POLL: Final = re.compile(r"device (?P<dev_name>\S{1,40}) work (?P<work>-?\d{1,9}) budget (?P<budget>\d{1,9})", re.ASCII)
_SWITCH: Final = re.compile(
    r"prev_comm=(?P<prev_comm>.{0,40}?) prev_pid=(?P<prev_pid>\d{1,9}) prev_prio=-?\d{1,4} prev_state=(?P<prev_state>\S{1,8}) ==> "
    r"next_comm=(?P<next_comm>.{0,40}?) next_pid=(?P<next_pid>\d{1,9}) next_prio=(?P<next_prio>-?\d{1,4})", re.ASCII,
)  # fmt: skip
_RECEIVED: Final = re.compile(
    r"address = (?P<sk>(?:0x)?[0-9a-f]{1,16}),.{0,80} length = (?P<length>\d{1,9}), error = (?P<error>-?\d{1,9}), "
    r"flags = (?P<flags>0x[0-9a-f]{1,8})", re.ASCII,
)  # fmt: skip
_LOST_EVENTS: Final = re.compile(r"CPU:\d{1,4} \[LOST (?P<count>\d{1,15}) EVENTS\]|CPU:\d{1,4} \[LOST EVENTS\]", re.ASCII)
_ALIASES: Final = {"name": "dev"}
"""Where the text has another word than the field."""


def _of_text(path: Path) -> Recording:
    out = Recording("text")
    names: set[str] = set()
    seen = 0
    for number, raw in enumerate(lines_bounded(path, TEXT_BYTES_MAX, LINE_BYTES_MAX, TraceError, "recording"), start=1):
        line = raw.decode("utf-8", errors="replace").rstrip("\n")
        lost = _LOST_EVENTS.search(line)
        if lost:
            out.lost += int(lost["count"] or 0)
            out.lost_unknown |= lost["count"] is None
            continue
        match = _FTRACE.match(line) or _PERF.match(line)
        if match is None:
            continue
        seen += 1
        out.coarse |= len(match["time"].partition(".")[2]) < 9
        event = _event(match, f"{path}:{number}")
        if event is not None:
            out.events.append(event)
            out.cpus = max(out.cpus, event.cpu + 1)
            names.add(event.name)
        if number % 65536 == 0:
            _bounded(out.events, path)
    _bounded(out.events, path)
    out.names = frozenset(names)
    return out


def _event(match: re.Match[str], where: str) -> Event | None:
    name = match["event"]
    if name not in FIELDS:
        return None
    seconds, _, fraction = match["time"].partition(".")
    when = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
    values = _values(name, match["text"])
    if values is None:
        raise TraceError(f"not the text of {name}", where=where, found=match["text"][:200],
                         expected=", ".join(FIELDS[name]))  # fmt: skip
    return Event(when, int(match["cpu"]), int(match["pid"]), _flags(match["flags"] or ""), name, values)


def _flags(text: str) -> int:
    """The third letter says what the CPU was in: h or H a hard interrupt, s a softirq."""
    letter = text[2:3]
    return FLAG_HARDIRQ if letter in "hZz" and letter else FLAG_SOFTIRQ if letter == "s" else FLAG_HARDIRQ if letter == "H" else 0


def _values(name: str, text: str) -> tuple[Any, ...] | None:
    """The fields of an event's text; None where it has not what it must have."""
    if name == "napi_poll":
        found = _POLL.search(text)
        return None if found is None else (found["dev_name"], int(found["work"]), int(found["budget"]))
    if name == "sched_switch":
        found = _SWITCH.search(text)
        if found is None:
            return None
        asleep = int(found["prev_state"] not in ("R", "R+"))
        task = found["next_comm"], int(found["next_pid"]), int(found["next_prio"])
        return found["prev_comm"], int(found["prev_pid"]), asleep, *task
    if name == "sock_recv_length":
        found = _RECEIVED.search(text)
        if found is None:
            return None
        return int(found["sk"], 16), int(found["error"]) or int(found["length"]), int(found["flags"], 16)
    words = dict(_WORD.findall(text))
    out: list[Any] = []
    for field_name in FIELDS[name]:
        word = words.get(field_name, words.get(_ALIASES.get(field_name, "")))
        if field_name in ("name", "func", "reason"):
            out.append(word or "")
            continue
        number = _number(field_name, word)
        if number is None and field_name in ("skbaddr", "vec", "pid"):
            return None
        out.append(-1 if number is None else number)
    return tuple(out)


def _number(name: str, word: str | None) -> int | None:
    if word is None:
        return None
    word = word.rstrip(",")
    base = 16 if name in ("skbaddr", "skaddr") or word.startswith("0x") else 10
    try:
        found = int(word, base)
    except ValueError:
        return None
    return found if found < 1 << 64 else None


def each(events: list[Event], *names: str) -> Iterator[Event]:
    """The events of these names."""
    return (event for event in events if event.name in names)
