# SPDX-License-Identifier: GPL-2.0-or-later
"""The decoder of ftrace pages: hand-made pages by the letter of the format, and real ones."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from softnet.ftrace.ringbuffer import events_of_pages, parse_format
from softnet.lab.errors import LabError
from softnet.lab.studies.experiments import first_kick_at
from softnet.lab.tracing.facts import Facts
from softnet.lab.tracing.records import LabRecord, LabTrace, decode

FIXTURES = Path(__file__).parent / "fixtures"
PAGE = 256


def _page(time: int, body: bytes, flags: int = 0) -> bytes:
    return (struct.pack("<QQ", time, len(body) | flags) + body).ljust(PAGE, b"\0")


def _event(delta: int, payload: bytes) -> bytes:
    return struct.pack("<I", delta << 5 | len(payload) // 4) + payload


def _long_event(delta: int, payload: bytes) -> bytes:
    return struct.pack("<II", delta << 5, len(payload) + 4) + payload


def test_times_add_up_over_extends_stamps_and_discarded_events() -> None:
    body = (
        _event(5, b"aaaa")
        + struct.pack("<II", 7 << 5 | 30, 2)  # time extend: 2 << 27 | 7
        + _event(1, b"bbbbbbbb")
        + struct.pack("<II", 3 << 5 | 29, 8)
        + b"junk"  # a discarded event of 3 ticks, 8 bytes after its head
        + _long_event(2, b"c" * 120)
        + struct.pack("<II", 9 << 5 | 31, 1)  # absolute stamp: 1 << 27 | 9
        + _event(0, b"dddd")
        + struct.pack("<I", 29)  # the rest of the page is empty
        + b"\xff" * 12
    )
    assert list(events_of_pages(_page(100, body), PAGE)) == [
        (105, b"aaaa"),
        (105 + (2 << 27 | 7) + 1, b"bbbbbbbb"),
        (105 + (2 << 27 | 7) + 1 + 3 + 2, b"c" * 120),
        ((1 << 27 | 9), b"dddd"),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_page(0, b"", flags=1 << 31), "lost events"),
        (_page(0, b"")[:10], "cut short"),
        (struct.pack("<QQ", 0, PAGE) + bytes(PAGE - 16), "more than it holds"),
        (_page(0, struct.pack("<II", 0, 3) + bytes(8)), "shorter than its own length"),
    ],
)
def test_damaged_pages_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(LabError, match=message):
        list(events_of_pages(data, PAGE))


def test_a_format_gives_numbers_text_and_located_text() -> None:
    text = """name: thing
ID: 77
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:char comm[8];\toffset:8;\tsize:8;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:16;\tsize:4;\tsigned:0;
\tfield:u64 address;\toffset:20;\tsize:8;\tsigned:0;
"""
    kind = parse_format("test", text)
    payload = struct.pack("<HHi8sIQ", 77, 0, -3, b"cat\0\0\0\0\0", 4 << 16 | 28, 1 << 63) + b"abc\0"
    values = kind.decode(payload)
    assert (kind.name, kind.number) == ("thing", 77)
    assert values == {"common_type": 77, "common_pid": -3, "comm": "cat", "name": "abc", "address": 1 << 63}


def test_something_else_is_no_format() -> None:
    with pytest.raises(LabError, match="not the format"):
        parse_format("test", "hello")


def _raw() -> tuple[dict[str, Any], list[LabRecord]]:
    document = json.loads(gzip.decompress((FIXTURES / "raw-6.12.json.gz").read_bytes()))
    blobs = {name: base64.b64decode(text) for name, text in document["blobs"].items()}
    told = document["facts"]
    facts = Facts(told["release"], told["offsets"], told["symbols"], tuple(told["tracepoints"]))
    return document, decode(blobs, document["page_bytes"], facts)


def test_the_pages_of_a_real_kernel_are_one_total_order_with_the_kick_at_the_33rd() -> None:
    _, records = _raw()
    times = [record.when for record in records]
    assert times == sorted(set(times))
    trace = LabTrace({"clock": "counter"}, records)
    attempts = list(trace.of("skb_attempt_defer_free"))
    assert [record.c for record in attempts[:33]] == list(range(33))
    assert {record.cpu for record in attempts} == {1}
    assert first_kick_at(trace) == 33
    # Every skb that was deferred and flushed is freed on the CPU that it was allocated on, once.
    freed = [record.a for record in trace.of("consume_skb")]
    assert len(freed) == len(set(freed)) >= 33
    assert {record.cpu for record in trace.of("consume_skb")} == {0}


def test_a_lost_format_is_not_guessed() -> None:
    document, _ = _raw()
    blobs = {name: base64.b64decode(text) for name, text in document["blobs"].items() if name != "format/skb/consume_skb"}
    facts = Facts("", document["facts"]["offsets"], document["facts"]["symbols"], ())
    with pytest.raises(LabError, match="format the guest did not send"):
        decode(blobs, document["page_bytes"], facts)
