# SPDX-License-Identifier: GPL-2.0-or-later
"""What the running kernel makes of frames: its own ``skb_get_hash()`` of each, asked through a packet socket.

A TAP device in a network namespace of its own receives the frames; a TPACKET_V3 ring on it asks for the hash of every packet
(TP_FT_REQ_FILL_RXHASH, which calls skb_get_hash(): net/packet/af_packet.c, prb_fill_rxhash()). The hash's key is random at every
boot, so only equality says something. Run as a program with a JSON list of frames in hex on standard input; prints a JSON list
of numbers.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_SIOCSIFFLAGS, _SIOCGIFFLAGS, _IFF_UP = 0x8914, 0x8913, 0x1
_SOL_PACKET, _PACKET_RX_RING, _PACKET_VERSION, _TPACKET_V3 = 263, 5, 10, 2
_BLOCK, _BLOCKS, _FRAME = 1 << 20, 8, 2048
_TP_FT_REQ_FILL_RXHASH, _TP_STATUS_USER = 1, 1
_ETH_P_ALL, _PACKET_HOST, _PACKET_OUTGOING = 3, 0, 4


def _ring(name: str) -> tuple[socket.socket, mmap.mmap]:
    receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    receiver.setsockopt(_SOL_PACKET, _PACKET_VERSION, struct.pack("I", _TPACKET_V3))
    request = (_BLOCK, _BLOCKS, _FRAME, _BLOCK * _BLOCKS // _FRAME, 50, 0, _TP_FT_REQ_FILL_RXHASH)
    receiver.setsockopt(_SOL_PACKET, _PACKET_RX_RING, struct.pack("7I", *request))
    memory = mmap.mmap(receiver.fileno(), _BLOCK * _BLOCKS)
    receiver.bind((name, _ETH_P_ALL))
    return receiver, memory


def _drain(memory: mmap.mmap, wanted: int, found: list[tuple[bytes, int]], block: int) -> int:
    """Take full blocks from ``block`` on; the number of the next one."""
    while len(found) < wanted:
        at = block % _BLOCKS * _BLOCK
        status, packets, first = struct.unpack_from("III", memory, at + 8)
        if not status & _TP_STATUS_USER:
            return block
        at_packet = at + first
        for _ in range(packets):
            following, _, _, snaplen, _, _, mac = struct.unpack_from("IIIIIIH", memory, at_packet)
            (rxhash,) = struct.unpack_from("I", memory, at_packet + 28)
            found.append((bytes(memory[at_packet + mac : at_packet + mac + snaplen]), rxhash))
            at_packet += following
        struct.pack_into("I", memory, at + 8, 0)
        block += 1
    return block


def _serve() -> None:
    frames = [bytes.fromhex(text) for text in json.load(sys.stdin)]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", b"t0", _IFF_TAP | _IFF_NO_PI))
    Path("/proc/sys/net/ipv6/conf/t0/disable_ipv6").write_text("1") if Path("/proc/sys/net/ipv6/conf/t0").exists() else None
    receiver, memory = _ring("t0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", b"t0", _IFF_UP))
    found: list[tuple[bytes, int]] = []
    block = idle = 0
    for number, frame in enumerate(frames):
        os.write(tap, frame[:8] + number.to_bytes(4, "big") + frame[12:])
    deadline = time.monotonic() + 20
    while len(found) < len(frames) and time.monotonic() < deadline:
        before = block
        block = _drain(memory, len(frames), found, block)
        if block == before:
            idle += 1
            if idle > 30 and found:
                break  # a frame that the kernel drops before the socket never comes
        else:
            idle = 0
        time.sleep(0.01)
    receiver.close()
    by_number = {int.from_bytes(data[8:12], "big"): value for data, value in found}
    print(json.dumps([by_number.get(number) for number in range(len(frames))]))


def kernel_hashes(frames: list[bytes]) -> list[int | None]:
    """``skb_get_hash()`` of each Ethernet frame; None of one that was dropped before any protocol saw it.

    Their source addresses are written over. Raises ``OSError`` or ``subprocess.SubprocessError`` where a kernel may not be asked.
    """
    text = json.dumps([frame.hex() for frame in frames])
    done = subprocess.run([sys.executable, __file__], input=text, capture_output=True, text=True, check=True, timeout=60)
    hashes: list[int | None] = json.loads(done.stdout)
    return hashes


if __name__ == "__main__":
    _serve()
