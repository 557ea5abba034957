# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of trace-cmd, version 7, which trace-cmd writes since 3.1 where it is asked for compression: read.

The layout is that of trace-cmd's own page trace-cmd.dat.v7(5): sections, each packed or not, which options point to.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, NoReturn

from softnet.errors import TraceError
from softnet.files import zstd
from softnet.ftrace import parts
from softnet.ftrace.parts import Cursor, TraceData

OPTIONS: Final = 0
DONE: Final = 0
BUFFER: Final = 3
SECTIONS: Final[dict[int, Callable[[Cursor, TraceData], None]]] = {
    16: parts.header_info,
    17: parts.ftrace_formats,
    18: parts.event_formats,
    19: parts.symbols,
    21: parts.command_names,
}
"""Option, which gives where the section of the same number is -> what reads it."""
COMPRESSED: Final = 1
OPTIONS_MAX: Final = 1 << 12
CPUS_MAX: Final = 1 << 13
UNPACKED_BYTES_MAX: Final = 2 << 30
"""Of all that is packed in a file."""


class _Piece(NamedTuple):
    """Pages of a CPU, as they stand in the file."""

    cpu: int
    at: int
    size: int


class _Packed:
    """What unpacks the sections of a file."""

    def __init__(self, how: str, name: str) -> None:
        self.how = how
        self.name = name
        self.left = UNPACKED_BYTES_MAX
        if how not in ("none", "zlib", "zstd"):
            self._cannot()

    def unpack(self, data: bytes, size: int, what: str) -> bytes:
        """The ``size`` bytes that were packed. Raises TraceError."""
        self.left -= size
        if self.left < 0:
            raise TraceError("the recording is too large when it is unpacked", where=self.name,
                             expected=f"at most {UNPACKED_BYTES_MAX >> 20:,} MB")  # fmt: skip
        try:
            found = self._one(data, size)
        except TraceError:
            raise
        except Exception as error:  # the libraries raise what they like about bytes that they cannot unpack
            text = " ".join(str(error).split())
            raise TraceError("what is packed cannot be unpacked", where=f"{self.name}: {what}", found=text[:200]) from None
        if len(found) != size:
            raise TraceError("what is packed has another size", where=f"{self.name}: {what}", found=f"{len(found):,} bytes",
                             expected=f"{size:,}")  # fmt: skip
        return found

    def _one(self, data: bytes, size: int) -> bytes:
        if self.how == "zlib":
            return zlib.decompressobj().decompress(data, size)
        library: Any = zstd()
        if library is None:
            self._cannot()
        if hasattr(library, "ZstdDecompressor") and library.__name__ != "zstandard":
            return bytes(library.ZstdDecompressor().decompress(data, size))
        return bytes(library.ZstdDecompressor().decompress(data, max_output_size=size))

    def _cannot(self) -> NoReturn:
        raise TraceError(f"a recording packed by {self.how!r}, which this Python cannot read", where=self.name,
                         expected="none, zlib, or zstd with Python 3.14 or pip install 'softnet[zstd]'",
                         hint="trace-cmd convert --compression none -i FILE -o NEW")  # fmt: skip


def parse_sections(cursor: Cursor, out: TraceData) -> None:
    """Read what stands behind the size of a page. Raises TraceError with the place."""
    packed = _Packed(cursor.text(64, "the name of the compression"), cursor.name)
    cursor.text(64, "the version of the compression")
    buffers: list[tuple[int, list[_Piece]]] = []
    for number, data in _options(cursor):
        option = Cursor(data, f"{cursor.name}: option {number}")
        if number in SECTIONS:
            section = _section(cursor, option.number(8, "where its section is"), number, packed)
            SECTIONS[number](section, out)
        elif number == BUFFER:
            buffers.append(_buffer(option))
        else:
            out.options[number] = data
    # Of several instances that with the most in it: a recording in one of its own leaves the first buffer empty.
    nothing: tuple[int, list[_Piece]] = (out.page_bytes, [])
    page_bytes, pieces = max(buffers, key=lambda buffer: sum(piece.size for piece in buffer[1]), default=nothing)
    if not 64 <= page_bytes <= parts.PAGE_BYTES_MAX:
        raise TraceError("pages of a size that softnet does not read", where=cursor.name, found=f"{page_bytes:,} bytes")
    out.page_bytes = page_bytes
    cpus = max((piece.cpu for piece in pieces), default=-1) + 1
    out.pages = [[] for _ in range(cpus)]
    for piece in pieces:
        out.pages[piece.cpu].append(_pages(cursor, piece, packed, out.page_bytes))


def _options(cursor: Cursor) -> Iterator[tuple[int, bytes]]:
    """The options of all sections of options, each of which names the next."""
    at, count = cursor.number(8, "where options are"), 0
    while at:
        _seek(cursor, at, "options")
        flags, size = _head(cursor, OPTIONS, "options")
        if flags & COMPRESSED:
            raise TraceError("options that are packed", where=f"{cursor.name}: byte {at:,}", expected="options as they are")
        options = Cursor(cursor.take(size, "options"), f"{cursor.name}: options at byte {at:,}")
        at = 0
        while options.at < len(options.data):
            number = options.number(2, "an option")
            value = options.sized(4, f"option {number}")
            if (count := count + 1) > OPTIONS_MAX:
                raise TraceError("the recording has too many options", where=cursor.name, expected=f"at most {OPTIONS_MAX:,}")
            if number == DONE:
                at = int.from_bytes(value[:8], "little")
                break
            yield number, value


def _seek(cursor: Cursor, at: int, what: str) -> None:
    if at > len(cursor.data):
        raise TraceError(
            "the recording is cut short", where=f"{cursor.name}: {what} (byte {at:,})", found=f"{len(cursor.data):,} bytes"
        )
    cursor.at = at


def _head(cursor: Cursor, wanted: int, what: str) -> tuple[int, int]:
    """The head of a section: its flags and size."""
    at = cursor.at
    number, flags = cursor.number(2, what), cursor.number(2, what)
    cursor.number(4, what)
    if number != wanted:
        raise TraceError("not the section that should be here", where=f"{cursor.name}: {what} (byte {at:,})", found=str(number),
                         expected=str(wanted))  # fmt: skip
    return flags, cursor.number(8, what)


def _section(cursor: Cursor, at: int, number: int, packed: _Packed) -> Cursor:
    """What stands in a section, unpacked."""
    what = f"section {number}"
    _seek(cursor, at, what)
    flags, size = _head(cursor, number, what)
    if not flags & COMPRESSED:
        return Cursor(cursor.take(size, what), f"{cursor.name}: {what}")
    inside = Cursor(cursor.take(size, what), f"{cursor.name}: {what}")
    data, unpacked = inside.number(4, "the size"), inside.number(4, "the size unpacked")
    return Cursor(packed.unpack(inside.take(data, "what is packed"), unpacked, what), inside.name)


def _buffer(option: Cursor) -> tuple[int, list[_Piece]]:
    """The size of a page, and where the pages of each CPU are."""
    option.number(8, "where its pages are")
    option.text(4096, "the name of an instance")
    option.text(256, "the clock")
    page_bytes = option.number(4, "the size of a page")
    pieces = []
    for _ in range(option.count(4, CPUS_MAX, "the number of CPUs")):
        cpu = option.count(4, CPUS_MAX - 1, "a CPU")
        pieces.append(_Piece(cpu, option.number(8, f"pages of CPU {cpu}"), option.number(8, f"pages of CPU {cpu}")))
    return page_bytes, [piece for piece in pieces if piece.size]


def _pages(cursor: Cursor, piece: _Piece, packed: _Packed, page_bytes: int) -> bytes:
    """The pages of a CPU: as they are, or in packed chunks."""
    what = f"pages of CPU {piece.cpu}"
    _seek(cursor, piece.at, what)
    if packed.how == "none":
        data = cursor.take(piece.size, what)
    else:
        # The size is that of the chunks with their heads; their count stands before.
        chunks = []
        for _ in range(cursor.count(4, len(cursor.data), "the number of chunks")):
            size, unpacked = cursor.number(4, "the size of a chunk"), cursor.number(4, "the size of a chunk unpacked")
            chunks.append(packed.unpack(cursor.take(size, "a chunk"), unpacked, what))
        data = b"".join(chunks)
    if len(data) % page_bytes:
        raise TraceError("the recording is cut short", where=f"{cursor.name}: {what}", found=f"{len(data):,} bytes",
                         expected=f"whole pages of {page_bytes:,}")  # fmt: skip
    return data
