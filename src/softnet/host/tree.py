# SPDX-License-Identifier: GPL-2.0-or-later
"""Files below a root directory: a live machine's ``/``, or a copy of another's. Reads are bounded, and what fails is written down.

A copy may come from anybody: a link that leads out of it is not followed, and only regular files are opened.
"""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path
from typing import Final

from softnet.host.model import Unread

FILE_MAX: Final = 16 * 1024 * 1024
"""/proc/interrupts of 512 CPUs and 2,000 interrupts has 11 MB."""
ENTRIES_MAX: Final = 100_000
UNREAD_MAX: Final = 40


READ_BYTES: Final = 65536
"""At once. /proc/sys refuses to read as much as KMALLOC_MAX_SIZE, 4 MiB, in one call: fs/proc/proc_sysctl.c."""


def _whole(fd: int) -> bytes:
    """What a regular file holds."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError("not a regular file")
    parts, size = [], 0
    while part := os.read(fd, READ_BYTES):
        parts.append(part)
        size += len(part)
        if size > FILE_MAX:
            raise OSError(f"more than {FILE_MAX:,} bytes")
    return b"".join(parts)


class Tree:
    """A machine's files. ``name`` is what stands before a path in evidence: nothing for the machine itself."""

    def __init__(self, root: str | Path = "/") -> None:
        self.root = Path(root)
        self.live = os.path.realpath(root) == "/"
        self._real = os.path.realpath(root)
        self.unread: dict[str, str] = {}

    def place(self, path: str) -> str:
        """A path as evidence shows it: as it was on that machine."""
        return path if self.live else str(self.root / path.lstrip("/"))

    def _within(self, path: str) -> str | None:
        full = os.path.join(self._real, path.lstrip("/"))
        if "\0" in path:
            return None
        if self.live:
            return full
        real = os.path.realpath(full)
        return real if real == self._real or real.startswith(self._real + os.sep) else None

    def data(self, path: str, *, wanted: bool = False) -> bytes | None:
        """A file's bytes, or None; where it is ``wanted``, its absence is written down as well as other failures."""
        full = self._within(path)
        try:
            if full is None:
                raise OSError("it leads out of the directory")
            fd = os.open(full, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            try:
                return _whole(fd)
            finally:
                os.close(fd)
        except FileNotFoundError:
            if wanted:
                self.missed(path, "no such file")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            if wanted or isinstance(error, PermissionError):
                self.missed(path, reason)
        return None

    def text(self, path: str, *, wanted: bool = False) -> str | None:
        """A file's text, or None."""
        found = self.data(path, wanted=wanted)
        return None if found is None else found.decode("utf-8", errors="replace")

    def line(self, path: str) -> str:
        """The first line of a small file, or nothing."""
        found = self.text(path)
        return "" if found is None else found.partition("\n")[0].strip()[:4096]

    def number(self, path: str) -> int | None:
        """A file that holds one number that is not negative, or None."""
        text = self.line(path)
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None

    def unpacked(self, path: str) -> str | None:
        """The text of a gzip file, or None."""
        found = self.data(path)
        if found is None:
            return None
        try:
            return zlib.decompressobj(31).decompress(found, FILE_MAX).decode("utf-8", errors="replace")
        except zlib.error as error:
            self.missed(path, str(error))
            return None

    def names(self, path: str, *, wanted: bool = False) -> list[str]:
        """What a directory holds, in order: numbers by value."""
        full = self._within(path)
        try:
            if full is None:
                raise OSError("it leads out of the directory")
            found = os.listdir(full)
        except OSError as error:
            if wanted:
                self.missed(path, error.strerror or str(error))
            return []
        return sorted(
            found[:ENTRIES_MAX], key=lambda n: (0, int(n), n) if n.isascii() and n.isdecimal() and len(n) < 20 else (1, 0, n)
        )

    def link(self, path: str) -> str:
        """The last part of what a link leads to, or nothing."""
        try:
            return os.path.basename(os.readlink(os.path.join(self._real, path.lstrip("/"))))
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        full = self._within(path)
        return full is not None and os.path.exists(full)

    def missed(self, path: str, why: str) -> None:
        """Write down what could not be read."""
        if len(self.unread) < UNREAD_MAX:
            self.unread.setdefault(self.place(path), why)

    def missing(self) -> list[Unread]:
        """What could not be read so far."""
        return [Unread(what=what[:4096], why=why[:400]) for what, why in self.unread.items()]
