# SPDX-License-Identifier: GPL-2.0-or-later
"""Write a cpio archive in the "newc" format, the one that Linux unpacks as its initramfs.

Written here rather than by calling cpio(1) so that nothing but Python is needed, and so that the same input
gives the same bytes: owners are root, times are zero, inode numbers count up.
Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder, symbolic link or device node; ``path`` has no leading slash."""

    path: str
    mode: int
    data: bytes = b""
    rdev_major: int = 0
    rdev_minor: int = 0


def folder(path: str) -> Entry:
    """A folder that everybody may read."""
    return Entry(path, stat.S_IFDIR | 0o755)


def regular(path: str, data: bytes, *, executable: bool = False) -> Entry:
    """A regular file."""
    return Entry(path, stat.S_IFREG | (0o755 if executable else 0o644), data)


def symlink(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def character_device(path: str, major: int, minor: int) -> Entry:
    """A character device node."""
    return Entry(path, stat.S_IFCHR | 0o600, b"", major, minor)


def _pad(length: int) -> bytes:
    return b"\0" * (-length % 4)


def _member(inode: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        inode,
        entry.mode,
        0,
        0,
        links,
        0,
        len(entry.data),
        0,
        0,
        entry.rdev_major,
        entry.rdev_minor,
        len(name),
        0,
    )
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return b"".join((header, name, _pad(len(header) + len(name)), entry.data, _pad(len(entry.data))))


def archive(entries: Iterable[Entry]) -> bytes:
    """The archive of ``entries``, with every missing parent folder put in before its first child."""
    members: list[Entry] = []
    seen: set[str] = set()
    for entry in entries:
        parts = entry.path.split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            if parent not in seen:
                seen.add(parent)
                members.append(folder(parent))
        if entry.path not in seen:
            seen.add(entry.path)
            members.append(entry)
    members.append(Entry(_TRAILER, 0))
    blob = b"".join(_member(number, entry) for number, entry in enumerate(members, start=1))
    return blob + _pad(len(blob))
