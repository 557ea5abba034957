# SPDX-License-Identifier: GPL-2.0-or-later
"""The archive writer, held against cpio(1) where it is installed and against the format everywhere."""

from __future__ import annotations

import shutil
import stat
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softnet.lab.vm import cpio

_NAMES = st.lists(st.text("abc.-", min_size=1, max_size=5).filter(lambda s: s.strip(".")), min_size=1, max_size=3)


def _read(blob: bytes) -> list[tuple[str, int, bytes]]:
    """(name, mode, data) of each member, read by the letter of the format."""
    at, out = 0, []
    while True:
        assert blob[at : at + 6] == b"070701"
        fields = [int(blob[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = blob[at + 110 : at + 110 + name_size - 1].decode()
        body = (at + 110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return out
        out.append((name, mode, blob[body : body + size]))
        at = (body + size + 3) // 4 * 4


@given(st.lists(st.tuples(_NAMES, st.binary(max_size=9), st.booleans()), max_size=6))
def test_every_file_comes_back_after_its_parents(files: list[tuple[list[str], bytes, bool]]) -> None:
    wanted = {"/".join(parts) + ".file": (data, run) for parts, data, run in files}
    blob = cpio.archive(cpio.regular(name, data, executable=run) for name, (data, run) in wanted.items())
    assert len(blob) % 4 == 0
    members = _read(blob)
    names = [name for name, _, _ in members]
    assert len(names) == len(set(names))
    for name, mode, data in members:
        parent = name.rpartition("/")[0]
        assert not parent or names.index(parent) < names.index(name)
        if name in wanted:
            assert (data, bool(mode & 0o111)) == wanted[name]
        else:
            assert stat.S_ISDIR(mode)
    assert set(wanted) <= set(names)


def test_cpio_itself_lists_what_was_written() -> None:
    if shutil.which("cpio") is None:
        pytest.skip("cpio is not here: apt-get install cpio")
    entries = [
        cpio.character_device("dev/console", 5, 1),
        cpio.symlink("bin/sh", "busybox"),
        cpio.regular("init", b"#!/bin/sh\n", executable=True),
    ]
    done = subprocess.run(["cpio", "-itv", "--quiet"], input=cpio.archive(entries), capture_output=True, check=True)
    lines = done.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == [
        "drwxr-xr-x",
        "crw-------",
        "drwxr-xr-x",
        "lrwxrwxrwx",
        "-rwxr-xr-x",
    ]
    assert [line.split()[-1] for line in lines] == ["dev", "dev/console", "bin", "busybox", "init"]
