# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace file gives back what was written, in the same bytes every time, and says what is wrong with a broken one."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.samples import kick_trace

from softnet.errors import SoftnetError
from softnet.report.tracefile import StoredRecords, open_trace, read_trace, write_trace
from softnet.simulate.result import Trace
from softnet.trace import EVENTS, Record

names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=15)
words = st.integers(-(2**63), 2**63 - 1)
traces = st.integers(1, 8).flatmap(
    lambda cpus: st.builds(
        Trace,
        st.lists(
            st.builds(
                Record, st.integers(0, 2**60), st.integers(0, cpus - 1), st.integers(0, 2),
                st.integers(0, len(EVENTS) - 1), words, words, words,
            ),
            max_size=20,
        ).map(tuple),
        st.lists(st.tuples(st.integers(0, 10**6), names), max_size=5).map(tuple),
        st.just(cpus),
        st.integers(0, 10**9),
    )
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t.softnet", "t.softnet.gz"])
@given(trace=traces)
def test_what_is_read_is_what_was_written(name: str, trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / name
    write_trace(path, trace)
    assert read_trace(path) == trace


def test_the_same_trace_gives_the_same_bytes_under_any_name(tmp_path: Path) -> None:
    for name in ("one.gz", "two.gz"):
        write_trace(tmp_path / name, kick_trace())
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()
    assert (tmp_path / "one.gz").read_bytes()[4:8] == b"\0\0\0\0"  # no time stamp


def test_events_are_known_by_name(tmp_path: Path) -> None:
    path = tmp_path / "t.softnet"
    write_trace(path, kick_trace())
    header, *rows, end = path.read_text().splitlines()
    parts = json.loads(header)
    order = list(reversed(range(len(EVENTS))))
    parts["events"] = [parts["events"][i] for i in order]
    renumbered = [json.loads(row) for row in rows]
    for row in renumbered:
        row[3] = order.index(row[3])
    path.write_text("\n".join(map(json.dumps, [parts, *renumbered, json.loads(end)])) + "\n")
    assert read_trace(path) == kick_trace()


def broken(change: str, path: Path) -> None:
    write_trace(path, kick_trace())
    data = path.read_bytes()
    text = gzip.decompress(data).decode()
    header, first, *rest, end = text.splitlines(keepends=True)
    made = {
        "cut gzip": data[:-30],
        "no trace": b"hello\n",
        "empty": b"",
        "no text": b"\xff\xfe\x00\x01\n",
        "other schema": text.replace("softnet-trace/2", "softnet-trace/9").encode(),
        "a record too few": (header + first + "".join(rest[:-1]) + end).encode(),
        "no end": (header + first + "".join(rest)).encode(),
        "more after the end": (text + first).encode(),
        "half an end": (header + first + "".join(rest) + '{"records":18}\n').encode(),
        "six numbers": (header + first.replace("[100,", "[") + "".join(rest)).encode(),
        "a cpu that is not": (header + first.replace("[100,1,", "[100,7,") + "".join(rest)).encode(),
        "a fraction": (header + first.replace("[100,", "[100.5,") + "".join(rest)).encode(),
        "unknown event": text.replace('"softirq_raise"', '"softirq_rise"', 1).encode(),
        "negative cpus": text.replace('"cpus":2', '"cpus":-2').encode(),
        "tasks of three": text.replace('[1,"swapper/0"]', '[1,"swapper/0",3]').encode(),
        "a task without a number": text.replace('[1,"swapper/0"]', '["x","swapper/0"]').encode(),
    }[change]
    path.write_bytes(made)


@pytest.mark.parametrize(
    ("change", "where", "found"),
    [
        ("cut gzip", "", "ended"),
        ("no trace", ":1", "hello"),
        ("empty", ":1", "nothing"),
        ("no text", ":1", "no text"),
        ("other schema", ":1", "softnet-trace/9"),
        ("a record too few", ":18", "17 records"),
        ("no end", ":19", "18 records"),
        ("more after the end", ":21", "[100,"),
        ("half an end", ":20", '{"records":18}'),
        ("six numbers", ":2", "[1,"),
        ("a cpu that is not", ":2", "[100,7,"),
        ("a fraction", ":2", "[100.5"),
        ("unknown event", ":1", "softirq_rise"),
        ("negative cpus", ":1", "-2"),
        ("tasks of three", ":1", "swapper/0"),
        ("a task without a number", ":1", "'x'"),
    ],
)
def test_a_broken_file_is_told_with_its_line(change: str, where: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "t.gz"
    broken(change, path)
    with pytest.raises(SoftnetError) as error:
        read_trace(path)
    assert error.value.where == f"{path}{where}"
    assert found in error.value.found
    assert error.value.expected


def test_records_stay_in_the_file(tmp_path: Path) -> None:
    write_trace(tmp_path / "t.gz", kick_trace())
    trace, records = open_trace(tmp_path / "t.gz"), kick_trace().records
    assert isinstance(trace.records, StoredRecords)
    assert list(trace.records) == list(trace.records) == list(records)
    assert (trace.records[0], trace.records[-1], trace.records[7]) == (records[0], records[-1], records[7])
    assert (trace.records[2:9:3], trace.records[::-1]) == (records[2:9:3], records[::-1])
    with pytest.raises(IndexError):
        trace.records[len(records)]
    shown = trace.head(5)
    assert (shown.records, shown.dropped) == (records[:5], len(records) - 5)


def test_the_labs_files_are_read_too(tmp_path: Path) -> None:
    """Schema softnet-trace/1: the count stands in the first line."""
    path, trace = tmp_path / "t.softnet", kick_trace()
    write_trace(path, trace)
    header, *rows, _ = path.read_text().splitlines()
    counted = {**json.loads(header), "schema": "softnet-trace/1", "records": len(rows), "dropped": 3}
    path.write_text("\n".join([json.dumps(counted), *rows]) + "\n")
    assert read_trace(path) == replace(trace, dropped=3)


def test_a_missing_file_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(SoftnetError, match="cannot be read"):
        read_trace(tmp_path / "none.gz")
    with pytest.raises(SoftnetError, match="cannot be written"):
        write_trace(tmp_path / "none" / "t.gz", kick_trace())


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "t.gz"
    path.write_text("older")
    bad = Trace((Record(1, 0, 0, 0, 0, 0, 0), (1, 2)), (), 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unpack"):
        write_trace(path, bad)
    assert path.read_text() == "older"
    assert [p.name for p in tmp_path.iterdir()] == ["t.gz"]
