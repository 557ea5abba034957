# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures made by hand, byte by byte, for the tests."""

from __future__ import annotations

import ipaddress
import struct

ETHERNET = 1


def ipv4(
    payload: bytes,
    proto: int,
    src: str = "10.0.0.2",
    dst: str = "10.0.0.1",
    *,
    options: bytes = b"",
    frag: int = 0,
) -> bytes:
    header_len = 20 + len(options)
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x40 | header_len // 4,
        0,
        header_len + len(payload),
        1,
        frag,
        64,
        proto,
        0,
        ipaddress.ip_address(src).packed,
        ipaddress.ip_address(dst).packed,
    )
    return head + options + payload


def ipv6(
    payload: bytes,
    proto: int,
    src: str = "fd00::2",
    dst: str = "fd00::1",
    *,
    extensions: bytes = b"",
    label: int = 0,
) -> bytes:
    """``proto`` is the next header of the fixed header: the first extension's where there are any."""
    body = extensions + payload
    head = struct.pack("!IHBB", 0x6000_0000 | label, len(body), proto, 64)
    return head + ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed + body


def tcp(payload: bytes = b"", *, sport: int = 40000, dport: int = 80, seq: int = 0, flags: int = 0x10) -> bytes:
    return struct.pack("!HHIIBBHHH", sport, dport, seq, 0, 0x50, flags, 1024, 0, 0) + payload


def udp(payload: bytes = b"", *, sport: int = 40000, dport: int = 53) -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def ethernet(payload: bytes, kind: int = 0x0800, *, tags: tuple[int, ...] = (), tci: int = 42) -> bytes:
    head = bytes(6) + bytes([2, 0, 0, 0, 0, 1])
    for tag in tags:
        head += struct.pack("!HH", tag, tci)
    return head + struct.pack("!H", kind) + payload


def pcap(
    frames: list[tuple[int, bytes]],
    *,
    order: str = "<",
    nano: bool = True,
    link: int = ETHERNET,
    snaplen: int = 262144,
) -> bytes:
    """``frames`` are (time in ns, bytes)."""
    out = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, snaplen, link)
    for time_ns, data in frames:
        seconds, rest = divmod(time_ns, 10**9)
        out += struct.pack(order + "IIII", seconds, rest if nano else rest // 1000, len(data), len(data)) + data
    return out


def block(kind: int, body: bytes, *, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = len(body) + 12
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def section(*, order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order=order)


def interface(
    *,
    link: int = ETHERNET,
    snaplen: int = 0,
    tsresol: int | None = None,
    tsoffset: int | None = None,
    order: str = "<",
) -> bytes:
    body = struct.pack(order + "HHI", link, 0, snaplen)
    body += struct.pack(order + "HH", 2, 5) + b"eth0\0" + bytes(3)  # if_name, padded
    if tsresol is not None:
        body += struct.pack(order + "HHB3x", 9, 1, tsresol)
    if tsoffset is not None:
        body += struct.pack(order + "HHq", 14, 8, tsoffset)
    return block(1, body + struct.pack(order + "HH", 0, 0), order=order)


def enhanced(
    data: bytes, stamp: int, *, index: int = 0, original_len: int | None = None, order: str = "<", options: bytes = b""
) -> bytes:
    head = struct.pack(
        order + "IIIII",
        index,
        stamp >> 32,
        stamp & 0xFFFF_FFFF,
        len(data),
        len(data) if original_len is None else original_len,
    )
    return block(6, head + data + bytes(-len(data) % 4 if options else 0) + options, order=order)


def option(code: int, value: bytes, *, order: str = "<") -> bytes:
    """An option of a block; ``option(0, b"")`` ends them."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def simple(data: bytes, *, original_len: int | None = None, order: str = "<") -> bytes:
    return block(3, struct.pack(order + "I", len(data) if original_len is None else original_len) + data, order=order)
