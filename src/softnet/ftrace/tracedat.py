# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of trace-cmd: what KernelShark and ``trace-cmd report`` open. Version 6 is written, 6 and 7 are read.

The layout is that of trace-cmd's own page trace-cmd.dat.v6(5); softnet.ftrace.tracedat7 has that of version 7. An option whose
number a reader does not know is skipped, so a recording of softnet carries what it wants to know of the machine in one of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from softnet.errors import TraceError
from softnet.files import read_bounded
from softnet.ftrace import parts
from softnet.ftrace.parts import Cursor
from softnet.ftrace.parts import TraceData as TraceData
from softnet.ftrace.tracedat7 import parse_sections

MAGIC: Final = b"\x17\x08\x44tracing"
VERSION: Final = b"6\0"
SECTIONED: Final = b"7\0"
OPTION_SOFTNET: Final = 0x534E
"""Ours: JSON about the machine and the recording."""
FILE_BYTES_MAX: Final = 2 << 30
_CPUS_MAX: Final = 1 << 13


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
    out = TraceData(cursor.count(4, parts.PAGE_BYTES_MAX, "the size of a page"))
    if out.page_bytes < 64:
        raise TraceError("the recording has no pages", where=name, found=f"{out.page_bytes} bytes each", expected="64 or more")
    if version == SECTIONED:
        parse_sections(cursor, out)
        return out
    parts.header_info(cursor, out)
    parts.ftrace_formats(cursor, out)
    parts.event_formats(cursor, out)
    parts.symbols(cursor, out)
    cursor.sized(4, "formats of printk")
    parts.command_names(cursor, out)
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
