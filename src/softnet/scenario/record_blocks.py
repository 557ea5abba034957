# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of a pcap or pcapng file in batches of columns, block by block, as far as they are whole and sound."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from softnet.scenario.capture import (
    OPTION_END,
    OPTION_FLAGS,
    OUTBOUND,
    PACKET_BYTES_MAX,
    Ahead,
    Frame,
    Interface,
    options_outbound,
)
from softnet.scenario.record_chain import (
    PADDING,
    PCAPNG_BLOCK_MAX,
    PCAPNG_PACKET,
    Chain,
    pcap_chain,
    pcapng_chain,
    record_heads,
    windows,
    word_at,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH_ROWS: Final = 16_384
_FIRST_BLOCK_BYTES: Final = 1 << 18
_BLOCK_BYTES: Final = 1 << 23
_EPB_HEAD: Final = 28
"""Bytes before the frame in a block of pcapng that holds one."""
_EPB_BYTES: Final = 32
_TIME_NS_MAX: Final = 1 << 62


@dataclasses.dataclass(frozen=True, eq=False)
class FrameBatch:
    """Records in file order, as columns of one length; what ``capture.Frame`` says of one."""

    number: int
    """Of the first record, from 1."""
    buffer: NDArray[np.uint8]
    """Holds all frames, and PADDING bytes behind them."""
    start: NDArray[np.int64]
    """Where in ``buffer`` a frame begins."""
    caplen: NDArray[np.int64]
    original_len: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    """Since the epoch; -1 where the format has no time stamp."""
    link_type: NDArray[np.int64]
    outgoing: NDArray[np.bool_]
    over_snaplen: NDArray[np.bool_]
    """Longer than the snapshot length that the file states."""
    offset: NDArray[np.int64]
    """Where in the file the record begins."""

    def __len__(self) -> int:
        return len(self.start)

    def first(self, rows: int) -> FrameBatch:
        """The batch without what comes after its first ``rows``."""
        if rows == len(self):
            return self
        columns = [field.name for field in dataclasses.fields(self) if field.name not in ("number", "buffer")]
        return dataclasses.replace(self, **{name: getattr(self, name)[:rows] for name in columns})

    def frame(self, row: int) -> Frame:
        """One record by itself."""
        start, caplen, time_ns = int(self.start[row]), int(self.caplen[row]), int(self.time_ns[row])
        return Frame(
            number=self.number + row,
            offset=int(self.offset[row]),
            time_ns=None if time_ns < 0 else time_ns,
            link_type=int(self.link_type[row]),
            data=self.buffer[start : start + caplen].tobytes(),
            original_len=int(self.original_len[row]),
            outgoing=bool(self.outgoing[row]),
        )


class Blocks(ABC):
    """The sound records from byte ``at`` of a file on, before which there were ``number``.

    Behind the last of them ``at`` stands, at the file's end or at what has to be read by itself; ``file`` then goes on there.
    """

    def __init__(self, file: Ahead, chain: Chain, at: int, number: int) -> None:
        self.file = file
        self.chain = chain
        self.at = at
        self.number = number
        self._mean_bytes = self._max_bytes = 0
        """Of the last block's records."""

    def batches(self) -> Iterator[FrameBatch]:
        size = _FIRST_BLOCK_BYTES
        carry = np.empty(0, dtype=np.uint8)
        while True:
            block = np.empty(len(carry) + size + PADDING, dtype=np.uint8)
            block[: len(carry)] = carry
            got = self.file.fill(block[len(carry) : len(carry) + size].data)
            count = len(carry) + got
            block[count : count + PADDING] = 0
            block = block[: count + PADDING]
            base = self.at
            heads, fields, sound = self._sound(block, count)
            for first in range(0, len(heads), BATCH_ROWS):
                rows = slice(first, first + BATCH_ROWS)
                batch = self.batch(block, heads[rows], fields[rows].astype(np.int64), base)
                self.number += len(batch)
                self.at = base + int(heads[rows][-1]) + self.record_bytes(fields[rows][-1])
                yield batch
            carry = block[self.at - base : count]
            if not sound or not got:
                self.file.give_back(carry.tobytes())
                return
            size = min(size * 2, _BLOCK_BYTES)

    def _sound(self, block: NDArray[np.uint8], count: int) -> tuple[NDArray[np.int64], NDArray[np.uint32], bool]:
        """Where the whole and sound records begin, and their headers; whether what comes after them is merely not here yet."""
        heads = record_heads(block, count, self.chain, self._mean_bytes, self._max_bytes)
        if len(heads) > 1:
            gaps = np.diff(heads)
            self._mean_bytes, self._max_bytes = int(gaps.mean()), int(gaps.max())
        fields, whole, bad = self.judged(block, heads, count)
        stop = np.flatnonzero(bad | ~whole)
        if not len(stop):
            return heads, fields, True
        return heads[: stop[0]], fields[: stop[0]], not bad[stop[0]]

    @abstractmethod
    def judged(
        self, block: NDArray[np.uint8], heads: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.bool_], NDArray[np.bool_]]:
        """The headers as words; which records end inside the first ``count`` bytes; which are not for columns, whole or not."""

    def record_bytes(self, fields: NDArray[np.uint32]) -> int:
        """How long the record with this header is."""
        return self.chain.added + int(fields[self.chain.length_at // 4])

    @abstractmethod
    def batch(self, block: NDArray[np.uint8], heads: NDArray[np.int64], fields: NDArray[np.int64], base: int) -> FrameBatch:
        """The records that begin at ``heads``; the block's byte 0 is byte ``base`` of the file."""


class PcapBlocks(Blocks):
    """The records of a pcap file."""

    def __init__(self, file: Ahead, order: str, unit_ns: int, snaplen: int, link_type: int) -> None:
        super().__init__(file, pcap_chain(order), 24, 0)
        self.unit_ns = unit_ns
        self.snaplen = snaplen
        self.link_type = link_type

    def judged(
        self, block: NDArray[np.uint8], heads: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.bool_], NDArray[np.bool_]]:
        fields = windows(block, heads, self.chain.header).view(self.chain.word)
        whole = heads + self.chain.header + fields[:, 2] <= count
        bad = (fields[:, 1] >= 1_000_000_000 // self.unit_ns) | (fields[:, 2] > PACKET_BYTES_MAX)
        return fields, whole, bad

    def batch(self, block: NDArray[np.uint8], heads: NDArray[np.int64], fields: NDArray[np.int64], base: int) -> FrameBatch:
        caplen = fields[:, 2].copy()
        rows = len(heads)
        no = np.zeros(rows, dtype=np.bool_)
        return FrameBatch(
            number=self.number + 1,
            buffer=block,
            start=heads + self.chain.header,
            caplen=caplen,
            original_len=np.maximum(fields[:, 3], caplen),
            time_ns=fields[:, 0] * 1_000_000_000 + fields[:, 1] * self.unit_ns,
            link_type=np.full(rows, self.link_type, dtype=np.int64),
            outgoing=no,
            over_snaplen=(caplen > self.snaplen) if self.snaplen else no,
            offset=heads + base,
        )


class PcapngBlocks(Blocks):
    """The blocks of a pcapng file that hold a packet each, up to the first of another kind."""

    def __init__(self, file: Ahead, order: str, interfaces: list[Interface], at: int, number: int) -> None:
        super().__init__(file, pcapng_chain(order), at, number)
        self.order = order
        table = [_interface_row(interface) for interface in interfaces]
        self.link_type, self.snaplen, self.unit_ns, self.offset_ns, self.stamp_max = np.array(table, dtype=np.int64).T

    def judged(
        self, block: NDArray[np.uint8], heads: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.bool_], NDArray[np.bool_]]:
        fields = windows(block, heads, _EPB_HEAD).view(self.chain.word)
        kind, length, index, high, _low, caplen, _original = (fields[:, at] for at in range(7))
        ends = heads + length
        whole = ends <= count
        bad = (kind != PCAPNG_PACKET) | (length % 4 != 0) | (length < _EPB_BYTES) | (length > PCAPNG_BLOCK_MAX)
        bad |= (index >= len(self.link_type)) | (caplen > PACKET_BYTES_MAX) | (caplen.astype(np.int64) + _EPB_BYTES > length)
        good = np.flatnonzero(whole & ~bad)
        bad[good] = word_at(block, ends[good] - 4, self.chain.word) != length[good]
        bad[good] |= high[good].astype(np.int64) > self.stamp_max[index[good]] >> 32
        return fields, whole, bad

    def batch(self, block: NDArray[np.uint8], heads: NDArray[np.int64], fields: NDArray[np.int64], base: int) -> FrameBatch:
        _, length, index, high, low, caplen, original_len = (fields[:, at].copy() for at in range(7))
        snaplen = self.snaplen[index]
        return FrameBatch(
            number=self.number + 1,
            buffer=block,
            start=heads + _EPB_HEAD,
            caplen=caplen,
            original_len=np.maximum(original_len, caplen),
            time_ns=(high << 32 | low) * self.unit_ns[index] + self.offset_ns[index],
            link_type=self.link_type[index],
            outgoing=self._outgoing(block, heads + _EPB_HEAD + (caplen + 3 & ~3), heads + length - 4),
            over_snaplen=(snaplen > 0) & (caplen > snaplen),
            offset=heads + base,
        )

    def _outgoing(self, block: NDArray[np.uint8], at: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which packets their options, from ``at`` to ``end``, mark as sent."""
        out = np.zeros(len(at), dtype=np.bool_)
        rows = np.flatnonzero(at + 4 <= end)
        if len(rows):
            head = word_at(block, at[rows], self.chain.word)
            is_end = (head >> 16 if self.order == ">" else head & 0xFFFF) == OPTION_END
            is_flags = head == (OPTION_FLAGS << 16 | 4 if self.order == ">" else 4 << 16 | OPTION_FLAGS)
            for row in rows[~is_end & ~is_flags].tolist():
                out[row] = options_outbound(block.data[at[row] : end[row]], self.order)
            flags = rows[is_flags & (at[rows] + 8 <= end[rows])]
            out[flags] = word_at(block, at[flags] + 4, self.chain.word) & 3 == OUTBOUND
        return out


def _interface_row(interface: Interface) -> tuple[int, int, int, int, int]:
    """Link type, snapshot length, nanoseconds of a unit of its time stamps, what they count from, and the highest stamp of which
    columns can say the time: -1 where a unit is no whole number of nanoseconds.
    """
    common = math.gcd(interface.unit_ns_num, interface.unit_ns_den)
    unit_ns, offset_ns = interface.unit_ns_num // common, interface.offset_ns
    simple = interface.unit_ns_den == common and 0 <= offset_ns < _TIME_NS_MAX
    row = (interface.link_type, interface.snaplen)
    return (*row, unit_ns, offset_ns, _TIME_NS_MAX // unit_ns - (1 << 32)) if simple else (*row, 0, 0, -1)
