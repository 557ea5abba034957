# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading and writing the small files of /proc and /sys."""

from __future__ import annotations

import os


def write_setting(path: str, value: str) -> None:
    """Write one setting; the error names the file and the value."""
    try:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(f"writing {value!r} to {path}: {error.strerror}") from error


def read_text(path: str) -> str:
    """All of a text file."""
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def task_names() -> dict[str, str]:
    """Process id -> name of every task, the kernel's threads included."""
    names = {}
    for entry in sorted(os.listdir("/proc")):
        if entry.isdigit():
            try:
                names[entry] = read_text(f"/proc/{entry}/comm").strip()
            except OSError:
                continue
    return names
