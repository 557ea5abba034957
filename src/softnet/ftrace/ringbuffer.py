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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from softnet.errors import TraceError
from softnet.files import readable

_PAGE_HEAD = 16
_COMMIT_MASK = (1 << 30) - 1
_LOST, _LOST_COUNTED = 1 << 31, 1 << 30
_TYPE_PADDING, _TYPE_TIME_EXTEND, _TYPE_TIME_STAMP = 29, 30, 31
_DELTA_BITS = 27

_FIELD = re.compile(
    r"field:(?P<type>[^;\n]{1,200}?)\s*(?P<name>\w{1,100})(?:\[(?P<length>[^\]\n]{0,100})\])?;\s*offset:(?P<offset>\d{1,5});"
    r"\s*size:(?P<size>\d{1,5});\s*signed:(?P<signed>[01]);",
    re.ASCII,
)
_CODES = {1: "b", 2: "h", 4: "i", 8: "q"}


def events_of_pages(data: bytes, page_bytes: int, lost: Callable[[int], None] | None = None) -> Iterator[tuple[int, bytes]]:
    """(time stamp, event bytes) of every event in whole pages, oldest first. Raises ``TraceError`` if damaged.

    ``lost`` is called where the kernel says that it lost events before a page, with their number, 0 where it does not say that;
    without it such a page is an error.
    """
    for start in range(0, len(data), page_bytes):
        page = data[start : start + page_bytes]
        if len(page) < _PAGE_HEAD:
            raise TraceError("a trace page is cut short", found=f"{len(page)} bytes", expected=f"{page_bytes}")
        time, commit = struct.unpack_from("<QQ", page)
        if commit & _LOST and lost is None:
            raise TraceError(
                "the ring buffer lost events",
                found=f"page {start // page_bytes}",
                hint="give the trace a larger buffer: --buffer-kb",
            )
        end = _PAGE_HEAD + (commit & _COMMIT_MASK)
        if end > page_bytes:
            raise TraceError("a trace page claims more than it holds", found=f"{end} bytes")
        if commit & _LOST and lost is not None:
            counted = commit & _LOST_COUNTED and end + 8 <= len(page)
            lost(struct.unpack_from("<Q", page, end)[0] if counted else 0)
        with readable(TraceError, "a damaged trace page", where=f"page {start // page_bytes}", expected="events up to its end"):
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
                raise TraceError("an event of the ring buffer is shorter than its own length field")
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
            raise TraceError("an event is shorter than its format says", where=f"{self.system}/{self.name}",
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

    def reader(self, names: Sequence[str]) -> Callable[[bytes], tuple[int | str, ...]]:
        """What takes these fields out of an event, in this order; quicker than ``decode``. A field that there is not is -1."""
        known = {field.name: field for field in self.fields}
        taken = sorted({known[name] for name in names if name in known}, key=lambda field: field.offset)
        code, at = "<", 0
        for field in taken:
            if field.offset < at or (not field.text and field.size not in _CODES):
                raise TraceError("fields of an event lie over each other", where=f"{self.system}/{self.name}: {field.name}")
            code += f"{field.offset - at}x"
            word = {"array": f"{field.size}s", "data_loc": "I"}.get(field.text) or _CODES[field.size]
            code += word if field.signed or field.text else word.upper()
            at = field.offset + field.size
        unpack, size = struct.Struct(code).unpack_from, struct.calcsize(code)
        place = {field.name: n for n, field in enumerate(taken)}
        order = [(place.get(name, -1), known[name].text if name in known else "") for name in names]
        where = f"{self.system}/{self.name}"

        def read(payload: bytes) -> tuple[int | str, ...]:
            if len(payload) < size:
                raise TraceError("an event is shorter than its format says", where=where,
                                 found=f"{len(payload)} bytes", expected=f"{size} or more")  # fmt: skip
            raw = unpack(payload)
            return tuple(
                -1 if n < 0 else raw[n] if not text else _text(raw[n] if text == "array" else _located(payload, raw[n]))
                for n, text in order
            )

        return read


def _located(payload: bytes, where: int) -> bytes:
    """What a data_loc word points to."""
    return payload[where & 0xFFFF : (where & 0xFFFF) + (where >> 16)]


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def symbolic(text: str) -> dict[int, str]:
    """The names that a ``format`` file gives to numbers, where it has them of one field only: the reasons of kfree_skb."""
    pairs = re.findall(r'\{ ?(0x[0-9a-f]{1,8}|\d{1,8}), ?"([^"\n]{1,80})" ?\}', text[:200_000])
    return {int(number, 16 if number.startswith("0x") else 10): name for number, name in pairs}


def parse_format(system: str, text: str) -> Format:
    """Read a ``format`` file. Raises ``TraceError`` when it is none."""
    name = re.search(r"^name: (\w+)$", text, re.MULTILINE | re.ASCII)
    number = re.search(r"^ID: (\d{1,5})$", text, re.MULTILINE | re.ASCII)
    if name is None or number is None:
        raise TraceError("not the format of a trace event", where=system, found=text[:80], expected="name: WORD and ID: NUMBER")
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
