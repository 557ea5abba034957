# SPDX-License-Identifier: GPL-2.0-or-later
"""What files of trace-cmd have in common, whatever their version: what they hold, a walk through their bytes, and their parts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from softnet.errors import TraceError
from softnet.ftrace.ringbuffer import Format, parse_format

PAGE_BYTES_MAX: Final = 1 << 20
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
