# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of a capture in batches of columns, in bounded memory.

Where a record of a pcap file begins is known only from the one before it. A block of the file is therefore cut into lanes: in each
a place is guessed that looks like a record's header, all lanes are walked at the same time, and a guess counts only if the walk of
the lane before ends exactly there. So the records are the ones that a walk from the first to the last finds, whatever was guessed.

What is not a whole, sound record of an uncompressed pcap file is read by ``softnet.scenario.capture``, frame by frame, which has
the words for everything that can be wrong.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from softnet.errors import CaptureError
from softnet.scenario.capture import PACKET_BYTES_MAX, PCAP_MAGIC, Frame, Notes, Reader, captured_input, read_frames
from softnet.scenario.traffic_models import STANDARD_INPUT

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bytes that can be read behind the last frame of a batch's buffer.
PADDING: Final = 96
BATCH_ROWS: Final = 16_384
_FIRST_BLOCK_BYTES: Final = 1 << 18
_BLOCK_BYTES: Final = 1 << 23
_FRAMES_BYTES: Final = 1 << 22
_HEADER: Final = 16
_LANE_BYTES: Final = 1 << 13
_LANE_RECORDS: Final = 32
"""A lane holds so many records, where they are longer than most."""
_LANES_MIN: Final = 8
"""Of fewer the walk in Python is quicker."""
_STEPS: Final = 8
"""Of a walk from one look at who has arrived to the next."""
_GUESS_BYTES: Final = 2048
"""How far into its lane a header is looked for: beyond a frame of 1,514 bytes."""


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


def read_batches(path: str | Path, notes: Notes) -> Iterator[FrameBatch]:
    """Every record of a capture, in file order. ``notes`` takes where the file was cut off; what else it counts is in the columns.

    Raises ``CaptureError`` as ``read_frames()`` does, after the batch of what stands before the bad place.
    """
    name = str(path)
    real = captured_input() if name == STANDARD_INPUT else path
    try:
        with open(real, "rb") as file:
            status = os.fstat(file.fileno())
            head = os.pread(file.fileno(), 24, 0) if stat.S_ISREG(status.st_mode) else b""
            if len(head) == 24 and head[:4] in PCAP_MAGIC:
                order, unit_ns = PCAP_MAGIC[head[:4]]
                major, _minor, _zone, _sigfigs, snaplen, network = struct.unpack(order + "HHiIII", head[4:])
                if major == 2:
                    walk = _PcapBlocks(file, order, unit_ns, snaplen, network & 0xFFFF)
                    yield from walk.batches()
                    if walk.at < status.st_size:
                        own = Notes()
                        rest = Reader(file, name, status.st_size, own).pcap_from(head, walk.at, walk.number)
                        yield from _of_frames(rest, own, notes)
                    return
    except OSError as error:
        raise CaptureError("the capture cannot be read", where=name, found=error.strerror or str(error)) from None
    own = Notes()
    yield from _of_frames(read_frames(path, own), own, notes)


def _of_frames(frames: Iterator[Frame], own: Notes, notes: Notes) -> Iterator[FrameBatch]:
    """Frames that come one by one; ``own`` are the notes of their reader, which is ahead of who takes the batches."""
    before = own.over_snaplen
    while True:
        taken: list[Frame] = []
        over: list[bool] = []
        size = 0
        failure: CaptureError | None = None
        try:
            while len(taken) < BATCH_ROWS // 4 and size < _FRAMES_BYTES:
                frame = next(frames, None)
                if frame is None:
                    break
                taken.append(frame)
                over.append(own.over_snaplen > before)
                before = own.over_snaplen
                size += len(frame.data)
        except CaptureError as error:
            failure = error
        if taken:
            yield _batch_of_frames(taken, over)
        if failure is not None:
            raise failure
        if not taken:
            notes.cut_off = own.cut_off
            notes.over_snaplen += own.over_snaplen - before  # the frame that the file's end cuts off
            return


def _batch_of_frames(frames: list[Frame], over: list[bool]) -> FrameBatch:
    caplen = np.array([len(frame.data) for frame in frames], dtype=np.int64)
    return FrameBatch(
        number=frames[0].number,
        buffer=np.frombuffer(b"".join([*(frame.data for frame in frames), bytes(PADDING)]), dtype=np.uint8),
        start=np.cumsum(caplen) - caplen,
        caplen=caplen,
        original_len=np.array([frame.original_len for frame in frames], dtype=np.int64),
        time_ns=np.array([-1 if frame.time_ns is None else frame.time_ns for frame in frames], dtype=np.int64),
        link_type=np.array([frame.link_type for frame in frames], dtype=np.int64),
        outgoing=np.array([frame.outgoing for frame in frames], dtype=np.bool_),
        over_snaplen=np.array(over, dtype=np.bool_),
        offset=np.array([frame.offset for frame in frames], dtype=np.int64),
    )


class _PcapBlocks:
    """The sound records of a pcap file, block by block. Behind the last of them stands ``at``, the file's end or a bad record."""

    def __init__(self, file: BufferedReader, order: str, unit_ns: int, snaplen: int, link_type: int) -> None:
        self.file = file
        self.word = np.dtype(order + "u4")
        self.big = order == ">"
        self.unit_ns = unit_ns
        self.snaplen = snaplen
        self.link_type = link_type
        self.at = 24
        """Byte of the file where the next record begins."""
        self.number = 0
        """Records so far."""
        self.mean_bytes = self.max_bytes = 0
        """Of the last block's records."""

    def batches(self) -> Iterator[FrameBatch]:
        size = _FIRST_BLOCK_BYTES
        self.file.seek(self.at)
        carry = np.empty(0, dtype=np.uint8)
        while True:
            block = np.empty(len(carry) + size + PADDING, dtype=np.uint8)
            block[: len(carry)] = carry
            got = self.file.readinto(block[len(carry) : len(carry) + size].data)
            count = len(carry) + got
            block[count : count + PADDING] = 0
            block = block[: count + PADDING]
            base = self.at
            heads, fields, sound = self.sound(block, count)
            for first in range(0, len(heads), BATCH_ROWS):
                rows = slice(first, first + BATCH_ROWS)
                yield self.batch(block, heads[rows], fields[rows].astype(np.int64), base)
            if not sound or not got:
                return
            carry = block[self.at - base : count]
            size = min(size * 2, _BLOCK_BYTES)

    def sound(self, block: NDArray[np.uint8], count: int) -> tuple[NDArray[np.int64], NDArray[np.uint32], bool]:
        """Where the whole and sound records begin, and their headers; whether what comes after them is merely not here yet."""
        heads = record_heads(block, count, self.word, self.mean_bytes, self.max_bytes)
        if len(heads) > 1:
            gaps = np.diff(heads)
            self.mean_bytes, self.max_bytes = int(gaps.mean()), int(gaps.max())
        fields = windows(block, heads, _HEADER).view(self.word)
        whole = heads + _HEADER + fields[:, 2] <= count
        bad = (fields[:, 1] >= 1_000_000_000 // self.unit_ns) | (fields[:, 2] > PACKET_BYTES_MAX)
        stop = np.flatnonzero(bad | ~whole)
        if not len(stop):
            return heads, fields, True
        return heads[: stop[0]], fields[: stop[0]], not bad[stop[0]]

    def batch(self, block: NDArray[np.uint8], heads: NDArray[np.int64], fields: NDArray[np.int64], base: int) -> FrameBatch:
        """The records that begin at ``heads``; the block's byte 0 is byte ``base`` of the file."""
        caplen = fields[:, 2].copy()
        rows = len(heads)
        no = np.zeros(rows, dtype=np.bool_)
        out = FrameBatch(
            number=self.number + 1,
            buffer=block,
            start=heads + _HEADER,
            caplen=caplen,
            original_len=np.maximum(fields[:, 3], caplen),
            time_ns=fields[:, 0] * 1_000_000_000 + fields[:, 1] * self.unit_ns,
            link_type=np.full(rows, self.link_type, dtype=np.int64),
            outgoing=no,
            over_snaplen=(caplen > self.snaplen) if self.snaplen else no,
            offset=heads + base,
        )
        self.number += rows
        self.at = base + int(heads[-1]) + _HEADER + int(caplen[-1])
        return out


def windows(buffer: NDArray[np.uint8], at: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """``width`` bytes from each place on, (rows, width); the places are inside the buffer, with as many bytes behind them."""
    overlapping = np.ndarray((len(buffer) - width + 1,), dtype=f"V{width}", buffer=buffer, strides=(1,))
    return overlapping[at].view(np.uint8).reshape(len(at), width)


def _at(buffer: NDArray[np.uint8], at: NDArray[np.int64], kind: np.dtype[np.uint32]) -> NDArray[np.int64]:
    """The word at each place."""
    return np.ndarray((len(buffer) - 3,), dtype=kind, buffer=buffer, strides=(1,))[at].astype(np.int64)


def record_heads(
    block: NDArray[np.uint8], count: int, word: np.dtype[np.uint32], mean_bytes: int = 0, max_bytes: int = 0
) -> NDArray[np.int64]:
    """Where the records of a block begin whose first begins at its byte 0: all whose header is inside the first ``count`` bytes.

    Lengths are believed: the last record may end behind the block. How long records were before decides how the block is cut, and
    nothing else.
    """
    if count < _HEADER:
        return np.empty(0, dtype=np.int64)
    lanes = count // max(_LANE_BYTES, _LANE_RECORDS * mean_bytes)
    window = min(max_bytes + _HEADER, _GUESS_BYTES) if max_bytes else _GUESS_BYTES
    starts = _guesses(block, count, word, lanes, window) if lanes >= _LANES_MIN else np.zeros(1, dtype=np.int64)
    if len(starts) < _LANES_MIN:
        return np.array(_walk(block, 0, count, word, {}), dtype=np.int64)
    walked, limit = _walk_lanes(block, count, word, starts)
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
        found = _walk(block, at, count, word, lane_at)
        out.append(np.array(found, dtype=np.int64))
        if found:
            at = found[-1] + _HEADER + int(_at(block, out[-1][-1:] + 8, word)[0])
        if at not in lane_at:
            return np.concatenate(out)
        lane = lane_at[at]


def _walk(block: NDArray[np.uint8], at: int, count: int, word: np.dtype[np.uint32], until: dict[int, int]) -> list[int]:
    """The records from ``at`` on, one after the other, up to one of ``until``."""
    unpack = struct.Struct((">" if word.byteorder == ">" else "<") + "I").unpack_from
    view = block.data
    last = count - _HEADER
    out: list[int] = []
    while at <= last and at not in until:
        out.append(at)
        at += _HEADER + unpack(view, at + 8)[0]
    return out


def _plausible(block: NDArray[np.uint8], at: NDArray[np.int64], count: int, word: np.dtype[np.uint32]) -> NDArray[np.int64]:
    """Where the record after the one at ``at`` begins; -1 where there seems to be none."""
    inside = (at >= 0) & (at + _HEADER <= count)
    place = np.where(inside, at, 0)
    seconds, fraction, caplen, original_len = (_at(block, place + field, word) for field in (0, 4, 8, 12))
    first = int(_at(block, np.zeros(1, dtype=np.int64), word)[0])
    good = inside & (np.abs(seconds - first) < 1 << 16) & (fraction < 1_000_000_000) & (caplen > 0)
    good &= (caplen <= PACKET_BYTES_MAX) & (caplen <= original_len)
    return np.where(good, at + _HEADER + caplen, -1)


def _guesses(
    block: NDArray[np.uint8], count: int, word: np.dtype[np.uint32], lanes: int, window: int
) -> NDArray[np.int64]:
    """Places that look like headers, the first being byte 0: at most one for each lane, in its first ``window`` bytes."""
    top = 0 if word.byteorder == ">" else 3
    lane_bytes = count // lanes
    seen = np.ndarray((lanes - 1, window), dtype=np.uint8, buffer=block, offset=lane_bytes, strides=(lane_bytes, 1))
    # The highest byte of the seconds is another one every half a year.
    lane, inside = np.divmod(np.flatnonzero(seen[:, top:] == block[top]), window - top)
    place = (lane + 1) * lane_bytes + inside
    at = place
    for _ in range(3):
        after = _plausible(block, at, count, word)
        # Nobody can say that of a record that ends with the block or behind it.
        keep = (after >= 0) & (after + _HEADER <= count)
        place, lane, at = place[keep], lane[keep], after[keep]
    _, first = np.unique(lane, return_index=True)
    return np.concatenate([np.zeros(1, dtype=np.int64), place[first]])


def _walk_lanes(
    block: NDArray[np.uint8], count: int, word: np.dtype[np.uint32], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the records of every lane begin, (steps, lanes), and where each lane ends; all are walked beyond their ends."""
    caplen = np.ndarray((len(block) - 11,), dtype=word, buffer=block, offset=8, strides=(1,))
    limit = np.append(starts[1:], count - _HEADER + 1)
    last = count - _HEADER
    at = starts
    steps = [at]
    while True:
        for _ in range(_STEPS):
            at = at + caplen[np.minimum(at, last)]
            at += _HEADER
            steps.append(at)
        if not (at < limit).any():
            return np.stack(steps), limit
