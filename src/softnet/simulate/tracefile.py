# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace as a file: lines of JSON, compressed with gzip when the name ends in ``.gz``. Schema "softnet-trace/2".

The first line is an object: schema, cpus, tasks ([pid, comm]) and events ([name, arguments]). Each line after it is one record,
seven integers: time_ns, cpu, context (0 task, 1 softirq, 2 hardirq), event (its index in the header's table, so a file outlives
a change of softnet's own numbering) and three arguments. The last line is an object again: records (how many there were),
dropped, and partial (the run was interrupted). A file without it was cut off. Schema "softnet-trace/1", which the lab writes,
has records and dropped in the first line and no last one, and ``clock``: with "counter" the first integer is no time.

Writer and reader stream: neither keeps a trace in memory.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, overload

from softnet.errors import SoftnetError, printable
from softnet.files import atomic, from_json
from softnet.simulate.result import Trace
from softnet.trace import EVENT_ID, EVENTS, Record

SCHEMA = "softnet-trace/2"
SCHEMA_COUNTED = "softnet-trace/1"
_FIELDS = 7
_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = 10_000
LINE_MAX = 1 << 20
"""Characters of a line: memory follows the longest."""
CPUS_MAX = 65_536
_WORD_MAX = (1 << 63) - 1


class TraceWriter:
    """Writes a trace while it happens; the file takes its name when ``close`` is called, and not before.

    Raises SoftnetError when it cannot be written.
    """

    def __init__(self, path: str | Path, cpus: int, tasks: Sequence[tuple[int, str]]) -> None:
        self.path = Path(path)
        self.records = 0
        self._open = contextlib.ExitStack()
        self._out: IO[bytes] = self._open.enter_context(atomic(path))
        self._line(
            {"schema": SCHEMA, "cpus": cpus, "tasks": [list(t) for t in tasks], "events": [[e.name, list(e.args)] for e in EVENTS]}
        )

    def write(self, records: Iterable[Sequence[int]]) -> None:
        """Append records: rows of seven integers."""
        rows = [f"[{t},{cpu},{ctx},{ev},{a},{b},{c}]\n" for t, cpu, ctx, ev, a, b, c in records]
        self.records += len(rows)
        self._out.write("".join(rows).encode())

    def close(self, *, dropped: int = 0, partial: bool = False) -> None:
        """Write the last line and give the file its name."""
        self._line({"records": self.records, "dropped": dropped, "partial": partial})
        self._open.close()

    def abandon(self) -> None:
        """Leave no file."""
        with contextlib.suppress(_Abandoned):
            self._open.__exit__(_Abandoned, _Abandoned(), None)

    def _line(self, document: dict[str, Any]) -> None:
        self._out.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


class _Abandoned(Exception):
    """Ends the block of an atomic file without a file."""


@dataclass(frozen=True)
class StoredRecords(Sequence[Record]):
    """The records of a trace file: read anew by each loop over them, never all in memory. An index reads up to it."""

    path: Path
    total: int

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[Record]:
        with contextlib.closing(_lines(self.path)) as lines:
            header, event_ids = _header(self.path, next(lines, ""))
            yield from islice(_records(self.path, lines, header, event_ids), self.total)

    @overload
    def __getitem__(self, at: int) -> Record: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Record]: ...

    def __getitem__(self, at: int | slice) -> Record | Sequence[Record]:
        wanted = range(self.total)[at]
        if isinstance(wanted, int):
            return next(islice(iter(self), wanted, None))
        if wanted.step < 1:
            return tuple(self)[at]
        return tuple(islice(iter(self), wanted.start, wanted.stop, wanted.step))


def write_trace(path: str | Path, trace: Trace) -> None:
    """Write the file; the same trace gives the same bytes. Raises SoftnetError when it cannot be written."""
    writer = TraceWriter(path, trace.cpus, trace.tasks)
    try:
        records = iter(trace.records)
        while block := list(islice(records, _BLOCK)):
            writer.write(block)
    except BaseException:
        writer.abandon()
        raise
    writer.close(dropped=trace.dropped, partial=trace.partial)


def read_trace(path: str | Path) -> Trace:
    """Read a whole file into memory. Raises SoftnetError, with the line, for anything but a trace."""
    trace = open_trace(path)
    return Trace(tuple(trace.records), trace.tasks, trace.cpus, trace.dropped, trace.partial, trace.clock)


def open_trace(path: str | Path) -> Trace:
    """A trace whose records stay in the file: it is checked whole, once, and each loop over the records reads it again.

    Raises SoftnetError, with the line, for anything but a trace.
    """
    end: dict[str, Any] = {}
    with contextlib.closing(_lines(Path(path))) as lines:
        header, event_ids = _header(path, next(lines, ""))
        count = sum(1 for _ in _records(path, lines, header, event_ids, end))
    end = end or {key: header.get(key) for key in ("records", "dropped")}
    if count != end["records"]:
        told = "no last line" if end["records"] is None else f"{end['records']}, as the file says"
        raise _bad(path, count + 1, f"{count} records", told, "the file was cut off")
    tasks = tuple((pid, printable(comm)) for pid, comm in header["tasks"])
    stored = StoredRecords(Path(path).absolute(), count)
    clock = str(header.get("clock", "mono"))
    return Trace(stored, tasks, header["cpus"], end["dropped"], end.get("partial", False), clock)


def _records(
    path: str | Path,
    lines: Iterable[str],
    header: dict[str, Any],
    event_ids: list[int],
    end: dict[str, Any] | None = None,
) -> Iterator[Record]:
    """The records of a file's lines; what the last line says goes into ``end``."""
    counted = header["schema"] == SCHEMA_COUNTED
    for number, line in enumerate(lines, start=2):
        if line.startswith("{") and not counted:
            said = _end(path, number, line)
            if end is not None:
                end.update(said)
            if (after := next(iter(lines), None)) is not None:
                raise _bad(path, number + 1, after[:60].strip(), "nothing after the last line")
            return
        yield _record(path, number, line, event_ids, header["cpus"])


def _end(path: str | Path, number: int, line: str) -> dict[str, Any]:
    try:
        said: dict[str, Any] = from_json(line)
    except ValueError:
        said = {}
    if not all(type(said.get(key)) is int for key in ("records", "dropped")) or type(said.get("partial")) is not bool:
        raise _bad(path, number, line[:60].strip(), 'the last line, {"records":…,"dropped":…,"partial":…}')
    return said


def _lines(path: Path) -> Generator[str, None, None]:
    """The lines of the file; closed when the last is read, or when the reader gives up."""
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
        with gzip.open(path, "rt", encoding="utf-8") if packed else open(path, encoding="utf-8") as lines:
            number = 0
            while line := lines.readline(LINE_MAX + 1):
                number += 1
                if len(line) > LINE_MAX:
                    raise _bad(path, number, f"a line of more than {LINE_MAX:,} characters", "a record or a header")
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SoftnetError(
            "the trace file is damaged", where=str(path), found=str(error), expected="a complete gzip file", hint="record it again"
        ) from None
    except UnicodeDecodeError:
        raise _bad(path, 1, "bytes that are no text", f"a file of schema {SCHEMA}") from None
    except OSError as error:
        raise SoftnetError(
            "the trace file cannot be read", where=str(path), found=error.strerror or str(error), expected="a trace file"
        ) from None


def _header(path: str | Path, line: str) -> tuple[dict[str, Any], list[int]]:
    """The header, and softnet's number of each of the file's events."""
    try:
        header = from_json(line)
        schema = header["schema"]
    except (ValueError, KeyError, TypeError):
        raise _bad(path, 1, line[:60].strip() or "nothing", f'an object with "schema": "{SCHEMA}"') from None
    if schema not in (SCHEMA, SCHEMA_COUNTED):
        raise _bad(
            path,
            1,
            f"schema {schema}",
            f"{SCHEMA} or {SCHEMA_COUNTED}",
            "it was written by another version of softnet",
        )
    for key in ("cpus", "records", "dropped") if schema == SCHEMA_COUNTED else ("cpus",):
        if type(header.get(key)) is not int or not 0 <= header[key] <= (CPUS_MAX if key == "cpus" else _WORD_MAX):
            raise _bad(path, 1, f"{key}: {header.get(key)!r}", f"{key}: a whole number")
    for key in ("tasks", "events"):
        rows = header.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 2 for row in rows):
            raise _bad(path, 1, f"{key}: {str(rows)[:60]}", f"{key}: a list of pairs")
    for pid, comm in header["tasks"]:
        if type(pid) is not int or not isinstance(comm, str):
            raise _bad(path, 1, f"task [{pid!r}, {comm!r}]", "a number and a name")
    ids = []
    for name, _ in header["events"]:
        if not isinstance(name, str) or name not in EVENT_ID:
            raise _bad(
                path,
                1,
                f"event {name!r}",
                "an event of softnet.trace.EVENTS",
                "read it with the softnet that wrote it",
            )
        ids.append(EVENT_ID[name])
    return header, ids


def _record(path: str | Path, number: int, line: str, event_ids: list[int], cpus: int) -> Record:
    expected = "seven whole numbers [time_ns, cpu, context, event, a, b, c]"
    try:
        row = from_json(line)
    except ValueError:
        row = None
    if (
        not isinstance(row, list)
        or len(row) != _FIELDS
        or not all(type(value) is int and -_WORD_MAX <= value + 1 <= _WORD_MAX + 1 for value in row)
    ):
        raise _bad(path, number, line[:60].strip(), expected)
    time_ns, cpu, context, event, a, b, c = row
    if not (0 <= cpu < cpus and 0 <= context <= 2 and 0 <= event < len(event_ids)):
        raise _bad(
            path,
            number,
            line[:60].strip(),
            f"{expected}, cpu below {cpus}, context 0 to 2, event below {len(event_ids)}",
        )
    return Record(time_ns, cpu, context, event_ids[event], a, b, c)


def _bad(path: str | Path, line: int, found: str, expected: str, hint: str = "") -> SoftnetError:
    return SoftnetError("not a softnet trace", where=f"{path}:{line}", found=found, expected=expected, hint=hint)
