# SPDX-License-Identifier: GPL-2.0-or-later
"""Capture files: pcap and pcapng, read as a stream in bounded memory.

Formats: the pcap file format (draft-ietf-opsawg-pcap) in both byte orders, with microsecond and nanosecond
time stamps; pcapng (draft-ietf-opsawg-pcapng) in both byte orders, with several sections and interfaces.

Nothing is believed that a header claims: a length is held against the largest packet that capture tools write
and against what is left of the file before anything is read or set aside for it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple, NoReturn

from softnet.errors import CaptureError

#: The largest packet that tcpdump and Wireshark write (MAXIMUM_SNAPLEN, WTAP_MAX_PACKET_SIZE_STANDARD).
PACKET_BYTES_MAX: Final = 262_144
#: Options of one pcapng block that are looked at; a longer list is no option list.
OPTIONS_BYTES_MAX: Final = 1 << 20
INTERFACES_MAX: Final = 65_536

_PCAP_MAGIC: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_OTHER_MAGIC: Final = {
    b"\x1f\x8b": "this is a gzip file: gunzip it first",
    b"\x28\xb5\x2f\xfd": "this is a zstd file: decompress it first",
    b"\xfd7zXZ": "this is an xz file: decompress it first",
    b"\x34\xcd\xb2\xa1": "a pcap file of an old patched libpcap: rewrite it with editcap -F pcap",
    b"snoop\x00": "a snoop file: convert it with editcap -F pcapng",
}

_SHB: Final = 0x0A0D0D0A
_IDB: Final = 1
_OBSOLETE_PACKET: Final = 2
_SPB: Final = 3
_EPB: Final = 6


class Frame(NamedTuple):
    """One record of a capture. ``time_ns`` is since the epoch, None where the format has no time stamp."""

    number: int
    offset: int
    time_ns: int | None
    link_type: int
    data: bytes
    original_len: int


class _Interface(NamedTuple):
    link_type: int
    snaplen: int
    # A time stamp counts units of ``unit_ns_num / unit_ns_den`` nanoseconds from ``offset_ns``.
    unit_ns_num: int
    unit_ns_den: int
    offset_ns: int


def read_frames(path: str | Path) -> Iterator[Frame]:
    """Every record of a pcap or pcapng file, in file order.

    Raises ``CaptureError`` for anything that is not a whole capture, naming the byte, the packet, what was
    found and what was expected. Packets before the bad place have been yielded by then.
    """
    name = str(path)
    try:
        size = os.stat(path).st_size
        file = open(path, "rb")  # noqa: SIM115 (closed by the with below; opening alone may fail)
    except OSError as error:
        raise CaptureError("the capture cannot be read", where=name, found=error.strerror or str(error)) from None
    with file:
        yield from _Reader(file, name, size).frames()


class _Reader:
    def __init__(self, file: IO[bytes], name: str, size: int) -> None:
        self.file = file
        self.name = name
        self.size = size
        self.pos = 0
        self.number = 0  # of the packet being read, or read last, from 1
        self.in_packet = False

    def frames(self) -> Iterator[Frame]:
        if self.size == 0:
            self.fail("the capture is empty", found="0 bytes", expected="a pcap or pcapng file")
        magic = self.take(4, "the magic number")
        if magic in _PCAP_MAGIC:
            yield from self.pcap(*_PCAP_MAGIC[magic])
        elif magic == _PCAPNG_MAGIC:
            self.file.seek(0)
            self.pos = 0
            yield from self.pcapng()
        else:
            head = magic + self.file.read(4)
            hint = next((text for start, text in _OTHER_MAGIC.items() if head.startswith(start)), "")
            self.fail(
                "not a capture",
                found=f"a file that begins with {magic.hex(' ')}",
                expected="pcap (a1 b2 c3 d4 or a1 b2 3c 4d, either way round) or pcapng (0a 0d 0d 0a)",
                hint=hint,
                at=0,
            )

    def fail(self, message: str, *, found: str = "", expected: str = "", hint: str = "", at: int | None = None) -> NoReturn:
        packet = f"{'' if self.in_packet else 'after '}packet {self.number}, " if self.number else ""
        offset = self.pos if at is None else at
        where = f"{self.name}: {packet}byte {offset}"
        raise CaptureError(message, where=where, found=found, expected=expected, hint=hint)

    @property
    def left(self) -> int:
        return self.size - self.pos

    def take(self, count: int, what: str) -> bytes:
        """Exactly ``count`` bytes; ``count`` is small or has been held against what is left."""
        data = self.file.read(count) if count <= self.left else b""
        if len(data) != count:
            self.fail(
                f"the file ends inside {what}",
                found=f"{max(self.left, 0)} bytes left",
                expected=f"{count} bytes",
                hint="the capture was cut off; editcap rewrites the whole part of it",
            )
        self.pos += count
        return data

    def skip(self, count: int) -> None:
        self.file.seek(count, os.SEEK_CUR)
        self.pos += count

    def check_caplen(self, caplen: int, snaplen: int, limit: int, at: int) -> None:
        """``caplen`` must be a size that a capture tool writes, within the snapshot length and the file."""
        if caplen > PACKET_BYTES_MAX:
            self.fail(
                "a packet larger than any capture tool writes",
                found=f"{caplen} captured bytes",
                expected=f"at most {PACKET_BYTES_MAX}",
                hint="the record header is damaged",
                at=at,
            )
        if 0 < snaplen < caplen:
            self.fail(
                "a packet longer than the snapshot length",
                found=f"{caplen} captured bytes",
                expected=f"at most {snaplen}, the file's snapshot length",
                hint="the record header is damaged",
                at=at,
            )
        if caplen > limit:
            self.fail(
                "the file ends inside a packet" if limit == self.left else "a packet longer than its block",
                found=f"{limit} bytes left",
                expected=f"{caplen} captured bytes",
                hint="the capture was cut off; editcap rewrites the whole part of it",
                at=at,
            )

    # pcap

    def pcap(self, order: str, unit_ns: int) -> Iterator[Frame]:
        header = self.take(20, "the file header")
        major, minor, _zone, _sigfigs, snaplen, network = struct.unpack(order + "HHiIII", header)
        if major != 2:
            self.fail("an unknown version of pcap", found=f"{major}.{minor}", expected="2.4", at=4)
        link_type = network & 0xFFFF  # the upper bits tell of a frame check sequence
        record = struct.Struct(order + "IIII")
        per_second = 1_000_000_000 // unit_ns
        self.in_packet = True
        while self.left > 0:
            self.number += 1
            at = self.pos
            seconds, fraction, caplen, original_len = record.unpack(self.take(16, "a record header"))
            if fraction >= per_second:
                self.fail(
                    "a time stamp with more than a second of fraction",
                    found=str(fraction),
                    expected=f"less than {per_second}",
                    hint="the record header is damaged",
                    at=at,
                )
            self.check_caplen(caplen, snaplen, self.left, at)
            data = self.take(caplen, "a packet")
            time_ns = seconds * 1_000_000_000 + fraction * unit_ns
            yield Frame(self.number, at, time_ns, link_type, data, max(original_len, caplen))

    # pcapng

    def pcapng(self) -> Iterator[Frame]:
        order = "<"
        interfaces: list[_Interface] = []
        while self.left > 0:
            self.in_packet = False
            at = self.pos
            head = self.take(8, "a block header")
            kind, length = struct.unpack(order + "II", head)
            if kind == _SHB:
                order = self.section_order(at)
                interfaces = []
                length = struct.unpack(order + "I", head[4:])[0]
            if length < 12 or length % 4:
                self.fail(
                    "a block length that cannot be",
                    found=str(length),
                    expected="a multiple of 4, at least 12",
                    hint="the block header is damaged",
                    at=at,
                )
            end = at + length
            if end > self.size:
                self.fail(
                    "the file ends inside a block",
                    found=f"{self.size - at} bytes left",
                    expected=f"{length} bytes",
                    hint="the capture was cut off; editcap rewrites the whole part of it",
                    at=at,
                )
            if kind == _SHB:
                self.section_header(order, end, at)
            elif kind == _IDB:
                interfaces.append(self.interface(order, end, at))
                if len(interfaces) > INTERFACES_MAX:
                    self.fail("too many interfaces", expected=f"at most {INTERFACES_MAX}", at=at)
            elif kind in (_EPB, _SPB, _OBSOLETE_PACKET):
                self.number += 1
                self.in_packet = True
                yield self.packet_block(kind, order, interfaces, end, at)
            self.skip(end - 4 - self.pos)
            trailer = struct.unpack(order + "I", self.take(4, "the end of a block"))[0]
            if trailer != length:
                self.fail(
                    "a block whose two lengths differ",
                    found=f"{length} at its head, {trailer} at its end",
                    expected="the same length twice",
                    hint="the block is damaged",
                    at=at,
                )

    def need(self, count: int, end: int, what: str, at: int) -> bytes:
        """``count`` bytes of a block's body, whose trailer begins at ``end - 4``."""
        if self.pos + count > end - 4:
            self.fail(
                f"a block too short for {what}",
                found=f"{end - 4 - self.pos} bytes",
                expected=f"{count} bytes",
                hint="the block is damaged",
                at=at,
            )
        return self.take(count, what)

    def section_order(self, at: int) -> str:
        """The byte order of a section; the reader stands after it as before."""
        magic = self.take(4, "the byte-order magic")
        orders = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
        if magic not in orders:
            self.fail(
                "a section without a byte-order magic",
                found=magic.hex(" "),
                expected="4d 3c 2b 1a or 1a 2b 3c 4d",
                at=at + 8,
            )
        return orders[magic]

    def section_header(self, order: str, end: int, at: int) -> None:
        major, minor = struct.unpack(order + "HH", self.need(4, end, "a section header", at))
        if major != 1:
            self.fail("an unknown version of pcapng", found=f"{major}.{minor}", expected="1.0", at=at + 12)

    def interface(self, order: str, end: int, at: int) -> _Interface:
        link_type, _reserved, snaplen = struct.unpack(order + "HHI", self.need(8, end, "an interface", at))
        number, denominator, offset_ns = 1000, 1, 0  # microseconds unless an option says otherwise
        options_end = min(end - 4, self.pos + OPTIONS_BYTES_MAX)
        while self.pos + 4 <= options_end:
            code, length = struct.unpack(order + "HH", self.take(4, "an option"))
            if code == 0:
                break
            value = self.need(length, end, "an option", at)
            if code == 9 and length == 1:  # if_tsresol
                exponent = value[0] & 0x7F
                base = 2 if value[0] & 0x80 else 10
                number, denominator = 1_000_000_000, int(base**exponent)
            elif code == 14 and length == 8:  # if_tsoffset
                offset_ns = struct.unpack(order + "q", value)[0] * 1_000_000_000
            self.skip(min(-length % 4, end - 4 - self.pos))
        return _Interface(link_type, snaplen, number, denominator, offset_ns)

    def packet_block(self, kind: int, order: str, interfaces: list[_Interface], end: int, at: int) -> Frame:
        if kind == _SPB:
            index, high, low = 0, None, 0
            (original_len,) = struct.unpack(order + "I", self.need(4, end, "a packet", at))
            caplen = min(original_len, end - 4 - self.pos)
        else:
            head = self.need(20, end, "a packet", at)
            if kind == _EPB:
                index, high, low, caplen, original_len = struct.unpack(order + "IIIII", head)
            else:
                index, _drops, high, low, caplen, original_len = struct.unpack(order + "HHIIII", head)
        if index >= len(interfaces):
            self.fail(
                "a packet of an interface that was not described",
                found=f"interface {index}",
                expected=f"one of {len(interfaces)} interfaces" if interfaces else "an interface description block first",
                at=at,
            )
        interface = interfaces[index]
        if kind == _SPB and interface.snaplen:
            caplen = min(caplen, interface.snaplen)
        self.check_caplen(caplen, interface.snaplen, end - 4 - self.pos, at)
        data = self.take(caplen, "a packet")
        time_ns = None
        if high is not None:
            stamp = (high << 32) | low
            time_ns = stamp * interface.unit_ns_num // interface.unit_ns_den + interface.offset_ns
            if not 0 <= time_ns < 2**63:
                self.fail(
                    "a time stamp outside 1970 to 2262",
                    found=f"{stamp} units of 1/{interface.unit_ns_den} x {interface.unit_ns_num} ns",
                    expected="nanoseconds that fit 63 bits",
                    at=at,
                )
        return Frame(self.number, at, time_ns, interface.link_type, data, max(original_len, caplen))
