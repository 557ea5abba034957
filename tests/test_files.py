# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading with a bound: memory follows what there is to read, and the bound holds for what says nothing of its length."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from softnet.errors import SoftnetError
from softnet.files import read_bounded


def test_room_is_taken_for_what_there_is_and_not_for_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5000)
    assert read_bounded(path, 1 << 50, SoftnetError, "recording") == b"x" * 5000


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 5000])
def test_the_limit_is_the_last_length_that_is_read(length: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(length))
    if length <= 100:
        assert read_bounded(path, 100, SoftnetError, "recording") == bytes(length)
        return
    with pytest.raises(SoftnetError, match="too large for a recording"):
        read_bounded(path, 100, SoftnetError, "recording")


@pytest.mark.parametrize("length", [3_000_000, 3_000_001])
def test_a_pipe_is_read_to_its_end_or_to_the_limit(length: int, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        try:
            with open(pipe, "wb") as stream:
                stream.write(bytes(length))
        except BrokenPipeError:
            pass  # the reader had enough

    writer = threading.Thread(target=write)
    writer.start()
    try:
        if length == 3_000_000:
            assert read_bounded(pipe, 3_000_000, SoftnetError, "recording") == bytes(length)
        else:
            with pytest.raises(SoftnetError, match="too large"):
                read_bounded(pipe, 3_000_000, SoftnetError, "recording")
    finally:
        writer.join()


def test_a_file_of_proc_which_says_that_it_is_empty_is_read() -> None:
    assert os.stat("/proc/self/status").st_size == 0
    assert b"Pid:" in read_bounded("/proc/self/status", 1 << 20, SoftnetError, "status")
