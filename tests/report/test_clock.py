# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace of a real kernel that was recorded by order has places and no times: nothing of it may be shown as nanoseconds."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from softnet.errors import SoftnetError
from softnet.lab.tracing import records
from softnet.lab.tracing.export import write
from softnet.report import window
from softnet.report.html import page
from softnet.report.perfetto import NO_TIMES, write_perfetto
from softnet.report.picture import Scene, draw
from softnet.report.tracefile import read_trace
from softnet.simulate.api import Compared
from softnet.simulate.result import Trace

FIXTURE = Path(__file__).parents[1] / "lab" / "fixtures" / "load-6.12.jsonl.gz"


@pytest.fixture(scope="module")
def ordered(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    path = tmp_path_factory.mktemp("clock") / "load.trace.gz"
    write(records.read(FIXTURE), path)
    return read_trace(path)


def test_perfetto_counts_records(ordered: Trace, tmp_path: Path) -> None:
    path = tmp_path / "trace.pftrace.gz"
    write_perfetto(path, ordered)
    whole = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2").Trace()
    whole.ParseFromString(gzip.decompress(path.read_bytes()))
    groups = [p.track_descriptor.name for p in whole.packet if p.track_descriptor.name.startswith("softnet CPU")]
    assert groups == [f"softnet CPU {cpu} ({NO_TIMES})" for cpu in range(ordered.cpus)]
    places = {p.timestamp for p in whole.packet if p.HasField("track_event")}
    places |= {event.timestamp for p in whole.packet for event in p.ftrace_events.event}
    assert places <= {record.time_ns * 1000 for record in ordered.records}


def test_a_trace_with_times_has_no_such_label(kicked: Compared, tmp_path: Path) -> None:
    path = tmp_path / "trace.pftrace"
    write_perfetto(path, next(iter(kicked.traces.values())))
    assert NO_TIMES.encode() not in path.read_bytes()


def test_the_picture_counts_records(ordered: Trace) -> None:
    middle = ordered.records[len(ordered.records) // 2].time_ns
    text = draw("order", [Scene("6.12", "a real kernel", ordered, middle)], 40, 40)
    assert "+20 records" in text
    assert " ns" not in text
    assert "µs" not in text


def test_the_page_says_that_there_are_no_times(ordered: Trace, kicked: Compared) -> None:
    arm = kicked.comparison.arms[0]
    text = page(kicked.comparison, {arm: ordered})
    assert "on which records have places and no times" in text
    assert window.payload({arm: ordered}, window.choose([ordered], 0))["clock"] == "counter"


def test_times_and_places_do_not_share_an_axis(ordered: Trace, kicked: Compared, tmp_path: Path) -> None:
    both = {"model": next(iter(kicked.traces.values())), "kernel": ordered}
    with pytest.raises(SoftnetError, match="cannot share an axis"):
        write_perfetto(tmp_path / "both.pftrace", both)
    assert not list(tmp_path.iterdir())
    with pytest.raises(SoftnetError, match="cannot share an axis"):
        draw("both", [Scene(name, "", trace, 0) for name, trace in both.items()], 10, 10)
    write_perfetto(tmp_path / "same.pftrace", {"a": ordered, "b": replace(ordered)})
