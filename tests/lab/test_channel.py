# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames survive any cutting of the stream, and a stream that carries none is refused."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softnet.lab.errors import LabError
from softnet.lab.guest.channel import Channel
from softnet.lab.vm.channel import FRAME_BYTES_MAX, FrameReader, split_blob

_FRAMES = st.lists(st.tuples(st.sampled_from("HPDREB"), st.binary(max_size=40)), max_size=8)


@given(_FRAMES, st.lists(st.integers(1, 30), min_size=1))
def test_frames_come_out_whole_however_the_stream_is_cut(frames: list[tuple[str, bytes]], cuts: list[int]) -> None:
    stream = b"".join(kind.encode() + struct.pack(">I", len(data)) + data for kind, data in frames)
    reader, out, at, turn = FrameReader(), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        out += list(reader.feed(stream[at : at + step]))
        at, turn = at + step, turn + 1
    assert out == frames


@pytest.mark.parametrize("junk", [b"?" * 8, b"H" + struct.pack(">I", FRAME_BYTES_MAX + 1), b"[  2.1] Oops"])
def test_what_is_no_frame_is_refused(junk: bytes) -> None:
    with pytest.raises(LabError, match="no frame"):
        list(FrameReader().feed(junk))


def test_the_guests_half_speaks_what_the_hosts_half_reads() -> None:
    read_fd, write_fd = os.pipe()
    channel = Channel.__new__(Channel)
    channel.fd = write_fd
    channel.say("half way")
    channel.blob("pages/0", b"\0\1\2")
    channel.blob("empty", b"")
    channel.send("B", b"")
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as stream:
        frames = list(FrameReader().feed(stream.read()))
    assert [kind for kind, _ in frames] == ["P", "D", "D", "B"]
    assert frames[0][1] == b"half way"
    assert [split_blob(frames[at][1]) for at in (1, 2)] == [("pages/0", b"\0\1\2"), ("empty", b"")]
