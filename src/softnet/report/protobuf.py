# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire format of protocol buffers, as far as a trace needs it: https://protobuf.dev/programming-guides/encoding/.

A message is the bytes of its fields, one behind the other. Nothing is checked against a schema here: the fields' numbers stand with
those who use them, and the tests hold them to the published one.
"""

from __future__ import annotations

from typing import Final

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_SMALL: Final = tuple(bytes((n,)) if n < 0x80 else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(1 << 14))
_WORD: Final = (1 << 64) - 1


def varint(value: int) -> bytes:
    """A whole number, seven bits a byte; a negative one as 64 bits of two's complement."""
    if 0 <= value < 1 << 14:
        return _SMALL[value]
    value &= _WORD
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(field: int, value: int) -> bytes:
    """A field of a whole number, an enumeration or a boolean."""
    return varint(field << 3 | _VARINT) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """A field of eight bytes."""
    return varint(field << 3 | _FIXED64) + (value & _WORD).to_bytes(8, "little")


def message(field: int, data: bytes) -> bytes:
    """A field of a message, which the bytes are."""
    return varint(field << 3 | _BYTES) + varint(len(data)) + data


def text(field: int, value: str) -> bytes:
    """A field of text; half a character, which UTF-8 cannot say, becomes a question mark."""
    return message(field, value.encode("utf-8", "replace"))
