# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of a capture in batches of columns, in bounded memory.

What is not a whole, sound record of a pcap file or a packet's block of a pcapng file is read by ``softnet.scenario.capture``, frame
by frame, which has the words for everything that can be wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from softnet.errors import CaptureError
from softnet.scenario.capture import PCAP_MAGIC, PCAPNG_MAGIC, Frame, Notes, opened
from softnet.scenario.record_blocks import BATCH_ROWS, FrameBatch, PcapBlocks, PcapngBlocks
from softnet.scenario.record_chain import PADDING

_FRAMES_BYTES: Final = 1 << 22
_ROWS_MIN: Final = 4
_ROWS_MAX: Final = BATCH_ROWS // 4
"""Frames that are read one by one before columns are tried again."""


def read_batches(path: str | Path, notes: Notes) -> Iterator[FrameBatch]:
    """Every record of a capture, in file order. ``notes`` takes where the file was cut off; what else it counts is in the columns.

    Raises ``CaptureError`` as ``read_frames()`` does, after the batch of what stands before the bad place.
    """
    own = Notes()  # of the reader, which is ahead of who takes the batches
    with opened(path, own) as reader:
        head = reader.ahead.peek(24)
        pcap = PCAP_MAGIC.get(head[:4])
        if pcap is not None and len(head) == 24 and struct.unpack_from(pcap[0] + "H", head, 4)[0] == 2:
            snaplen, network = struct.unpack_from(pcap[0] + "II", head, 16)
            reader.ahead.read(24)
            walk = PcapBlocks(reader.ahead, *pcap, snaplen, network & 0xFFFF)
            yield from walk.batches()
            frames = reader.pcap_from(head, walk.at, walk.number)
        else:
            frames = reader.noted(reader.records())
        rows = _ROWS_MIN if head[:4] == PCAPNG_MAGIC else _ROWS_MAX
        ended = False
        while not ended:
            batch, failure, ended = _one_by_one(frames, own, rows)
            if batch is not None:
                yield batch
            if failure is not None:
                raise failure
            if not ended and reader.interfaces:
                blocks = PcapngBlocks(reader.ahead, reader.order, reader.interfaces, reader.pos, reader.number)
                yield from blocks.batches()
                rows = _ROWS_MIN if blocks.number > reader.number else min(4 * rows, _ROWS_MAX)
                reader.pos, reader.number = blocks.at, blocks.number
                reader.whole = max(reader.whole, blocks.number)
    notes.cut_off = own.cut_off
    notes.over_snaplen += own.over_snaplen  # the frame that the file's end cuts off


def _one_by_one(frames: Iterator[Frame | None], own: Notes, rows: int) -> tuple[FrameBatch | None, CaptureError | None, bool]:
    """The next ``rows`` frames, up to where more may follow; what stopped them; whether the file has ended."""
    taken: list[Frame] = []
    over: list[bool] = []
    size = 0
    failure: CaptureError | None = None
    ended = True
    try:
        for frame in frames:
            if frame is not None:
                taken.append(frame)
                over.append(own.over_snaplen > 0)
                own.over_snaplen = 0
                size += len(frame.data)
            elif len(taken) >= rows or size >= _FRAMES_BYTES:
                ended = False
                break
    except CaptureError as error:
        failure = error
    return _batch_of_frames(taken, over) if taken else None, failure, ended


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
