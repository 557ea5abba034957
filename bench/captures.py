#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast a capture is read: in columns, as runs read it, against packet by packet, as they read it before.

Makes captures of a million packets (``--packets N``) and reads each both ways in turn, the slow way only the first part of it.
Prints packets for each second of this process's CPU time, and the most memory that Python and numpy held while reading in columns.
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

import numpy as np

from softnet.scenario import CaptureTraffic
from softnet.scenario.flows import FlowKey, flow_key
from softnet.scenario.packet import read_capture
from softnet.scenario.replay import CaptureSource

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


def one_by_one(path: Path, packets: int) -> int:
    """What a run did with each packet before it had columns, but for its row."""
    flows: dict[FlowKey, int] = {}
    for number, packet in enumerate(read_capture(path), start=1):
        flows.setdefault(flow_key(packet), len(flows))
        if number == packets:
            break
    return number


def rate(read: Callable[[Path, int], int], path: Path, packets: int) -> float:
    """Packets for each second of CPU time."""
    start_ns = time.process_time_ns()
    count = read(path, packets)
    return count * 1e9 / (time.process_time_ns() - start_ns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000)
    packets = parser.parse_args().packets
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()};"
        f" {packets:,} packets; packets/s of CPU time"
    )
    print(f"{'':<44}{'one by one':>12}{'columns':>14}{'ratio':>8}{'peak memory':>14}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.pcap"
        for name, frames in CASES.items():
            make(path, frames, packets)
            slow, fast = [], []
            for _ in range(ROUNDS):
                slow.append(rate(one_by_one, path, SLOW_PACKETS))
                fast.append(rate(in_columns, path, packets))
            tracemalloc.start()
            in_columns(path, packets)
            peak = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            ratio = median(fast) / median(slow)
            print(f"{name:<44}{median(slow):>12,.0f}{median(fast):>14,.0f}{ratio:>8.0f}{peak:>10.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
