# SPDX-License-Identifier: GPL-2.0-or-later
"""The Perfetto file is trace event JSON that says what the timeline says."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given
from tests.report.samples import kick_trace
from tests.report.test_timeline import any_trace

from softnet.report.perfetto import trace_events, write_perfetto
from softnet.report.timeline import HARDIRQ, SOFTIRQ, TASK, build
from softnet.simulate.result import Trace


def events(trace: Trace) -> list[dict[str, Any]]:
    return [json.loads(text, parse_float=Decimal) for text in trace_events(trace)]


def ns(event: dict[str, Any], key: str = "ts") -> int:
    value = Decimal(event[key]) * 1000
    assert value == int(value)
    return int(value)


def test_processes_are_cpus_and_threads_are_contexts() -> None:
    names = {
        (e["pid"], e["tid"], e["name"]): e["args"]["name"] for e in events(kick_trace()) if e["ph"] == "M" and "name" in e["args"]
    }
    assert names[1, 0, "process_name"] == "CPU 0"
    assert names[2, 0, "process_name"] == "CPU 1"
    assert [names[1, tid, "thread_name"] for tid in (TASK + 1, SOFTIRQ + 1, HARDIRQ + 1)] == [
        "task",
        "softirq",
        "hardirq",
    ]


def test_slices_instants_and_counters_of_a_kick() -> None:
    made = events(kick_trace())
    slices = [(e["name"], e["pid"], e["tid"], ns(e), ns(e, "dur")) for e in made if e["ph"] == "X"]
    assert ("CALL_FUNCTION_SINGLE", 1, HARDIRQ + 1, 900, 200) in slices
    assert ("NET_RX", 1, SOFTIRQ + 1, 1300, 200) in slices
    assert ("ksoftirqd/0", 1, TASK + 1, 1200, 300) in slices
    assert not [name for name, *_ in slices if name.startswith("swapper")]
    [waking] = [e for e in made if e["name"] == "sched_waking"]
    assert waking["args"]["pid"] == "3 (ksoftirqd/0)"
    assert waking["args"]["target_cpu"] == 0
    [flush] = [e for e in made if e["ph"] == "C"]
    assert (flush["name"], flush["args"]) == ("defer_list of CPU 0", {"packets": 0})


@given(any_trace)
def test_every_flow_has_two_ends_in_order(trace: Trace) -> None:
    made = events(trace)
    starts = {e["id"]: e for e in made if e["ph"] == "s"}
    ends = {e["id"]: e for e in made if e["ph"] == "f"}
    assert starts.keys() == ends.keys()
    assert len(starts) == len(build(trace).arrows)
    for identity, start in starts.items():
        assert start["name"] == ends[identity]["name"]
        assert ns(start) <= ns(ends[identity])


@given(any_trace)
def test_slices_are_those_of_the_timeline_without_idle(trace: Trace) -> None:
    made = sorted((e["pid"] - 1, e["tid"] - 1, ns(e), ns(e) + ns(e, "dur")) for e in events(trace) if e["ph"] == "X")
    idle = {0, 1, 2}
    wanted = [s for s in build(trace).slices if not (s.track == TASK and s.number in idle)]
    assert made == sorted((s.cpu, s.track, s.start_ns, s.end_ns) for s in wanted)


def test_a_file_holds_all_arms_and_the_same_bytes(tmp_path: Path) -> None:
    arms = {"6.9-rt": kick_trace(), "6.10-rt": kick_trace()}
    write_perfetto(tmp_path / "a.json.gz", arms)
    write_perfetto(tmp_path / "b.json.gz", arms)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    document = json.loads(gzip.decompress((tmp_path / "a.json.gz").read_bytes()))
    names = [e["args"]["name"] for e in document["traceEvents"] if e["name"] == "process_name"]
    assert names == ["6.9-rt CPU 0", "6.9-rt CPU 1", "6.10-rt CPU 0", "6.10-rt CPU 1"]
    identities = [e["id"] for e in document["traceEvents"] if e["ph"] == "s"]
    assert len(set(identities)) == len(identities)


def test_a_nanosecond_late_in_a_long_run_is_kept() -> None:
    from tests.report.samples import TASKS, record

    trace = Trace((record(10**15 + 1, 0, "nic_rx"),), TASKS, 1)
    [event] = [e for e in events(trace) if e["ph"] == "i"]
    assert ns(event) == 10**15 + 1
