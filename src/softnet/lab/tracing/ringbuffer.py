# SPDX-License-Identifier: GPL-2.0-or-later
"""Decode the pages of ftrace's ring buffer and the events in them, into integers.

A page has a time stamp (8 bytes), the number of bytes committed (8 bytes, with flags for lost events in bits
30 and 31) and events. An event begins with 32 bits: 5 of type or length, 27 of time since the event before.
Source: include/linux/ring_buffer.h and kernel/trace/ring_buffer.c; the fields of an event are described by
its own ``format`` file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from softnet.files import readable
from softnet.lab.errors import LabError

_PAGE_HEAD = 16
_COMMIT_MASK = (1 << 30) - 1
_LOST = 1 << 31
_TYPE_PADDING, _TYPE_TIME_EXTEND, _TYPE_TIME_STAMP = 29, 30, 31
_DELTA_BITS = 27

_FIELD = re.compile(
    r"field:(?P<type>[^;\n]{1,200}?)\s*(?P<name>\w{1,100})(?:\[(?P<length>[^\]\n]{0,100})\])?;\s*offset:(?P<offset>\d{1,5});"
    r"\s*size:(?P<size>\d{1,5});\s*signed:(?P<signed>[01]);",
    re.ASCII,
)
_CODES = {1: "b", 2: "h", 4: "i", 8: "q"}


def events_of_pages(data: bytes, page_bytes: int) -> Iterator[tuple[int, bytes]]:
    """(time stamp, event bytes) of every event in whole pages, oldest first. Raises ``LabError`` if damaged."""
    for start in range(0, len(data), page_bytes):
        page = data[start : start + page_bytes]
        if len(page) < _PAGE_HEAD:
            raise LabError("a trace page is cut short", found=f"{len(page)} bytes", expected=f"{page_bytes}")
        time, commit = struct.unpack_from("<QQ", page)
        if commit & _LOST:
            raise LabError(
                "the ring buffer lost events",
                found=f"page {start // page_bytes}",
                hint="give the trace a larger buffer: --buffer-kb",
            )
        end = _PAGE_HEAD + (commit & _COMMIT_MASK)
        if end > page_bytes:
            raise LabError("a trace page claims more than it holds", found=f"{end} bytes")
        with readable(LabError, "a damaged trace page", where=f"page {start // page_bytes}", expected="events up to its end"):
            yield from _events_of_page(page[:end], time)


def _events_of_page(page: bytes, time: int) -> Iterator[tuple[int, bytes]]:
    position, end = _PAGE_HEAD, len(page)
    while position + 4 <= end:
        (head,) = struct.unpack_from("<I", page, position)
        kind, delta = head & 31, head >> 5
        if kind == _TYPE_PADDING and delta == 0:
            return
        if kind in (_TYPE_TIME_EXTEND, _TYPE_TIME_STAMP):
            (high,) = struct.unpack_from("<I", page, position + 4)
            stamp = high << _DELTA_BITS | delta
            time = time + stamp if kind == _TYPE_TIME_EXTEND else stamp
            position += 8
            continue
        time += delta
        if kind == _TYPE_PADDING or kind == 0:
            (length,) = struct.unpack_from("<I", page, position + 4)
            if length < 4:
                raise LabError("an event of the ring buffer is shorter than its own length field")
            if kind == 0:
                yield time, _piece(page, position + 8, length - 4)
            position += 4 + length
        else:
            yield time, _piece(page, position + 4, 4 * kind)
            position += 4 + 4 * kind


def _piece(page: bytes, start: int, length: int) -> bytes:
    if start + length > len(page):
        raise ValueError(f"an event of {length} bytes at byte {start}, where the page ends at {len(page)}")
    return page[start : start + length]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event's record; ``text`` is "" for a number, "array" or "data_loc" for text."""

    name: str
    offset: int
    size: int
    signed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Format:
    """An event's ``format`` file."""

    system: str
    name: str
    number: int
    fields: tuple[Field, ...]

    @property
    def size(self) -> int:
        """How many bytes an event has at the least: up to the last field that is a number or points to a text."""
        return max((field.offset + field.size for field in self.fields if field.text != "array"), default=0)

    def decode(self, payload: bytes) -> dict[str, int | str]:
        """The fields' values: integers, and text for character arrays."""
        values: dict[str, int | str] = {}
        if len(payload) < self.size:
            raise LabError("an event is shorter than its format says", where=f"{self.system}/{self.name}",
                           found=f"{len(payload)} bytes", expected=f"{self.size} or more")  # fmt: skip
        for field in self.fields:
            raw = payload[field.offset : field.offset + field.size]
            if field.text == "array":
                values[field.name] = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
            elif field.text == "data_loc":
                where = int.from_bytes(raw[:4], "little")
                start = where & 0xFFFF
                body = payload[start : start + (where >> 16)] if where >> 16 else payload[start:]
                values[field.name] = body.split(b"\0", 1)[0].decode("utf-8", "replace")
            else:
                values[field.name] = int.from_bytes(raw, "little", signed=field.signed)
        return values


def parse_format(system: str, text: str) -> Format:
    """Read a ``format`` file. Raises ``LabError`` when it is none."""
    name = re.search(r"^name: (\w+)$", text, re.MULTILINE | re.ASCII)
    number = re.search(r"^ID: (\d{1,5})$", text, re.MULTILINE | re.ASCII)
    if name is None or number is None:
        raise LabError("not the format of a trace event", where=system, found=text[:80], expected="name: WORD and ID: NUMBER")
    fields = []
    for match in _FIELD.finditer(text):
        size, kind = int(match["size"]), match["type"]
        if "__data_loc" in kind:
            text_kind = "data_loc"
        elif match["length"] is not None and "char" in kind:
            text_kind = "array" if size else "rest"
        else:
            text_kind = ""
        if text_kind == "rest":
            # ftrace/print ends in char buf[]: text up to the end of the event.
            fields.append(Field(match["name"], int(match["offset"]), 1 << 12, False, "array"))
        elif text_kind or size in _CODES:
            fields.append(Field(match["name"], int(match["offset"]), size, match["signed"] == "1", text_kind))
    return Format(system, name.group(1), int(number.group(1)), tuple(fields))
