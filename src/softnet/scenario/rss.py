# SPDX-License-Identifier: GPL-2.0-or-later
"""What flow hashes are made of: the card's Toeplitz hash, and SipHash, which the kernel uses when the card's hash will not do.

The Toeplitz key is the one of Microsoft's RSS verification suite, which many drivers load by default; a driver
that calls netdev_rss_key_fill() draws a random one at boot instead. The kernel's own hash is SipHash-2-4 with a
key that is random at every boot (``hashrnd`` in net/core/flow_dissector.c): here it comes from the seed.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import numpy as np

from softnet.units import mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOEPLITZ_KEY: Final = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
#: Entries of the indirection table; 82599 and many others have 128.
INDIRECTION_ENTRIES: Final = 128

_KEY_STREAM: Final = 0x5349_5048  # draws of the boot-random key


@functools.cache
def _toeplitz_table() -> NDArray[np.uint32]:
    """``table[position][byte]``: what one input byte adds to the hash. The key serves 36 bytes of input."""
    key = int.from_bytes(TOEPLITZ_KEY, "big")
    bits = len(TOEPLITZ_KEY) * 8
    positions = range(len(TOEPLITZ_KEY) - 4)
    windows = [[(key >> (bits - 32 - position * 8 - bit)) & 0xFFFF_FFFF for bit in range(8)] for position in positions]
    is_set = np.arange(256)[:, None] & (0x80 >> np.arange(8)) != 0
    chosen = np.where(is_set, np.array(windows, dtype=np.uint32)[:, None, :], np.uint32(0))
    table: NDArray[np.uint32] = np.bitwise_xor.reduce(chosen, axis=2)
    return table


def toeplitz(data: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The Toeplitz hash of each row of ``data`` (rows, bytes): source, destination, source port, destination port."""
    table = _toeplitz_table()
    out = np.zeros(data.shape[0], dtype=np.uint32)
    for position in range(data.shape[1]):
        out ^= table[position][data[:, position]]
    return out


def indirection(queues: int) -> NDArray[np.int64]:
    """The default table: entry i leads to queue i modulo queues (ethtool_rxfh_indir_default())."""
    return np.arange(INDIRECTION_ENTRIES, dtype=np.int64) % queues


def siphash24(key: tuple[int, int], words: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """SipHash-2-4 of each row of ``words`` (rows, 64-bit little-endian words), ``length`` bytes each.

    The rows hold ``length // 8`` whole words and one more with the remaining bytes, zero-padded.
    """
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    rows = words.shape[0]
    v = [
        np.full(rows, np.uint64(0x736F6D6570736575) ^ k0),
        np.full(rows, np.uint64(0x646F72616E646F6D) ^ k1),
        np.full(rows, np.uint64(0x6C7967656E657261) ^ k0),
        np.full(rows, np.uint64(0x7465646279746573) ^ k1),
    ]
    last = words.shape[1] - 1
    for column in range(words.shape[1]):
        word = words[:, column]
        if column == last:
            word = word | np.uint64((length & 0xFF) << 56)
        v[3] = v[3] ^ word
        _sip_rounds(v, 2)
        v[0] = v[0] ^ word
    v[2] = v[2] ^ np.uint64(0xFF)
    _sip_rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


_TURNS: Final = {by: (np.uint64(by), np.uint64(64 - by)) for by in (13, 16, 17, 21, 32)}
"""How far each half goes when a word is turned to the left."""


def _sip_rounds(v: list[NDArray[np.uint64]], count: int) -> None:
    """Rounds of SipHash; turned words are written out, since a call for each would cost as much again."""
    left_13, right_13 = _TURNS[13]
    left_16, right_16 = _TURNS[16]
    left_17, right_17 = _TURNS[17]
    left_21, right_21 = _TURNS[21]
    half, _ = _TURNS[32]
    a, b, c, d = v
    for _ in range(count):
        a = a + b
        b = (b << left_13 | b >> right_13) ^ a
        a = a << half | a >> half
        c = c + d
        d = (d << left_16 | d >> right_16) ^ c
        a = a + d
        d = (d << left_21 | d >> right_21) ^ a
        c = c + b
        b = (b << left_17 | b >> right_17) ^ c
        c = c << half | c >> half
    v[:] = a, b, c, d


def boot_key(seed: int) -> tuple[int, int]:
    """The 128-bit key that stands for the kernel's boot-random one."""
    draws = [mix(seed, _KEY_STREAM, counter) for counter in range(4)]
    return draws[0] | draws[1] << 32, draws[2] | draws[3] << 32
