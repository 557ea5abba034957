# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the records of a capture begin, many at once, though each is known only from the one before it.

A block of the file is cut into lanes: in each a place is guessed that looks like a record's header, all lanes are walked at the
same time, and a guess counts only if the walk of the lane before ends exactly there. So the records are the ones that a walk from
the first to the last finds, whatever was guessed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from softnet.scenario.capture import PACKET_BYTES_MAX

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bytes that can be read behind what is in a block.
PADDING: Final = 96
_LANE_BYTES: Final = 1 << 13
_LANE_RECORDS: Final = 32
"""A lane holds so many records, where they are longer than most."""
_LANES_MIN: Final = 8
"""Of fewer the walk in Python is quicker."""
_STEPS: Final = 8
"""Of a walk from one look at who has arrived to the next."""
_GUESS_BYTES: Final = 2048
"""How far into its lane a header is looked for: beyond a frame of 1,514 bytes."""

PCAPNG_PACKET: Final = 6
"""The kind of block that holds a packet (Enhanced Packet Block)."""
PCAPNG_BLOCK_MAX: Final = 1 << 21
"""Of such a block: the largest packet and more options than anybody writes."""


class Chain(NamedTuple):
    """How one record of a format leads to the next."""

    word: np.dtype[np.uint32]
    """A number of 32 bits, in the file's byte order."""
    header: int
    """Bytes that every record has at least."""
    length_at: int
    """Where in it its length stands."""
    added: int
    """What that length leaves out."""
    pcapng: bool

    def plausible(self, block: NDArray[np.uint8], at: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Where the record after the one at ``at`` begins; -1 where there seems to be none."""
        inside = (at >= 0) & (at + 32 <= count)
        place = np.where(inside, at, 0)
        if self.pcapng:
            kind, length, caplen = (word_at(block, place + field, self.word) for field in (0, 4, 20))
            good = inside & (kind == PCAPNG_PACKET) & (length >= 32) & (length % 4 == 0)
            good &= (length <= PCAPNG_BLOCK_MAX) & (caplen <= length - 32)
        else:
            seconds, fraction, length, original_len = (word_at(block, place + field, self.word) for field in (0, 4, 8, 12))
            first = int(word_at(block, np.zeros(1, dtype=np.int64), self.word)[0])
            good = inside & (np.abs(seconds - first) < 1 << 16) & (fraction < 1_000_000_000) & (length > 0)
            good &= (length <= PACKET_BYTES_MAX) & (length <= original_len)
        return np.where(good, at + self.added + length, -1)

    def spots(
        self, block: NDArray[np.uint8], lanes: int, lane_bytes: int, window: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where a header could begin in the first bytes of each lane but the first, and in which lane."""
        seen = np.ndarray((lanes - 1, window), dtype=np.uint8, buffer=block, offset=lane_bytes, strides=(lane_bytes, 1))
        if self.pcapng:  # whose blocks begin at multiples of four
            lane, inside = np.divmod(np.flatnonzero(seen.view(self.word) == PCAPNG_PACKET), window // 4)
            inside *= 4
        else:
            # The highest byte of the seconds is another one every half a year.
            top = 0 if self.word.byteorder == ">" else 3
            lane, inside = np.divmod(np.flatnonzero(seen[:, top:] == block[top]), window - top)
        return (lane + 1) * lane_bytes + inside, lane


def pcap_chain(order: str) -> Chain:
    """The chain of a pcap file's records."""
    return Chain(np.dtype(order + "u4"), 16, 8, 16, False)


def pcapng_chain(order: str) -> Chain:
    """The chain of a pcapng file's blocks."""
    return Chain(np.dtype(order + "u4"), 12, 4, 0, True)


def windows(buffer: NDArray[np.uint8], at: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """``width`` bytes from each place on, (rows, width); the places are inside the buffer, with as many bytes behind them."""
    overlapping = np.ndarray((len(buffer) - width + 1,), dtype=f"V{width}", buffer=buffer, strides=(1,))
    return overlapping[at].view(np.uint8).reshape(len(at), width)


def word_at(buffer: NDArray[np.uint8], at: NDArray[np.int64], kind: np.dtype[np.uint32]) -> NDArray[np.int64]:
    """The word at each place."""
    return np.ndarray((len(buffer) - 3,), dtype=kind, buffer=buffer, strides=(1,))[at].astype(np.int64)


def record_heads(block: NDArray[np.uint8], count: int, chain: Chain, mean_bytes: int = 0, max_bytes: int = 0) -> NDArray[np.int64]:
    """Where the records of a block begin whose first begins at its byte 0: all whose header is inside the first ``count`` bytes.

    Lengths are believed: the last record may end behind the block. How long records were before decides how the block is cut, and
    nothing else.
    """
    if count < chain.header:
        return np.empty(0, dtype=np.int64)
    lanes = count // max(_LANE_BYTES, _LANE_RECORDS * mean_bytes)
    window = min(max_bytes + chain.header + 3 & ~3, _GUESS_BYTES) if max_bytes else _GUESS_BYTES
    starts = _guesses(block, count, chain, lanes, window) if lanes >= _LANES_MIN else np.zeros(1, dtype=np.int64)
    if len(starts) < _LANES_MIN:
        return np.array(_walk(block, 0, count, chain, {}), dtype=np.int64)
    walked, limit = _walk_lanes(block, count, chain, starts)
    inside = walked < limit
    lengths = inside.sum(axis=0)
    ends = walked[lengths, np.arange(len(starts))]
    if np.array_equal(ends[:-1], starts[1:]):
        return walked.T[inside.T]
    lane_at = {int(start): lane for lane, start in enumerate(starts)}
    out: list[NDArray[np.int64]] = []
    lane = 0
    while True:
        out.append(walked[: lengths[lane], lane])
        at = int(ends[lane])
        if at in lane_at:
            lane = lane_at[at]
            continue
        # The lane behind began at no record.
        found = _walk(block, at, count, chain, lane_at)
        out.append(np.array(found, dtype=np.int64))
        if found:
            length = int(word_at(block, out[-1][-1:] + chain.length_at, chain.word)[0])
            at = found[-1] + max(chain.added + length, chain.header)
        if at not in lane_at:
            return np.concatenate(out)
        lane = lane_at[at]


def _walk(block: NDArray[np.uint8], at: int, count: int, chain: Chain, until: dict[int, int]) -> list[int]:
    """The records from ``at`` on, one after the other, up to one of ``until``."""
    unpack = struct.Struct((">" if chain.word.byteorder == ">" else "<") + "I").unpack_from
    view = block.data
    last = count - chain.header
    out: list[int] = []
    while at <= last and at not in until:
        out.append(at)
        at += max(chain.added + unpack(view, at + chain.length_at)[0], chain.header)
    return out


def _guesses(block: NDArray[np.uint8], count: int, chain: Chain, lanes: int, window: int) -> NDArray[np.int64]:
    """Places that look like headers, the first being byte 0: at most one for each lane, in its first ``window`` bytes."""
    place, lane = chain.spots(block, lanes, count // lanes & ~3, window)
    at = place
    for _ in range(3):
        after = chain.plausible(block, at, count)
        # Nobody can say that of a record that ends with the block or behind it.
        keep = (after >= 0) & (after + chain.header <= count)
        place, lane, at = place[keep], lane[keep], after[keep]
    _, first = np.unique(lane, return_index=True)
    return np.concatenate([np.zeros(1, dtype=np.int64), place[first]])


def _walk_lanes(
    block: NDArray[np.uint8], count: int, chain: Chain, starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the records of every lane begin, (steps, lanes), and where each lane ends; all are walked beyond their ends."""
    place = chain.length_at
    length = np.ndarray((len(block) - place - 3,), dtype=chain.word, buffer=block, offset=place, strides=(1,))
    last = count - chain.header
    limit = np.append(starts[1:], last + 1)
    at = starts
    steps = [at]
    while True:
        for _ in range(_STEPS):
            step = length[np.minimum(at, last)]
            if chain.pcapng:  # a length that cannot be must not stop the walk
                step = np.maximum(step, chain.header)
            at = at + step
            at += chain.added
            steps.append(at)
        if not (at < limit).any():
            return np.stack(steps), limit
