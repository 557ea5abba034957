# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of trace-cmd: what KernelShark and ``trace-cmd report`` open. Version 6 is written, 6 and 7 are read.

The layout is that of trace-cmd's own page trace-cmd.dat.v6(5); softnet.ftrace.tracedat7 has that of version 7. An option whose
number a reader does not know is skipped, so a recording of softnet carries what it wants to know of the machine in one of its own.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from softnet.errors import TraceError
from softnet.files import read_bounded
from softnet.ftrace.ringbuffer import Format, parse_format

MAGIC: Final = b"\x17\x08\x44tracing"
VERSION: Final = b"6\0"
SECTIONED: Final = b"7\0"
OPTION_SOFTNET: Final = 0x534E
"""Ours: JSON about the machine and the recording."""
FILE_BYTES_MAX: Final = 2 << 30
PAGE_BYTES_MAX: Final = 1 << 20
_CPUS_MAX: Final = 1 << 13
_EVENTS_MAX: Final = 1 << 16


@dataclass(slots=True)
class TraceData:
    """What such a file holds: pages by CPU, and what is needed to read them."""

    page_bytes: int
    header_page: bytes = b""
    header_event: bytes = b""
    formats: list[tuple[str, str]] = field(default_factory=list)
    """(system, text of the format file)."""
    symbols: str = ""
    """Lines of /proc/kallsyms."""
    comms: str = ""
    """Lines of saved_cmdlines: PID and name."""
    options: dict[int, bytes] = field(default_factory=dict)
    pages: list[list[bytes]] = field(default_factory=list)
    """By CPU: pieces of whole pages, in order."""

    def parsed(self) -> dict[int, tuple[Format, str]]:
        """Number of an event -> its format, and the text that it stands in."""
        out: dict[int, tuple[Format, str]] = {}
        for system, text in self.formats:
            found = parse_format(system, text)
            out[found.number] = found, text
        return out

    def symbol(self, address: int) -> str:
        """The function that begins at this address; "" if none of those that were kept does."""
        found = re.search(rf"^0*{address & (1 << 64) - 1:x} \w (\w+)", self.symbols, re.MULTILINE | re.ASCII)
        return found[1] if found else ""


def write(data: TraceData, stream: IO[bytes]) -> None:
    """Write it to a stream that can seek. Raises OSError."""
    out = [MAGIC, VERSION, b"\0\x08", struct.pack("<I", data.page_bytes)]
    for name, text in ((b"header_page\0", data.header_page), (b"header_event\0", data.header_event)):
        out += [name, struct.pack("<Q", len(text)), text]
    out.append(struct.pack("<I", 0))
    systems = sorted({system for system, _ in data.formats})
    out.append(struct.pack("<I", len(systems)))
    for system in systems:
        texts = [text.encode() for name, text in data.formats if name == system]
        out += [system.encode() + b"\0", struct.pack("<I", len(texts))]
        for text in texts:
            out += [struct.pack("<Q", len(text)), text]
    symbols, comms = data.symbols.encode(), data.comms.encode()
    out += [struct.pack("<I", len(symbols)), symbols, struct.pack("<I", 0), struct.pack("<Q", len(comms)), comms]
    out += [struct.pack("<I", len(data.pages)), b"options  \0"]
    for number, value in sorted(data.options.items()):
        out += [struct.pack("<HI", number, len(value)), value]
    out += [struct.pack("<H", 0), b"flyrecord\0"]
    head = b"".join(out)
    at = _aligned(len(head) + 16 * len(data.pages), data.page_bytes)
    table = b""
    for pages in data.pages:
        size = sum(map(len, pages))
        table += struct.pack("<QQ", at, size)
        at += _aligned(size, data.page_bytes)
    stream.write(head + table)
    stream.write(bytes(_aligned(len(head) + len(table), data.page_bytes) - len(head) - len(table)))
    for pages in data.pages:
        for page in pages:
            stream.write(page)


def _aligned(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def is_trace_dat(head: bytes) -> bool:
    """Whether a file that begins so is one of trace-cmd's."""
    return head.startswith(MAGIC)


class Cursor:
    """Walks through a file's bytes, and knows where it is."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.at = 0
        self.order: str = "<"

    def take(self, count: int, what: str) -> bytes:
        """So many bytes. Raises TraceError where there are fewer."""
        if count > len(self.data) - self.at:
            raise TraceError("the recording is cut short", where=f"{self.name}: {what} (byte {self.at:,})",
                             found=f"{len(self.data) - self.at:,} bytes", expected=f"{count:,}")  # fmt: skip
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int, what: str) -> int:
        """An unsigned number of so many bytes."""
        return int.from_bytes(self.take(size, what), "little" if self.order == "<" else "big")

    def count(self, size: int, most: int, what: str) -> int:
        """The same, which must not be above ``most``."""
        found = self.number(size, what)
        if found > most:
            raise TraceError("the recording claims too much", where=f"{self.name}: {what} (byte {self.at - size:,})",
                             found=f"{found:,}", expected=f"at most {most:,}")  # fmt: skip
        return found

    def sized(self, size: int, what: str) -> bytes:
        """Bytes behind a number of so many bytes that counts them."""
        return self.take(self.number(size, what), what)

    def text(self, most: int, what: str) -> str:
        """A text that ends in a zero byte, of so many bytes at most."""
        end = self.data.find(b"\0", self.at, self.at + most)
        found = self.take(max(end - self.at, 0), what).decode(errors="replace")
        self.expect(b"\0", what)
        return found

    def expect(self, text: bytes, what: str) -> None:
        """These bytes. Raises TraceError for others."""
        at = self.at
        found = self.take(len(text), what)
        if found != text:
            raise TraceError("not what a recording of trace-cmd has here", where=f"{self.name}: {what} (byte {at:,})",
                             found=repr(found)[1:], expected=repr(text)[1:])  # fmt: skip


def read(path: Path) -> TraceData:
    """Read a file of trace-cmd. Raises TraceError with the place."""
    return parse(read_bounded(path, FILE_BYTES_MAX, TraceError, "recording"), str(path))


def parse(data: bytes, name: str) -> TraceData:
    """The same of bytes. ``name`` stands in the messages."""
    cursor = Cursor(data, name)
    cursor.expect(MAGIC, "the beginning")
    version = cursor.take(2, "the version")
    if version not in (VERSION, SECTIONED):
        raise TraceError("a version of trace-cmd's files that softnet does not read", where=name,
                         found=repr(version.rstrip(b"\0"))[2:-1], expected="6 or 7",
                         hint="trace-cmd convert --file-version 6 -i FILE -o NEW")  # fmt: skip
    if cursor.number(1, "the byte order") or cursor.number(1, "the size of a long") != 8:
        raise TraceError("a recording of another kind of machine", where=name, expected="64 bits, little endian")
    out = TraceData(cursor.count(4, PAGE_BYTES_MAX, "the size of a page"))
    if out.page_bytes < 64:
        raise TraceError("the recording has no pages", where=name, found=f"{out.page_bytes} bytes each", expected="64 or more")
    if version == SECTIONED:
        from softnet.ftrace.tracedat7 import parse_sections

        parse_sections(cursor, out)
        return out
    header_info(cursor, out)
    ftrace_formats(cursor, out)
    event_formats(cursor, out)
    symbols(cursor, out)
    cursor.sized(4, "formats of printk")
    command_names(cursor, out)
    cpus = cursor.count(4, _CPUS_MAX, "the number of CPUs")
    word = cursor.take(10, "what comes")
    if word == b"options  \0":
        out.options = dict(_options(cursor))
        word = cursor.take(10, "what comes")
    if word != b"flyrecord\0":
        raise TraceError("no pages in the recording", where=name, found=repr(word)[1:], expected="flyrecord",
                         hint="trace-cmd record writes them; trace-cmd record -l does not")  # fmt: skip
    out.pages = [[piece] for piece in _pages(cursor, cpus, out.page_bytes)]
    return out


def header_info(cursor: Cursor, out: TraceData) -> None:
    """How a page and an event begin."""
    cursor.expect(b"header_page\0", "the header of a page")
    out.header_page = cursor.sized(8, "the header of a page")
    cursor.expect(b"header_event\0", "the header of an event")
    out.header_event = cursor.sized(8, "the header of an event")


def ftrace_formats(cursor: Cursor, out: TraceData) -> None:
    """The formats of ftrace's own events."""
    for _ in range(cursor.count(4, _EVENTS_MAX, "formats of ftrace")):
        out.formats.append(("ftrace", cursor.sized(8, "a format of ftrace").decode(errors="replace")))


def event_formats(cursor: Cursor, out: TraceData) -> None:
    """The formats of the kernel's events, by system."""
    for _ in range(cursor.count(4, _EVENTS_MAX, "systems of events")):
        system = cursor.text(256, "a system's name")
        for _ in range(cursor.count(4, _EVENTS_MAX, "events of a system")):
            out.formats.append((system, cursor.sized(8, f"a format of {system}").decode(errors="replace")))


def symbols(cursor: Cursor, out: TraceData) -> None:
    """Lines of /proc/kallsyms."""
    out.symbols = cursor.sized(4, "symbols").decode(errors="replace")


def command_names(cursor: Cursor, out: TraceData) -> None:
    """PIDs and the names of their tasks."""
    out.comms = cursor.sized(8, "names of tasks").decode(errors="replace")


def _options(cursor: Cursor) -> Iterator[tuple[int, bytes]]:
    while number := cursor.number(2, "an option"):
        yield number, cursor.sized(4, f"option {number}")


def _pages(cursor: Cursor, cpus: int, page_bytes: int) -> Iterator[bytes]:
    for cpu in range(cpus):
        offset, size = cursor.number(8, f"pages of CPU {cpu}"), cursor.number(8, f"pages of CPU {cpu}")
        if offset + size > len(cursor.data) or size % page_bytes:
            raise TraceError("the recording is cut short", where=f"{cursor.name}: pages of CPU {cpu}",
                             found=f"{max(len(cursor.data) - offset, 0):,} bytes from byte {offset:,}",
                             expected=f"{size:,}, whole pages")  # fmt: skip
        yield cursor.data[offset : offset + size]


def kept_symbols(lines: Iterable[str], names: Sequence[str]) -> str:
    """The lines of /proc/kallsyms for these functions."""
    wanted = set(names)
    return "".join(line for line in lines if line.split()[2:3] and line.split()[2] in wanted)
