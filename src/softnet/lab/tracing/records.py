# SPDX-License-Identifier: GPL-2.0-or-later
"""From a guest's ring buffers to records: one list in one order, integers throughout.

A record has the seven integers of ``softnet.trace`` and its event names and argument orders, and besides the task and a text, by
which the checker tells whose function returns (softnet.lab.tracing.export makes the one of the other); ``skb`` arguments
are small numbers that stand for addresses in order of first appearance (an address may be used again after a
free). With the clock "counter", the first integer is the event's place in the total order and no time at all;
``LabTrace.clock`` says which it is.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from softnet.files import from_json, lines_bounded, readable, write_whole
from softnet.ftrace.ringbuffer import Format, events_of_pages, parse_format
from softnet.lab.errors import LabError
from softnet.lab.tracing.facts import Facts
from softnet.release import nearest
from softnet.units import whole_number

FORMAT = "softnet-lab-trace"
VERSION = 1
TASK, SOFTIRQ, HARDIRQ = 0, 1, 2
_FLAG_HARDIRQ, _FLAG_SOFTIRQ, _FLAG_BH_OFF = 0x08, 0x10, 0x80
# Events whose ``text`` says what a hard interrupt came into: OVER_SOFTIRQ, OVER_BH_OFF, or nothing of the kind.
_INTO = frozenset(("softirq_raise", "rps_trigger_softirq", "trigger_rx_softirq"))
OVER_SOFTIRQ, OVER_BH_OFF = "softirq", "bh off"
MARK = "mark"
# What is read goes into memory, where a record takes two hundred bytes. A guest's ring buffers hold a tenth of it.
RECORDS_MAX = 4_000_000
FILE_BYTES_MAX = 512 << 20
LINE_BYTES_MAX = 1 << 20
_WORD_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class LabRecord:
    """One event. ``when`` is ns or a place in the order; ``pid`` is the task it happened in or over."""

    when: int
    cpu: int
    context: int
    event: str
    a: int = 0
    b: int = 0
    c: int = 0
    pid: int = 0
    text: str = ""

    def line(self) -> list[Any]:
        """As it stands in a file."""
        row: list[Any] = [self.when, self.cpu, self.context, self.event, self.a, self.b, self.c, self.pid]
        return [*row, self.text] if self.text else row


@dataclass(slots=True)
class LabTrace:
    """Records in order, and the header that says where they come from."""

    header: dict[str, Any]
    records: list[LabRecord] = field(default_factory=list)

    @property
    def clock(self) -> str:
        """What the records' first integer is: "counter" a place in the order, "mono" ns."""
        return str(self.header["clock"])

    @property
    def kick_is_function(self) -> bool:
        """Whether the kick is a function of its own that was probed; where it is not, only what it does shows.

        A trace of an older softnet does not say what was probed: there it is the kernel's release that tells.
        """
        probed = self.header.get("probed")
        if probed is not None:
            return "kick_defer_list_purge" in probed
        return nearest(str(self.header.get("release", ""))).has("kick_function")

    def of(self, *events: str) -> Iterator[LabRecord]:
        """The records of these events, in order."""
        return (record for record in self.records if record.event in events)


class _Numbering:
    """Addresses to small numbers, in order of first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def __call__(self, address: int) -> int:
        return self._numbers.setdefault(address, len(self._numbers) + 1)


Values = dict[str, Any]


def _translators(
    facts: Facts,
) -> dict[str, Callable[[Values, int, _Numbering], tuple[str, int, int, int] | None]]:
    """Event in the guest -> (event, a, b, c) in the trace; None leaves it out."""

    def csd(values: Values, cpu: int, skb: _Numbering) -> tuple[str, int, int, int] | None:
        return _called("csd_queue_cpu", values)

    def work(values: Values, cpu: int, skb: _Numbering) -> tuple[str, int, int, int] | None:
        return _called("queue_work_on", values)

    def _called(event: str, values: Values) -> tuple[str, int, int, int] | None:
        name = facts.symbol_at(values["func"] & 0xFFFF_FFFF_FFFF_FFFF)
        return (event, values["target"], CSD_FUNCTIONS[name], 0) if name in CSD_FUNCTIONS else None

    return {
        "skb_attempt_defer_free": lambda v, cpu, skb: (
            "skb_attempt_defer_free", skb(v["skb"]), v["alloc_cpu"], v.get(f"count{v['alloc_cpu']}", -1)),
        "kick_defer_list_purge": lambda v, cpu, skb: ("kick_defer_list_purge", v["target"], 0, 0),
        "smp_call_function_single_async": csd,
        "smp_call_function_single_async_ret": lambda v, cpu, skb: (
            ("csd_queue_cpu_ret", v["ret"], 0, 0) if v["ret"] else None),
        "queue_work_on": work,
        "trigger_rx_softirq": lambda v, cpu, skb: ("trigger_rx_softirq", cpu, 0, 0),
        "rps_trigger_softirq": lambda v, cpu, skb: ("rps_trigger_softirq", cpu, 0, 0),
        "enqueue_to_backlog": lambda v, cpu, skb: (
            "enqueue_to_backlog", skb(v["skb"]), v["target"], v.get(f"qlen{v['target']}", -1)),
        "enqueue_to_backlog_ret": lambda v, cpu, skb: ("enqueue_to_backlog_ret", v["ret"], 0, 0),
        "process_backlog": lambda v, cpu, skb: ("process_backlog_entry", v["quota"], 0, 0),
        "process_backlog_ret": lambda v, cpu, skb: ("process_backlog", v["work"], 0, 0),
        "net_rx_action": lambda v, cpu, skb: ("net_rx_action_entry", 0, 0, 0),
        "net_rx_action_ret": lambda v, cpu, skb: ("net_rx_action", 0, 0, 0),
        "softirq_raise": lambda v, cpu, skb: ("softirq_raise", v["vec"], 0, 0),
        "softirq_entry": lambda v, cpu, skb: ("softirq_entry", v["vec"], 0, 0),
        "softirq_exit": lambda v, cpu, skb: ("softirq_exit", v["vec"], 0, 0),
        "sched_waking": lambda v, cpu, skb: ("sched_waking", v["pid"], v["target_cpu"], 0),
        "sched_switch": lambda v, cpu, skb: ("sched_switch", v["prev_pid"], v["next_pid"], v["prev_state"]),
        "napi_poll": lambda v, cpu, skb: ("napi_poll", skb(v["napi"]), v["work"], v["budget"]),
        "netif_rx": lambda v, cpu, skb: ("netif_rx", skb(v["skbaddr"]), cpu, v["len"]),
        "kfree_skb": lambda v, cpu, skb: ("kfree_skb", skb(v["skbaddr"]), v["reason"], 0),
        "consume_skb": lambda v, cpu, skb: ("consume_skb", skb(v["skbaddr"]), 0, 0),
        "print": lambda v, cpu, skb: (MARK, 0, 0, 0),
    }  # fmt: skip


# The argument ``function`` of csd_queue_cpu and queue_work_on.
CSD_FUNCTIONS = {"trigger_rx_softirq": 1, "rps_trigger_softirq": 2}


def _context(flags: int) -> int:
    if flags & _FLAG_HARDIRQ:
        return HARDIRQ
    return SOFTIRQ if flags & _FLAG_SOFTIRQ else TASK


def _words(event: str, values: Values) -> str:
    """A record's text: what was printed, the task that an event is about, a packet's hash, what was interrupted."""
    if event == "print":
        return str(values["buf"]).rstrip("\n")
    if event == "sched_switch":
        return str(values.get("prev_comm", ""))
    if event == "enqueue_to_backlog":
        return f"hash {values['hash']}" if "hash" in values else ""
    if event in _INTO:
        flags = int(values["common_flags"])
        if flags & _FLAG_HARDIRQ and flags & _FLAG_SOFTIRQ:
            return OVER_SOFTIRQ
        return OVER_BH_OFF if flags & _FLAG_BH_OFF else ""
    return str(values.get("comm", ""))


def cpu_of(blob: str) -> int:
    """The CPU of a blob of pages, which is called pages/CPU."""
    cpu = whole_number(blob.removeprefix("pages/"))
    if cpu is None:
        raise LabError("pages of no CPU", where=blob, expected="pages/CPU")
    return cpu


def decode(blobs: dict[str, bytes], page_bytes: int, facts: Facts) -> list[LabRecord]:
    """The records in the blobs of a session, in the order of the guest's trace clock."""
    formats: dict[int, Format] = {}
    for name, text in blobs.items():
        if name.startswith("format/"):
            parsed = parse_format(name.split("/")[1], text.decode(errors="replace"))
            formats[parsed.number] = parsed
    raw: list[tuple[int, int, bytes]] = []
    for name, data in blobs.items():
        if name.startswith("pages/"):
            cpu = cpu_of(name)
            raw.extend((when, cpu, payload) for when, payload in events_of_pages(data, page_bytes))
    # Stable: events of one CPU with equal times keep their order.
    raw.sort(key=lambda entry: entry[:2])
    translators, number = _translators(facts), _Numbering()
    records: list[LabRecord] = []
    for when, cpu, payload in raw:
        kind = formats.get(int.from_bytes(payload[:2], "little"))
        if kind is None or kind.name not in translators:
            raise LabError("the trace holds an event whose format the guest did not send", where=f"pages/{cpu}",
                           found=kind.name if kind is not None else payload[:8].hex(" "))  # fmt: skip
        with readable(LabError, "an event without what it should have", where=f"pages/{cpu}: {kind.name}",
                      expected="the fields that the lab's probes ask for"):  # fmt: skip
            values: Values = dict(kind.decode(payload))
            told = translators[kind.name](values, cpu, number)
            if told is None:
                continue
            words = _words(kind.name, values)
            context, pid = _context(values["common_flags"]), values["common_pid"]
        records.append(LabRecord(when, cpu, context, *told, pid=pid, text=words))
    return records


def write(trace: LabTrace, path: Path) -> None:
    """One JSON line of header, one a record; gzip (with no time stamp in it) if the name ends in .gz."""
    lines = [json.dumps(trace.header, sort_keys=True)]
    lines.extend(json.dumps(record.line(), separators=(",", ":")) for record in trace.records)
    data = ("\n".join(lines) + "\n").encode()
    if path.suffix == ".gz":
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as stream:
            stream.write(data)
        data = buffer.getvalue()
    write_whole(path, data)


def read(path: Path) -> LabTrace:
    """Read what ``write`` wrote. Raises ``LabError`` naming file and line."""
    if os.path.isdir(path):
        raise LabError("the trace cannot be read", where=str(path), found="a folder",
                       hint="give the files in it that end in .lab.jsonl.gz")  # fmt: skip
    lines = lines_bounded(path, FILE_BYTES_MAX, LINE_BYTES_MAX, LabError, "trace")
    try:
        header = from_json(next(lines, b"{}"))
    except ValueError:
        header = {}
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
        raise LabError(
            "not a trace of the lab",
            where=f"{path}:1",
            expected=f"a {FORMAT} header, version {VERSION}",
            hint="softnet lab run --out DIR and softnet lab conform --out DIR write ARM.lab.jsonl.gz",
        )
    return LabTrace(header, list(_parse(lines, path)))


def _is_row(row: Any) -> bool:
    """Whether this is what ``LabRecord.line`` makes."""
    if not isinstance(row, list) or len(row) not in (8, 9):
        return False
    numbers = [*row[:3], *row[4:8]]
    return all(type(value) is int and abs(value) <= _WORD_MAX for value in numbers) and all(
        isinstance(value, str) for value in (row[3], *row[8:])
    )


def _parse(lines: Iterable[bytes], path: Path) -> Iterator[LabRecord]:
    for number, line in enumerate(lines, start=2):
        if number > RECORDS_MAX + 1:
            raise LabError(
                "too large for a trace of the lab", where=f"{path}:{number}", expected=f"at most {RECORDS_MAX:,} records"
            )
        try:
            row = from_json(line)
        except ValueError:
            row = None
        if not _is_row(row):
            raise LabError(
                "not a record",
                where=f"{path}:{number}",
                found=line[:80].decode(errors="replace"),
                expected="[when, cpu, context, event, a, b, c, pid], all integers but the event's name",
            )
        when, cpu, context, event, a, b, c, pid, *text = row
        yield LabRecord(when, cpu, context, event, a, b, c, pid, text[0] if text else "")
