#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast a capture is read, in columns against packet by packet; and what it costs a run, against a generator.

Makes captures of a million packets (``--packets N``) and reads each both ways in turn, the slow way only the first part of it.
Prints packets for each second of this process's CPU time, also of reading the bytes alone, which bounds any reader; and the most
memory that Python and numpy held while reading in columns.
Then writes what the generator of examples/rps.toml sends as a capture of ``--simulated N`` packets (default: five million), and
simulates both in turn, the capture read anew each time.
"""

from __future__ import annotations

import argparse
import platform
import struct
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from softnet.scenario import CaptureTraffic, Scenario, load_scenario
from softnet.scenario.columns import FLAG_PUSH
from softnet.scenario.flows import FlowKey, flow_key
from softnet.scenario.packet import read_capture
from softnet.scenario.replay import CaptureSource
from softnet.scenario.traffic import _cached_plan, _capture, arrivals
from softnet.simulate.simulation import Simulation

RPS = Path(__file__).parent.parent / "examples" / "rps.toml"
EVER_NS = 2**62
ROUNDS = 3
SLOW_PACKETS = 30_000


def _frame(version: int, proto: int, tagged: bool, payload: int) -> bytes:
    transport = bytes(12) + b"\x50\x10" + bytes(6) if proto == 6 else bytes(8)
    body = transport + bytes(payload)
    if version == 4:
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, proto, 0) + bytes((10, 0, 0, 1, 10, 0, 0, 2))
    else:
        ip = struct.pack("!IHBB", 0x6000_0000, len(body), proto, 64) + bytes(15) + b"\1" + bytes(15) + b"\2"
    return bytes(12) + (b"\x81\0\0\x05" if tagged else b"") + (b"\x08\0" if version == 4 else b"\x86\xdd") + ip + body


CASES = {
    "IPv4 UDP, 64 bytes": [_frame(4, 17, False, 22)],
    "IPv4 TCP, 66 and 1,514 bytes cut to 96": [_frame(4, 6, False, 12), _frame(4, 6, False, 42)],
    "IPv4, IPv6, TCP, UDP, one in four tagged": [
        _frame(4, 6, False, 20), _frame(6, 6, False, 9), _frame(4, 17, False, 30), _frame(4, 6, True, 60),
    ],
    "pcapng: IPv4, IPv6, TCP, UDP": [_frame(4, 6, False, 20), _frame(6, 6, False, 9), _frame(4, 17, False, 30)],
    "IPv4 TCP, 66 and 1,514 bytes": [_frame(4, 6, False, 12), _frame(4, 6, False, 1460)],
}  # fmt: skip


def make(path: Path, frames: list[bytes], packets: int, flows: int = 1000) -> None:
    """A pcap file: the frames in turn, a microsecond apart, their source ports from ``flows`` numbers."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1))
        for number in range(packets):
            frame = frames[number % len(frames)]
            at = 14 + (4 if frame[12] == 0x81 else 0)
            at += 20 if frame[at] == 0x45 else 40
            source = struct.pack("!H", 1024 + number * 7919 % flows)
            seconds, fraction = divmod(number * 1000, 10**9)
            file.write(struct.pack("<IIII", 1_700_000_000 + seconds, fraction, len(frame), len(frame)))
            file.write(frame[:at] + source + frame[at + 2 :])


def in_columns(path: Path, _packets: int) -> int:
    """Packets read."""
    return CaptureSource(CaptureTraffic(file=str(path)), path, EVER_NS).arriving


def bytes_alone(path: Path, packets: int) -> int:
    """The file into the same megabyte of memory, again and again: no reader is quicker."""
    room = bytearray(1 << 20)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(room):
            pass
    return packets


def one_by_one(path: Path, packets: int) -> int:
    """What a run did with each packet before it had columns, but for its row."""
    flows: dict[FlowKey, int] = {}
    for number, packet in enumerate(read_capture(path), start=1):
        flows.setdefault(flow_key(packet), len(flows))
        if number == packets:
            break
    return number


def _as_pcapng(path: Path, out: Path) -> None:
    """The same records as blocks of pcapng, in microseconds."""
    records = path.read_bytes()
    at = 24
    with open(out, "wb") as file:
        file.write(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))
        file.write(struct.pack("<IIHHII", 1, 20, 1, 0, 262144, 20))
        while at < len(records):
            seconds, fraction, caplen, size = struct.unpack_from("<IIII", records, at)
            stamp, length = seconds * 1_000_000 + fraction // 1000, 32 + caplen + -caplen % 4
            file.write(struct.pack("<IIIIIII", 6, length, 0, stamp >> 32, stamp & 0xFFFF_FFFF, caplen, size))
            file.write(records[at + 16 : at + 16 + caplen] + bytes(-caplen % 4) + struct.pack("<I", length))
            at += 16 + caplen


def generated(scenario: Scenario, path: Path) -> None:
    """A capture of what the scenario's generator sends: TCP segments, cut behind their headers."""
    sent: dict[int, int] = {}
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 96, 1))
        for chunk in arrivals(scenario):
            rows = len(chunk)
            out = np.zeros((rows, 82), dtype=np.uint8)

            def put(at: int, values: Any, kind: str, out: Any = out, rows: int = rows) -> None:
                column = np.asarray(values).astype(kind)
                out[:, at : at + column.itemsize] = column.view(np.uint8).reshape(rows, -1)

            seq = np.zeros(rows, dtype=np.int64)
            for row, (flow, size) in enumerate(zip(chunk.flow.tolist(), chunk.payload_bytes.tolist(), strict=True)):
                seq[row] = sent.get(flow, 0)
                sent[flow] = (sent.get(flow, 0) + size) & 0xFFFF_FFFF
            put(0, 1_700_000_000 + chunk.time_ns // 10**9, "<u4")
            put(4, chunk.time_ns % 10**9, "<u4")
            put(12, chunk.len_bytes, "<u4")
            put(32, chunk.len_bytes - 14, ">u2")
            put(42, 0x0A00_0001 + chunk.flow, ">u4")
            put(50, 32768 + chunk.flow, ">u2")
            put(54, seq, ">u4")
            put(63, np.where(chunk.flags & FLAG_PUSH, 0x18, 0x10), "u1")
            for at, byte in ((8, 66), (28, 8), (30, 0x45), (38, 64), (39, 6), (46, 192), (47, 168), (49, 1), (53, 80), (62, 0x80)):
                out[:, at] = byte
            file.write(out.tobytes())


def simulated(packets: int, folder: Path) -> None:
    """Print what a run makes of the generator's packets and of their capture, in packets for each second of CPU time."""
    duration_ms = max(packets * 1000 // 300_000, 6)
    scenario = load_scenario(RPS, [f"measure.duration_ms={duration_ms}", "measure.series_interval_us=100000"])
    path = folder / "generated.pcap"
    generated(scenario, path)
    replayed = scenario.model_copy(update={"traffic": (CaptureTraffic(file=str(path)),)})

    def once(asked: Scenario) -> float:
        _cached_plan.cache_clear()
        _capture.cache_clear()
        start_ns = time.process_time_ns()
        arrived = Simulation(asked, seed=1).finish().result.conservation.arrived
        return arrived * 1e9 / (time.process_time_ns() - start_ns)

    once(load_scenario(RPS))
    pairs = [(once(scenario), once(replayed)) for _ in range(ROUNDS)]
    ratios = sorted(capture / generator for generator, capture in pairs)
    print(f"\n{packets:,} packets simulated, a second: {median(g for g, _ in pairs):,.0f} of the generator,")
    print(f"{median(c for _, c in pairs):,.0f} of their capture; ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def rate(read: Callable[[Path, int], int], path: Path, packets: int) -> float:
    """Packets for each second of CPU time."""
    start_ns = time.process_time_ns()
    count = read(path, packets)
    return count * 1e9 / (time.process_time_ns() - start_ns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--simulated", type=int, default=5_000_000)
    given = parser.parse_args()
    packets = given.packets
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()};"
        f" {packets:,} packets; packets/s of CPU time"
    )
    print(f"{'':<44}{'one by one':>12}{'columns':>14}{'ratio':>8}{'bytes alone':>14}{'peak memory':>14}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.pcap"
        for name, frames in CASES.items():
            make(path, frames, packets)
            if name.startswith("pcapng"):
                _as_pcapng(path, path)
            slow, fast, least = [], [], []
            for _ in range(ROUNDS):
                slow.append(rate(one_by_one, path, SLOW_PACKETS))
                fast.append(rate(in_columns, path, packets))
                least.append(rate(bytes_alone, path, packets))
            tracemalloc.start()
            in_columns(path, packets)
            peak = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            ratio = median(fast) / median(slow)
            figures = f"{median(slow):>12,.0f}{median(fast):>14,.0f}{ratio:>8.0f}{median(least):>14,.0f}{peak:>10.1f} MiB"
            print(f"{name:<44}{figures}", flush=True)

        simulated(given.simulated, Path(folder))


if __name__ == "__main__":
    main()
