# SPDX-License-Identifier: GPL-2.0-or-later
"""Capture files: pcap and pcapng, read as a stream in bounded memory; from a file, from gzip, bzip2, xz or zstd, from standard
input.

Formats: the pcap file format (draft-ietf-opsawg-pcap) in both byte orders, with microsecond and nanosecond
time stamps; pcapng (draft-ietf-opsawg-pcapng) in both byte orders, with several sections and interfaces.

Nothing is believed that a header claims: a length is held against the largest packet that capture tools write
and against what is left of the file before anything is read or set aside for it. A file that ends inside a record was cut off by
whoever wrote it: what came before is read, and noted.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, NoReturn

from softnet.errors import CaptureError
from softnet.files import zstd
from softnet.scenario.traffic_models import STANDARD_INPUT

#: The largest packet that tcpdump and Wireshark write (MAXIMUM_SNAPLEN, WTAP_MAX_PACKET_SIZE_STANDARD).
PACKET_BYTES_MAX: Final = 262_144
#: Options of one pcapng block that are looked at; a longer list is no option list.
OPTIONS_BYTES_MAX: Final = 1 << 20
INTERFACES_MAX: Final = 65_536
_COPY_BYTES: Final = 1 << 16
_PIECE_BYTES: Final = 1 << 13
"""Of a compressed file, what is unpacked at once: what stands in a damaged piece is lost."""

PCAP_MAGIC: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_COMPRESSED: Final = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_OTHER_MAGIC: Final = {
    b"\x34\xcd\xb2\xa1": "a pcap file of an old patched libpcap: rewrite it with editcap -F pcap",
    b"snoop\x00": "a snoop file: convert it with editcap -F pcapng",
}

_SHB: Final = 0x0A0D0D0A
_IDB: Final = 1
_OBSOLETE_PACKET: Final = 2
_SPB: Final = 3
_EPB: Final = 6
OPTION_END, OPTION_FLAGS = 0, 2
OUTBOUND: Final = 2
"""Bits 0 and 1 of epb_flags."""


class Frame(NamedTuple):
    """One record of a capture. ``time_ns`` is since the epoch, None where the format has no time stamp.

    ``outgoing``: the file marks it as sent by the host that captured it.
    """

    number: int
    offset: int
    time_ns: int | None
    link_type: int
    data: bytes
    original_len: int
    outgoing: bool = False


class Notes:
    """What a reader let pass."""

    def __init__(self) -> None:
        self.over_snaplen = 0
        self.cut_off = ""

    def lines(self) -> list[str]:
        """In sentences."""
        out = []
        if self.over_snaplen:
            out.append(f"{self.over_snaplen} frames are longer than the snapshot length that the file states; they are read whole")
        if self.cut_off:
            out.append(self.cut_off)
        return out


class Interface(NamedTuple):
    """An interface of a pcapng file."""

    link_type: int
    snaplen: int
    # A time stamp counts units of ``unit_ns_num / unit_ns_den`` nanoseconds from ``offset_ns``.
    unit_ns_num: int
    unit_ns_den: int
    offset_ns: int


def read_frames(path: str | Path, notes: Notes | None = None) -> Iterator[Frame]:
    """Every record of a pcap or pcapng file, in file order; ``notes`` takes what was let pass.

    Raises ``CaptureError`` for anything that is not a capture, naming the byte, the packet, what was
    found and what was expected. Packets before the bad place have been yielded by then.
    """
    with opened(path, notes or Notes()) as reader:
        yield from reader.frames()


@contextlib.contextmanager
def opened(path: str | Path, notes: Notes) -> Iterator[Reader]:
    """A reader at the beginning of a capture. Raises ``CaptureError`` where it cannot be read, also later."""
    name = str(path)
    path = captured_input() if name == STANDARD_INPUT else path
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CaptureError("the capture cannot be read", where=name, found="no regular file", expected="a file")
            magic = os.pread(file.fileno(), 6, 0)
            kind = next((kind for start, kind in _COMPRESSED.items() if magic.startswith(start)), "")
            if not kind:
                yield Reader(Ahead(file), name, status.st_size, notes)
                return
            with _decompressed(file, kind, name) as inside:
                yield Reader(Ahead(inside, compressed=True), name, None, notes, kind)
    except OSError as error:
        raise CaptureError("the capture cannot be read", where=name, found=error.strerror or str(error)) from None


def _decompressed(file: IO[bytes], kind: str, name: str) -> IO[bytes]:
    """The stream inside a compressed file."""
    if kind == "gzip":
        import gzip

        return gzip.open(file)  # type: ignore[return-value]
    if kind == "bzip2":
        import bz2

        return bz2.open(file)
    if kind == "xz":
        import lzma

        return lzma.open(file)
    if (library := zstd()) is not None:
        inside: IO[bytes] = library.open(file, "rb")
        return inside
    raise CaptureError(
        "a capture in zstd, which this Python cannot read",
        where=name,
        found=f"Python {sys.version_info.major}.{sys.version_info.minor} without the package zstandard",
        expected="Python 3.14 or later, or pip install 'softnet[zstd]'",
        hint="zstd -d makes a file that needs neither",
    )


_INPUT_VARIABLE: Final = "SOFTNET_CAPTURED_INPUT"
_input_files: list[IO[bytes]] = []


def captured_input() -> Path:
    """Standard input as a file that can be read more than once, also by this process's workers; it is taken in at the first call.

    The file has no name and is gone when the process ends. Raises ``CaptureError`` where nothing is piped in.
    """
    known = os.environ.get(_INPUT_VARIABLE)
    if known and os.path.exists(known):
        return Path(known)
    if sys.stdin is None or sys.stdin.isatty():
        raise CaptureError(
            "no capture on standard input",
            where=STANDARD_INPUT,
            found="a terminal",
            expected="a capture, as in: tcpdump -c 1000 -w - | softnet run SCENARIO",
        )
    file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
    while block := sys.stdin.buffer.read(_COPY_BYTES):
        file.write(block)
    file.flush()
    _input_files.append(file)
    os.environ[_INPUT_VARIABLE] = f"/proc/{os.getpid()}/fd/{file.fileno()}"
    return Path(os.environ[_INPUT_VARIABLE])


class Ahead:
    """A file from which more can be read than is wanted: what is given back comes again."""

    def __init__(self, file: Any, *, compressed: bool = False) -> None:
        self._file = file
        self._compressed = compressed
        self._back = b""
        self._at = 0
        """So much of what was given back has come again."""
        self._failure: Exception | None = None

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes, fewer only at the end. Raises what the file raises, then in place of the last bytes."""
        data = self._back[self._at : self._at + count]
        self._at += len(data)
        if len(data) == count:
            return data
        if not self._compressed:
            return data + bytes(self._file.read(count - len(data)))
        pieces, size = [data], len(data)
        while size < count:
            piece = self._piece()
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
        if size < count and self._failure is not None:
            raise self._failure
        data = b"".join(pieces)
        self.give_back(data[count:])
        return data[:count]

    def fill(self, room: memoryview) -> int:
        """Read as much as there is room for, fewer only at the end; where the file raises something, the next ``read()`` does."""
        data = self._back[self._at : self._at + len(room)]
        self._at += len(data)
        size = len(data)
        room[:size] = data
        if not self._compressed:
            return size + int(self._file.readinto(room[size:])) if size < len(room) else size
        while size < len(room):
            piece = self._piece()
            if not piece:
                break
            used = min(len(piece), len(room) - size)
            room[size : size + used] = piece[:used]
            size += used
            self.give_back(piece[used:])
        return size

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer at the end; they come again."""
        room = bytearray(count)
        data = bytes(room[: self.fill(memoryview(room))])
        self.give_back(data)
        return data

    def give_back(self, data: bytes) -> None:
        """Let these bytes, the last that were read, come again."""
        if data or self._at:
            self._back = data + self._back[self._at :]
            self._at = 0

    def skip(self, count: int) -> None:
        """Leave bytes out, of a file that is not compressed."""
        inside = min(count, len(self._back) - self._at)
        self._at += inside
        if count > inside:
            self._file.seek(count - inside, os.SEEK_CUR)

    def _piece(self) -> bytes:
        if self._failure is None:
            try:
                return bytes(self._file.read1(_PIECE_BYTES))
            except Exception as error:  # what it is, the reader says
                self._failure = error
        return b""


class CutOff(Exception):
    """The file ends where more should stand."""


class Reader:
    """Reads one file that is open, frame by frame."""

    def __init__(self, ahead: Ahead, name: str, size: int | None, notes: Notes, compressed: str = "") -> None:
        self.ahead = ahead
        self.name = name
        self.size = size
        """None where it is not known: in a compressed stream."""
        self.notes = notes
        self.compressed = compressed
        self.broken_off = False
        """The compressed stream has ended before its own end."""
        self.pos = 0
        self.number = 0  # of the packet being read, or read last, from 1
        self.in_packet = False
        self.whole = 0
        """Packets that were read to their ends."""
        self.order = "<"
        self.interfaces: list[Interface] = []
        """Both of the section of a pcapng file that is being read."""

    def frames(self) -> Iterator[Frame]:
        yield from (frame for frame in self.noted(self.records()) if frame is not None)

    def pcap_from(self, head: bytes, at: int, number: int) -> Iterator[Frame | None]:
        """The records of a pcap file from byte ``at`` on, where it stands, before which ``number`` were read; ``head`` is its first
        24 bytes.
        """
        self.pos, self.number, self.whole = at, number, number
        return self.noted(self.pcap_records(head[4:], *PCAP_MAGIC[head[:4]]))

    def records(self) -> Iterator[Frame | None]:
        """All frames of the file, and None where more may follow: behind a record or a block. Raises ``CutOff``."""
        if self.size == 0:
            self.fail("the capture is empty", found="0 bytes", expected="a pcap or pcapng file")
        magic = self.take(4, "the magic number")
        if magic in PCAP_MAGIC:
            yield from self.pcap(*PCAP_MAGIC[magic])
        elif magic == PCAPNG_MAGIC:
            yield from self.pcapng(magic)
        else:
            self.no_capture(magic)

    def noted(self, frames: Iterator[Frame | None]) -> Iterator[Frame | None]:
        """The same; a file that ends too early is noted, if any packet of it is whole."""
        try:
            for frame in frames:
                yield frame
                if frame is not None:
                    self.whole = frame.number
        except CutOff as cut:
            message, found, expected, at = cut.args
            if not self.whole:
                self.fail(message, found=found, expected=expected, hint="the capture was cut off", at=at)
            before = f"the {self.whole} whole packets before are" if self.whole > 1 else "the one whole packet before is"
            self.notes.cut_off = f"{message}, at byte {at}: whoever wrote it was stopped; {before} read"

    def no_capture(self, magic: bytes) -> NoReturn:
        head = magic + self.read(4)
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
        where = f"{self.name}: {packet}byte {offset}" + (f" of what is in the {self.compressed} file" if self.compressed else "")
        raise CaptureError(message, where=where, found=found, expected=expected, hint=hint)

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes, fewer only at the end; ``count`` is small or has been bounded."""
        if not self.compressed:
            return self.ahead.read(count)
        try:
            return self.ahead.read(count)
        except EOFError:
            self.broken_off = True
            return b""
        except Exception as error:
            # gzip, bz2, lzma and the two zstd libraries each raise what they like about bytes that they cannot unpack.
            if isinstance(error, (OSError, ValueError, zlib.error)) or type(error).__name__ in ("LZMAError", "ZstdError"):
                self.fail(f"the {self.compressed} file is damaged", found=str(error), expected="a whole compressed capture")
            raise

    def take(self, count: int, what: str) -> bytes:
        """Exactly ``count`` bytes."""
        at = self.pos
        data = self.read(count)
        self.pos += len(data)
        if len(data) != count:
            raise CutOff(f"the file ends inside {what}", f"{len(data)} bytes left", f"{count} bytes", at)
        return data

    def at_end(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer of them at the end, none behind it."""
        data = self.read(count)
        if not data and self.broken_off:
            raise CutOff(f"the {self.compressed} file ends before its end", "0 bytes left", f"{count} bytes", self.pos)
        self.pos += len(data)
        return data

    def skip(self, count: int) -> None:
        self.pos += count
        if not self.compressed:
            self.ahead.skip(count)
            return
        while count > 0:
            block = self.read(min(count, _COPY_BYTES))
            if not block:
                return
            count -= len(block)

    def check_caplen(self, caplen: int, snaplen: int, at: int) -> None:
        """``caplen`` must be a size that a capture tool writes. Some state a snapshot length below it; that is noted."""
        if caplen > PACKET_BYTES_MAX:
            self.fail(
                "a packet larger than any capture tool writes",
                found=f"{caplen} captured bytes",
                expected=f"at most {PACKET_BYTES_MAX}",
                hint="the record header is damaged",
                at=at,
            )
        if 0 < snaplen < caplen:
            self.notes.over_snaplen += 1

    # pcap

    def pcap(self, order: str, unit_ns: int) -> Iterator[Frame | None]:
        header = self.take(20, "the file header")
        major, minor = struct.unpack_from(order + "HH", header)
        if major != 2:
            self.fail("an unknown version of pcap", found=f"{major}.{minor}", expected="2.4", at=4)
        yield from self.pcap_records(header, order, unit_ns)

    def pcap_records(self, header: bytes, order: str, unit_ns: int) -> Iterator[Frame | None]:
        """The records behind a file header, which is given without its magic number."""
        snaplen, network = struct.unpack_from(order + "II", header, 12)
        link_type = network & 0xFFFF  # the upper bits tell of a frame check sequence
        record = struct.Struct(order + "IIII")
        per_second = 1_000_000_000 // unit_ns
        self.in_packet = True
        while True:
            at = self.pos
            head = self.at_end(16)
            if not head:
                return
            self.number += 1
            if len(head) < 16:
                raise CutOff("the file ends inside a record header", f"{len(head)} bytes left", "16 bytes", at)
            seconds, fraction, caplen, original_len = record.unpack(head)
            if fraction >= per_second:
                self.fail(
                    "a time stamp with more than a second of fraction",
                    found=str(fraction),
                    expected=f"less than {per_second}",
                    hint="the record header is damaged",
                    at=at,
                )
            self.check_caplen(caplen, snaplen, at)
            data = self.take(caplen, "a packet")
            time_ns = seconds * 1_000_000_000 + fraction * unit_ns
            yield Frame(self.number, at, time_ns, link_type, data, max(original_len, caplen))
            yield None

    # pcapng

    def pcapng(self, begun: bytes) -> Iterator[Frame | None]:
        """``begun`` are the first four bytes, read already."""
        while True:
            self.in_packet = False
            at = self.pos - len(begun)
            head, begun = begun + self.at_end(8 - len(begun)), b""
            if not head:
                return
            if len(head) < 8:
                raise CutOff("the file ends inside a block header", f"{len(head)} bytes left", "8 bytes", at)
            kind, length = struct.unpack(self.order + "II", head)
            if kind == _SHB:
                self.order = self.section_order(at)
                self.interfaces = []
                length = struct.unpack(self.order + "I", head[4:])[0]
            if length < 12 or length % 4:
                self.fail(
                    "a block length that cannot be",
                    found=str(length),
                    expected="a multiple of 4, at least 12",
                    hint="the block header is damaged",
                    at=at,
                )
            end = at + length
            if self.size is not None and end > self.size:
                raise CutOff("the file ends inside a block", f"{self.size - at} bytes left", f"{length} bytes", at)
            if kind == _SHB:
                self.section_header(self.order, end, at)
            elif kind == _IDB:
                self.interfaces.append(self.interface(self.order, end, at))
                if len(self.interfaces) > INTERFACES_MAX:
                    self.fail("too many interfaces", expected=f"at most {INTERFACES_MAX}", at=at)
            elif kind in (_EPB, _SPB, _OBSOLETE_PACKET):
                self.number += 1
                self.in_packet = True
                yield self.packet_block(kind, end, at)
            self.skip(end - 4 - self.pos)
            trailer = struct.unpack(self.order + "I", self.take(4, "the end of a block"))[0]
            if trailer != length:
                self.fail(
                    "a block whose two lengths differ",
                    found=f"{length} at its head, {trailer} at its end",
                    expected="the same length twice",
                    hint="the block is damaged",
                    at=at,
                )
            yield None

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

    def interface(self, order: str, end: int, at: int) -> Interface:
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
        return Interface(link_type, snaplen, number, denominator, offset_ns)

    def packet_block(self, kind: int, end: int, at: int) -> Frame:
        order, interfaces = self.order, self.interfaces
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
        self.check_caplen(caplen, interface.snaplen, at)
        if caplen > end - 4 - self.pos:
            self.fail(
                "a packet longer than its block",
                found=f"{end - 4 - self.pos} bytes left",
                expected=f"{caplen} captured bytes",
                hint="the block is damaged",
                at=at,
            )
        data = self.take(caplen, "a packet")
        outgoing = kind == _EPB and self.outbound(order, caplen, end)
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
        return Frame(self.number, at, time_ns, interface.link_type, data, max(original_len, caplen), outgoing)

    def outbound(self, order: str, caplen: int, end: int) -> bool:
        """Whether the options behind a frame mark it as sent."""
        pad = -caplen % 4
        room = min(end - 4 - self.pos, OPTIONS_BYTES_MAX)
        return room >= pad + 4 and options_outbound(self.take(room, "options")[pad:], order)


def options_outbound(options: bytes | memoryview, order: str) -> bool:
    """Whether the options of an enhanced packet block mark the packet as sent (epb_flags). Options that do not fit are left."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(order + "HH", options, at)
        at += 4
        if code == OPTION_END or length > len(options) - at:
            return False
        if code == OPTION_FLAGS and length == 4:
            return bool(struct.unpack_from(order + "I", options, at)[0] & 3 == OUTBOUND)
        at += length + -length % 4
    return False
