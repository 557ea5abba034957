# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings of a real machine (tests/host/recordings.py made them): read, refused where damaged, replayed."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from softnet.errors import TraceError
from softnet.files import zstd
from softnet.ftrace import tracedat
from softnet.ftrace.ringbuffer import symbolic
from softnet.host.load import load_of
from softnet.host.observe import figures, observe, quantile
from softnet.host.recording import FIELDS, Event, Recording, read_recording

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "examples" / "host" / "recorded.dat"
TEXT = Path(__file__).parent / "fixtures" / "recorded-trace-cmd.txt.gz"
SEVEN = TEXT.with_name("recorded-7-none.dat.gz")
SEVEN_ZSTD = TEXT.with_name("recorded-7-zstd.dat")


@pytest.fixture(scope="module")
def recording() -> Recording:
    return read_recording(RECORDED)


def test_what_trace_cmd_prints_of_the_file_is_what_is_read(recording: Recording, tmp_path: Path) -> None:
    """The text is that of trace-cmd 3.1.6, which knows nothing of softnet: same events and values, times in whole microseconds."""
    text = tmp_path / "report.txt"
    text.write_bytes(gzip.decompress(TEXT.read_bytes()))
    printed = read_recording(text)
    assert printed.coarse
    assert not recording.coarse

    def told(event: Event) -> tuple[object, ...]:
        # The text of sk_data_ready leaves the socket out.
        values = event.values[1:] if event.name == "sk_data_ready" else event.values
        return event.pid, event.name, values

    assert len(printed.events) == len(recording.events)
    for cpu in (0, 1):
        ours = [told(event) for event in recording.events if event.cpu == cpu]
        theirs = [told(event) for event in printed.events if event.cpu == cpu]
        assert ours == theirs
    assert all(abs(a - b) <= 1000 for a, b in zip(sorted(e.when for e in recording.events), sorted(e.when for e in printed.events),
                                                 strict=True))  # fmt: skip


def test_text_gives_the_same_packets(recording: Recording, tmp_path: Path) -> None:
    """Which datagram is read is told by its length there, and what is in a softirq by its entry and exit."""
    text = tmp_path / "report.txt"
    text.write_bytes(gzip.decompress(TEXT.read_bytes()))
    ours, theirs = observe(recording.events), observe(read_recording(text).events)
    assert [(p.cpu, p.size, p.reader, p.protocol) for p in ours.packets] == [
        (p.cpu, p.size, p.reader, p.protocol) for p in theirs.packets
    ]
    assert all(abs((p.read - p.when) - (q.read - q.when)) <= 1000 for p, q in zip(ours.packets, theirs.packets, strict=True))


def test_a_recording_written_again_is_the_same_bytes() -> None:
    whole = RECORDED.read_bytes()
    out = io.BytesIO()
    tracedat.write(tracedat.parse(whole, "recorded.dat"), out)
    assert out.getvalue() == whole


@pytest.mark.parametrize("packed", ["none", "zlib", "zstd"])
def test_version_7_is_read_too(packed: str, recording: Recording, tmp_path: Path) -> None:
    """The same recording as trace-cmd 3.1.6 converts it, with and without zstd; in zlib as this test packs it."""
    if packed == "zstd":
        if zstd() is None:
            pytest.skip("neither Python 3.14 nor the package zstandard")
        path = SEVEN_ZSTD
    else:
        path = tmp_path / "seven.dat"
        data = gzip.decompress(SEVEN.read_bytes())
        path.write_bytes(data if packed == "none" else packed_by_zlib(data))
    assert tracedat.read(path).pages == tracedat.read(RECORDED).pages
    assert tracedat.read(path).formats == tracedat.read(RECORDED).formats
    found = read_recording(path)
    assert found.events == recording.events
    assert (found.release, found.machine) == (recording.release, recording.machine)


def packed_by_zlib(data: bytes) -> bytes:
    """A file of version 7 with its pages packed in one chunk for each CPU, behind all that it had."""
    head = data.replace(b"none\0\0", b"zlib\0\0", 1)
    parsed, out = tracedat.parse(data, "seven.dat"), bytearray(head)
    for [piece] in parsed.pages:
        at = data.index(piece)
        place = head.index(struct.pack("<QQ", at, len(piece)))
        packed = zlib.compress(piece)
        chunk = struct.pack("<III", 1, len(packed), len(piece)) + packed
        out[place : place + 16] = struct.pack("<QQ", len(out), len(chunk) - 4)
        out += chunk
    return bytes(out)


def test_what_bpftrace_prints_with_our_script_is_read(tmp_path: Path) -> None:
    """Of bpftrace 0.17 on a 6.18: 40 datagrams of 64 bytes over lo. Its times are whole nanoseconds."""
    text = tmp_path / "bpftrace.txt"
    text.write_bytes(gzip.decompress(TEXT.with_name("recorded-bpftrace.txt.gz").read_bytes()))
    found = read_recording(text)
    assert not found.coarse
    packets = observe(found.events).packets
    assert [(packet.size, packet.protocol) for packet in packets] == [(92, 17)] * 40
    assert all(packet.when < packet.received < packet.read for packet in packets)
    load = load_of(observe(found.events), found.cpus)
    assert [len(task.sends) for task in load.senders] == [40]
    printed = set(re.findall(r"%09d: (\w+): ", (RECORDED.parent / "record.bt").read_text()))
    assert {event.name for event in found.events} <= printed <= set(FIELDS)


def test_several_instances_are_that_with_the_most_in_it(recording: Recording, tmp_path: Path) -> None:
    """``trace-cmd record -B`` leaves the first buffer empty."""
    data = gzip.decompress(SEVEN.read_bytes())
    empty = struct.pack("<Q", 0) + b"\0local\0" + struct.pack("<II", 4096, 0)
    head = struct.pack("<HHIQ", 0, 0, 0, 6 + len(empty) + 14)
    first = int.from_bytes(data[24:32], "little")
    option = head + struct.pack("<HI", 3, len(empty)) + empty + struct.pack("<HIQ", 0, 8, first)
    path = tmp_path / "several.dat"
    path.write_bytes(data[:24] + struct.pack("<Q", len(data)) + data[32:] + option)
    assert read_recording(path).events == recording.events


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:300], "cut short"),
        (lambda data: data[:5000], "cut short"),
        (lambda data: data.replace(b"none\0\0", b"lzma\0\0", 1), "packed by .lzma"),
        (lambda data: data.replace(b"\x10\0\0\0\0\0\0\0", b"\x11\0\0\0\0\0\0\0", 1), "not the section"),
        (lambda data: data.replace(b"none\0\0", b"zlib\0\0", 1), "cut short|cannot be unpacked|another size|claims too much"),
    ],
)
def test_damage_in_version_7_is_refused(change: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    path = tmp_path / "recorded.dat"
    whole = gzip.decompress(SEVEN.read_bytes())
    path.write_bytes(change(whole))
    assert path.read_bytes() != whole
    with pytest.raises(TraceError, match=message):
        read_recording(path)


def test_the_packets_of_the_fixture(recording: Recording) -> None:
    """What the traffic's own programs did: one sender on CPU 0, 1,000 datagrams a second of 200 bytes, one reader on CPU 1."""
    seen = observe(recording.events)
    load = load_of(seen, recording.cpus)
    assert len(load.packets) == 75
    assert {packet.size for packet in load.packets} == {228}
    assert [(task.cpu, task.sched) for task in load.readers] == [(1, "fifo:5")]
    assert [(task.cpu, task.sched, len(task.sends)) for task in load.senders] == [(0, "fifo:6", 75)]
    gaps = [b.when - a.when for a, b in zip(load.packets, load.packets[1:], strict=False)]
    assert quantile(gaps, 1, 2) == pytest.approx(1_000_000, rel=0.05)
    assert not load.rps_cpus
    assert all(packet.read > packet.received > packet.when for packet in load.packets[:-1])
    readers = frozenset(task.pid for task in load.readers)
    told = {row.name: row.value for row in figures(seen, load.packets, readers, load.start, load.start + load.span_ns)}
    assert (told["arrived"], told["softirqs"], told["polls"], told["dropped"]) == (75, 75, 75, 0)


# -- damaged input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:9], "no event of the receive path"),
        (lambda data: data[:300], "cut short"),
        (lambda data: data[:-4096], "cut short"),
        (lambda data: data.replace(b"6\0\0\x08", b"8\0\0\x08", 1), "version of trace-cmd's files"),
        (lambda data: data.replace(b"6\0\0\x08", b"6\0\x01\x08", 1), "another kind of machine"),
        (lambda data: data.replace(b"flyrecord\0", b"latency  \0", 1), "no pages"),
        (lambda data: data.replace(b"header_event\0", b"header_avent\0", 1), "not what a recording"),
        (lambda data: data.replace(b'{"clock"', b'["clock"', 1), "no JSON"),
        (lambda data: data.replace(b"common_flags;\toffset:2;", b"common_flags;\toffset:5;"), "over each other"),
    ],
)
def test_a_damaged_recording_is_refused(change: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    path = tmp_path / "recorded.dat"
    path.write_bytes(change(RECORDED.read_bytes()))
    with pytest.raises(TraceError, match=message):
        read_recording(path)


def test_a_line_that_is_not_its_event_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(
        "  a-1  [000] d..2.  5.000001: netif_rx: dev=lo skbaddr=0x1 len=4\n  a-1  [000] d..2.  5.000002: sched_switch: no\n"
    )
    with pytest.raises(TraceError, match="not the text of sched_switch") as error:
        read_recording(path)
    assert error.value.where == f"{path}:2"


def test_lost_events_are_counted(tmp_path: Path) -> None:
    """The kernel's own word: bits 31 and 30 of a page's commit, and the number behind the page's data."""
    data = tracedat.read(RECORDED)
    page = bytearray(data.pages[0][0])
    at = len(page) - data.page_bytes  # of the last page, which is not full
    commit = int.from_bytes(page[at + 8 : at + 12], "little")
    page[at + 8 : at + 16] = (commit | 3 << 30).to_bytes(8, "little")
    end = at + 16 + commit
    assert end + 8 <= len(page)
    page[end : end + 8] = (41).to_bytes(8, "little")
    data.pages[0][0] = bytes(page)
    path = tmp_path / "lost.dat"
    with path.open("wb") as stream:
        tracedat.write(data, stream)
    assert read_recording(path).lost == 41


# -- text that others write

CAT = """\
# tracer: nop
          <idle>-0       [001] ..s1.   100.000010: softirq_entry: vec=3 [action=NET_RX]
          <idle>-0       [001] ..s1.   100.000012: napi_poll: napi poll on napi struct 00000000f1 for device eth0 work 3 budget 64
 CPU:1 [LOST 7 EVENTS]
       my app-7-42       [001] d..2.   100.000020: sched_switch: SWITCH
          nginx-77      (     77) [000] .....   100.000030: kfree_skb: skbaddr=00000000ab12 location=0xff reason: SOCKET_RCVBUFF
""".replace("SWITCH", "prev_comm=my app prev_pid=42 prev_prio=120 prev_state=S ==> next_comm=swapper/1 next_pid=0 next_prio=120")
PERF = """\
swapper       0 [001]   100.000010: irq:softirq_entry: vec=3 [action=NET_RX]
my app 7     42/42    [000]   100.000020123:          1 net:netif_rx: dev=lo skbaddr=0xffff888 len=84
"""  # fmt: skip


def test_text_of_ftrace_and_of_perf(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(CAT)
    found = read_recording(path)
    assert (found.lost, found.cpus) == (7, 2)
    assert [(e.when, e.cpu, e.pid, e.flags, e.name, e.values) for e in found.events] == [
        (100_000_010_000, 1, 0, 0x10, "softirq_entry", (3,)),
        (100_000_012_000, 1, 0, 0x10, "napi_poll", ("eth0", 3, 64)),
        (100_000_020_000, 1, 42, 0, "sched_switch", ("my app", 42, 1, "swapper/1", 0, 120)),
        (100_000_030_000, 0, 77, 0, "kfree_skb", (0xAB12, "SOCKET_RCVBUFF")),
    ]
    path.write_text(PERF)
    found = read_recording(path)
    assert [(e.when, e.cpu, e.pid, e.name, e.values) for e in found.events] == [
        (100_000_010_000, 1, 0, "softirq_entry", (3,)),
        (100_000_020_123, 0, 42, "netif_rx", ("lo", 0xFFFF888, 84)),
    ]


# -- following packets


def _sent(skb: int, when: int, sk: int, *, hashed: int = 7, cpu: int = 0, to: int = 0) -> list[Event]:
    """A datagram from task 10 into a socket; RPS may lead it to another CPU."""
    return [
        Event(when, cpu, 10, 0, "netif_rx_entry", ("lo", skb, 100, hashed)),
        Event(when + 10, to, 10, 0x10, "softirq_entry", (3,)),
        Event(when + 20, to, 10, 0x10, "netif_receive_skb", ("lo", skb, 100)),
        Event(when + 30, to, 10, 0x10, "sk_data_ready", (sk, 17)),
        Event(when + 40, to, 10, 0x10, "napi_poll", ("(no_device)", 1, 64)),
        Event(when + 50, to, 10, 0x10, "softirq_exit", (3,)),
    ]


def _read(when: int, sk: int, pid: int, flags: int = 0) -> Event:
    return Event(when, 1, pid, 0, "sock_recv_length", (sk, 72, flags))


def test_reads_are_those_of_the_socket_in_order_and_peeks_are_none() -> None:
    events = [*_sent(1, 100, 0xA), *_sent(2, 200, 0xB), *_sent(3, 300, 0xA), _read(400, 0xA, 20, flags=2), _read(500, 0xA, 20),
              _read(510, 0xB, 30), _read(520, 0xA, 20), _read(530, 0xA, 20)]  # fmt: skip
    assert [(p.read, p.reader) for p in observe(events).packets] == [(500, 20), (510, 30), (520, 20)]


def test_an_address_that_is_used_again_is_another_packet() -> None:
    events = [
        *_sent(1, 100, 0xA),
        _read(150, 0xA, 20),
        *_sent(1, 200, 0xA),
        Event(260, 0, 10, 0, "kfree_skb", (1, "SOCKET_RCVBUFF")),
    ]
    first, second = observe(events).packets
    assert (first.read, first.dropped, second.dropped) == (150, "", "SOCKET_RCVBUFF")


@pytest.mark.parametrize("hashed", [0, 7, 0xF0000000])
def test_rps_steers_in_the_model_as_it_did_where_it_was_recorded(hashed: int) -> None:
    """reciprocal_scale() of the hash that stands in for one that was not recorded chooses the recorded CPU."""
    first = [*_sent(1, 100, 0xA, hashed=hashed, to=1), _read(160, 0xA, 20)]
    second = [*_sent(2, 200, 0xA, hashed=hashed, to=1), _read(300, 0xA, 20)]
    third = [*_sent(3, 400, 0xB, hashed=hashed + 1, to=3), _read(500, 0xB, 20)]
    events = [*first, *second, *third]
    load = load_of(observe(events), 4)
    assert load.rps_cpus == [1, 3]
    chosen = [load.rps_cpus[send.hash * 2 >> 32] for sender in load.senders for send in sender.sends]
    assert sorted(chosen) == [1, 1, 3]


def test_what_cannot_be_replayed_says_what_was_seen() -> None:
    with pytest.raises(TraceError, match="nothing in the recording can be replayed"):
        load_of(observe(_sent(1, 100, 0xA)), 2)
    forwarded = Event(50, 0, 0, 0x10, "netif_rx_entry", ("veth0", 9, 60, 0))
    load = load_of(observe([forwarded, *_sent(1, 100, 0xA), _read(160, 0xA, 20)]), 2)
    assert any("in a softirq" in note for note in load.notes)


def test_the_machines_report_in_the_fixture_names_nothing() -> None:
    told = json.loads(tracedat.read(RECORDED).options[tracedat.OPTION_SOFTNET])
    assert set(told["machine"]) == {"schema", "preempt", "cpus", "config", "sysctl", "release"}
    assert RECORDED.stat().st_size < 100_000


def test_names_of_numbers_are_read_whatever_zeros_they_begin_with() -> None:
    """Found by the fuzz: int(text, 0) refuses them."""
    assert symbolic('__print_symbolic(REC->reason, { 2, "A" }, { 045, "B" }, { 0x10, "C" })') == {2: "A", 45: "B", 16: "C"}
