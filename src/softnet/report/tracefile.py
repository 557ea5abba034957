# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace as a file: lines of JSON, compressed when the name ends in ``.gz``. Schema "softnet-trace/1".

The first line is an object: schema, cpus, tasks ([pid, comm]), events ([name, arguments]), records (how many follow) and
dropped. Each line after it is one record, seven integers: time_ns, cpu, context (0 task, 1 softirq, 2 hardirq), event (its
index in the header's table, so a file outlives a change of softnet's own numbering) and three arguments.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

from softnet.errors import SoftnetError
from softnet.report.files import atomic
from softnet.simulate.result import Trace
from softnet.trace import EVENT_ID, EVENTS, Record

SCHEMA = "softnet-trace/1"
_FIELDS = 7
_GZIP_MAGIC = b"\x1f\x8b"


def write_trace(path: str | Path, trace: Trace) -> None:
    """Write the file; the same trace gives the same bytes. Raises SoftnetError when it cannot be written."""
    header = {
        "schema": SCHEMA, "cpus": trace.cpus, "tasks": [list(t) for t in trace.tasks],
        "events": [[e.name, list(e.args)] for e in EVENTS], "records": len(trace.records), "dropped": trace.dropped,
    }  # fmt: skip
    with atomic(path) as out:
        out.write(json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        for start in range(0, len(trace.records), 10_000):
            block = trace.records[start : start + 10_000]
            out.write(
                "".join(
                    f"[{t},{cpu},{ctx},{ev},{a},{b},{c}]\n" for t, cpu, ctx, ev, a, b, c in block
                ).encode()
            )


def read_trace(path: str | Path) -> Trace:
    """Read a file that ``write_trace`` wrote. Raises SoftnetError, with the line, for anything else."""
    with contextlib.closing(_lines(Path(path))) as lines:
        header, event_ids = _header(path, next(lines, ""))
        records = [_record(path, n, line, event_ids, header["cpus"]) for n, line in enumerate(lines, start=2)]
    if len(records) != header["records"]:
        raise _bad(path, len(records) + 1, f"{len(records)} records", f"{header['records']}, as the first line says",
                   "the file was cut off")  # fmt: skip
    tasks = tuple((pid, comm) for pid, comm in header["tasks"])
    return Trace(tuple(records), tasks, header["cpus"], header["dropped"])


def _lines(path: Path) -> Generator[str, None, None]:
    """The lines of the file; closed when the last is read, or when the reader gives up."""
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
        with gzip.open(path, "rt", encoding="utf-8") if packed else open(path, encoding="utf-8") as lines:
            yield from lines
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SoftnetError("the trace file is damaged", where=str(path), found=str(error), expected="a complete gzip file",
                           hint="record it again") from None  # fmt: skip
    except UnicodeDecodeError:
        raise _bad(path, 1, "bytes that are no text", f"a file of schema {SCHEMA}") from None
    except OSError as error:
        raise SoftnetError("the trace file cannot be read", where=str(path), found=error.strerror or str(error),
                           expected="a trace file") from None  # fmt: skip


def _header(path: str | Path, line: str) -> tuple[dict[str, Any], list[int]]:
    """The header, and softnet's number of each of the file's events."""
    try:
        header = json.loads(line)
        schema = header["schema"]
    except (ValueError, KeyError, TypeError):
        raise _bad(path, 1, line[:60].strip() or "nothing", f'an object with "schema": "{SCHEMA}"') from None
    if schema != SCHEMA:
        raise _bad(path, 1, f"schema {schema}", SCHEMA, "it was written by another version of softnet")
    for key in ("cpus", "records", "dropped"):
        if type(header.get(key)) is not int or header[key] < 0:
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
        if name not in EVENT_ID:
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
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, list) or len(row) != _FIELDS or not all(type(value) is int for value in row):
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
    return SoftnetError(
        "not a softnet trace", where=f"{path}:{line}", found=found, expected=expected, hint=hint
    )
