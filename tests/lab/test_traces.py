# SPDX-License-Identifier: GPL-2.0-or-later
"""What real kernels did in first-kick, from their committed traces; counting and softnet_stat."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from softnet.lab.errors import LabError
from softnet.lab.studies import experiments
from softnet.lab.tracing import records
from softnet.lab.tracing.counts import COUNTERS, count, parse_softnet_stat, softnet_stat_delta
from softnet.lab.tracing.records import MARK, LabRecord, LabTrace
from softnet.report import lab_defects

IPI_ARMS = ("6.1", "6.12", "6.18", "7.3")
THREAD_ARMS = ("6.12-threads", "6.12-rt", "6.18-threads", "6.18-rt", "7.3-threads", "7.3-rt")


def test_the_first_kick_is_at_the_33rd_on_every_arm(first_kick_trace: LabTrace) -> None:
    header = first_kick_trace.header
    assert experiments.first_kick_at(first_kick_trace) == 33
    assert experiments.expected_first_kick(header["skb_defer_max"], header["connections"]) == 33


def test_the_kick_goes_the_way_of_its_arm(first_kick_trace: LabTrace) -> None:
    arm = first_kick_trace.header["arm"]
    counts = {name: row["total"] for name, row in count(first_kick_trace.records).items()}
    assert (counts["ipis_defer_free"] > 0) == (arm in IPI_ARMS)
    assert (counts["net_rx_raises"] > 0) == (arm in IPI_ARMS)
    assert (counts["backlog_napi_wakeups"] > 0) == (arm in THREAD_ARMS)
    assert (counts["backlog_polls"] > 0) == (arm in THREAD_ARMS)
    # Debian's 6.1-rt carries the -rt series' own way: a work item.
    assert (counts["works_defer_free"] > 0) == (arm == "6.1-rt")
    assert first_kick_trace.header["threads_backlog"] == (arm in THREAD_ARMS)


def test_each_skb_is_attempted_once_and_freed_where_it_was_allocated(first_kick_trace: LabTrace) -> None:
    attempts = [record.a for record in first_kick_trace.of("skb_attempt_defer_free")]
    assert len(attempts) == len(set(attempts)) == first_kick_trace.header["connections"]
    freed = [record for record in first_kick_trace.of("consume_skb") if record.a in set(attempts)]
    assert len(freed) == len({record.a for record in freed})
    assert {record.cpu for record in freed} == {0}


def test_the_order_is_total(first_kick_trace: LabTrace) -> None:
    assert first_kick_trace.clock == "counter"
    order = [record.when for record in first_kick_trace.records]
    assert order == sorted(set(order))


def test_a_header_says_where_a_trace_comes_from(first_kick_trace: LabTrace) -> None:
    provenance = first_kick_trace.header["provenance"]
    assert set(provenance) >= {"package", "package_version", "package_sha256", "vmlinuz_sha256"}
    assert first_kick_trace.header["ran"]["accel"] in ("tcg", "kvm")


def test_a_trace_is_the_same_after_writing_and_reading(first_kick_trace: LabTrace, tmp_path: Path) -> None:
    for name in ("t.jsonl", "t.jsonl.gz"):
        records.write(first_kick_trace, tmp_path / name)
        assert records.read(tmp_path / name) == first_kick_trace
    first = (tmp_path / "t.jsonl.gz").read_bytes()
    records.write(first_kick_trace, tmp_path / "t.jsonl.gz")
    assert (tmp_path / "t.jsonl.gz").read_bytes() == first


@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        (b"", ":1", "not a trace of the lab"),
        (b'{"format": "other"}\n', ":1", "not a trace of the lab"),
        (b'{"format": "softnet-lab-trace", "version": 1}\n[1, 2]\n', ":2", "not a record"),
        (b'{"format": "softnet-lab-trace", "version": 1}\nnull\n', ":2", "not a record"),
        (b'{"format": "softnet-lab-trace", "version": 1}\n[1,0,0,"e",0,0,true,0]\n', ":2", "not a record"),
        (gzip.compress(b"x" * 100, mtime=0)[:20], "", "cannot be read"),
    ],
)
def test_a_broken_trace_is_refused_with_its_place(data: bytes, place: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_bytes(data)
    with pytest.raises(LabError, match=message) as caught:
        records.read(path)
    assert caught.value.where == f"{path}{place}"


def test_the_story_counts_equal_neighbours_together() -> None:
    def attempt(when: int) -> LabRecord:
        return LabRecord(when, 1, 0, "skb_attempt_defer_free", when, 0, when)

    trace = LabTrace(
        {"clock": "counter", "lowered_to": 2},
        [
            attempt(1),
            attempt(2),
            LabRecord(3, 1, 0, "kick_defer_list_purge", 0),
            LabRecord(4, 0, 2, "softirq_raise", 3),
            attempt(5),
        ],
    )
    assert lab_defects.story_text(experiments.story(trace)) == "2 attempts, kick, 1 attempt"
    assert not experiments.c4_seen(trace)
    quiet = LabTrace(trace.header, [attempt(1), attempt(2)])
    assert experiments.c4_seen(quiet)
    assert experiments.held_at_end(quiet) == 2
    # Since 6.18 the counter goes on where the list takes nothing more: at a limit of 2 it holds one skb.
    counted = [attempt(0), attempt(1), LabRecord(2, 1, 0, MARK, text="skb_defer_max 2"), attempt(2), attempt(3)]
    assert experiments.held_at_end(LabTrace({**trace.header, "release": "6.18.15", "skb_defer_max": 64}, counted)) == 2


@pytest.mark.parametrize(("limit", "connections", "at"), [(64, 110, 33), (16, 110, 9), (1, 5, 1), (0, 5, None), (64, 32, None)])
def test_where_the_first_kick_must_be(limit: int, connections: int, at: int | None) -> None:
    assert experiments.expected_first_kick(limit, connections) == at


def test_counts_are_complete_and_by_cpu() -> None:
    rows = [
        LabRecord(1, 0, 1, "softirq_raise", 3),
        LabRecord(2, 2, 1, "softirq_raise", 3),
        LabRecord(3, 0, 0, "softirq_raise", 1),
        LabRecord(4, 0, 0, "sched_waking", 9, text="ksoftirqd/0"),
        LabRecord(5, 0, 0, "sched_waking", 9, text="backlog_napi/2"),
        LabRecord(6, 0, 0, "csd_queue_cpu", 1, 1),
        LabRecord(7, 0, 0, "csd_queue_cpu", 1, 2),
        LabRecord(8, 0, 0, "enqueue_to_backlog_ret", 0),
        LabRecord(9, 0, 0, "enqueue_to_backlog_ret", 1),
    ]
    counts = count(rows)
    assert tuple(counts) == COUNTERS
    assert counts["net_rx_raises"] == {"total": 2, "by_cpu": {"0": 1, "2": 1}}
    ones = ("ksoftirqd_wakeups", "backlog_napi_wakeups", "ipis_defer_free", "ipis_rps", "backlog_drops")
    assert [counts[name]["total"] for name in ones] == [1] * 5


STAT = """\
00000005 00000001 00000002 0 0 0 0 0 0 00000007 00000000 00000003 00000000
fffffffe 00000000 00000000 0 0 0 0 0 0 00000000 00000000 00000000 00000002 00000000 00000000
"""


def test_softnet_stat_is_read_as_the_kernel_prints_it() -> None:
    table = parse_softnet_stat(STAT)
    assert table[0] == {
        "processed": 5, "dropped": 1, "time_squeeze": 2, "received_rps": 7, "flow_limit_count": 0, "backlog_len": 3,
    }  # fmt: skip
    assert sorted(table) == [0, 2]
    after = STAT.replace("fffffffe", "00000003")
    assert softnet_stat_delta(STAT, after)[2]["processed"] == 5
    with pytest.raises(LabError, match="softnet_stat"):
        parse_softnet_stat("00000001 00000002")


def test_a_lab_trace_in_the_one_format_is_read_by_the_reports(first_kick_trace: LabTrace, tmp_path: Path) -> None:
    from softnet.lab.tracing import export
    from softnet.report.tracefile import read_trace
    from softnet.trace import EVENTS

    path = tmp_path / "first-kick.trace.gz"
    export.write(first_kick_trace, path)
    shared = read_trace(path)
    names = [EVENTS[row.event].name for row in shared.records]
    assert shared.cpus == 4
    assert shared.clock == "counter"
    assert names.count("skb_attempt_defer_free") == 110
    assert names.count("net_rx_raise") == count(first_kick_trace.records)["net_rx_raises"]["total"]
    assert names.count("process_backlog") == count(first_kick_trace.records)["backlog_polls"]["total"]
    assert dict(shared.tasks)[int(next(iter(first_kick_trace.header["tasks"])))]
    assert all(row.b == 64 for row in shared.records if EVENTS[row.event].name == "process_backlog")
