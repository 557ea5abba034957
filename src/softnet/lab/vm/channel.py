# SPDX-License-Identifier: GPL-2.0-or-later
"""The channel between guest and host: frames over a virtio-serial port, which carries nothing else.

A frame is one byte of kind, four bytes of length (big-endian) and the payload. Kinds: ``H`` hello (JSON, the
guest's first words), ``P`` progress (text), ``D`` a piece of a named blob (two bytes of name length, the name,
the bytes), ``R`` result (JSON), ``E`` error (JSON: message, traceback), ``B`` bye, after which the guest
switches itself off. The guest's half is ``guest/agent.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from softnet.lab.errors import LabError

_HEAD = struct.Struct(">cI")
CHANNEL = "the guest's channel"
_KINDS = b"HPDREB"
# The guest sends blobs in pieces of 256 KiB; a longer frame means that the stream is not what it should be.
FRAME_BYTES_MAX = 16 << 20


class FrameReader:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """The frames that ``data`` completes, as (kind, payload). Raises ``LabError`` on a broken stream."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._buffer)
            if kind not in _KINDS or length > FRAME_BYTES_MAX:
                raise LabError(
                    "the guest's channel carries something that is no frame",
                    where=CHANNEL,
                    found=bytes(self._buffer[:16]).hex(" "),
                    expected=f"one of {_KINDS.decode()} and a length up to {FRAME_BYTES_MAX}",
                )
            if len(self._buffer) < _HEAD.size + length:
                return
            payload = bytes(self._buffer[_HEAD.size : _HEAD.size + length])
            del self._buffer[: _HEAD.size + length]
            yield kind.decode(), payload


def split_blob(payload: bytes) -> tuple[str, bytes]:
    """The name and the bytes of a ``D`` frame."""
    length = int.from_bytes(payload[:2], "big")
    name = payload[2 : 2 + length]
    if len(payload) < 2 + length or not name.isascii() or not name.decode().isprintable():
        raise LabError("a piece of a blob without its name", where=CHANNEL, found=payload[:16].hex(" "),
                       expected="two bytes of length and so many of a name")  # fmt: skip
    return name.decode(), payload[2 + length :]
