# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiled kernels on disk: ``$SOFTNET_CACHE``, else ``$XDG_CACHE_HOME/softnet``, else ``~/.cache/softnet``, in ``native/``.

The memo of each stack of modules (lang.program.memo) is in the same folder.

An entry's name is the hash of everything that decides its content, so a changed source is another entry. An entry appears whole:
concurrent writers each leave a whole file, a killed writer none. The content carries its own hash, so a damaged file is no entry.
What is here is run: folder and files belong to the user and nobody else can write them, or they are as if they were not there.
Deleting the folder is always safe.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from softnet.files import cache_base, distrusted, from_json, own_folder, wait_for_byte, write_whole

MAGIC: Final = b"softnet native 1\n"
ENTRIES_MAX: Final = 512
"""The least recently used entries above this number are removed."""
SUFFIX: Final = ".kernel"
MARK: Final = ".checked"
MARKS_MAX: Final = 1024
DERIVED: Final = ".linked"
"""The suffix of a memo (lang.program.memo)."""
LOCK: Final = "building.lock"


class Entry(NamedTuple):
    """A compiled kernel on disk."""

    path: Path
    size: int
    about: dict[str, Any]
    """What the entry says about itself, ``label`` among it."""


def cache_dir() -> Path:
    """The folder of compiled kernels; it need not exist."""
    return cache_base() / "native"


def load(key: str) -> tuple[dict[str, Any], bytes] | None:
    """What was stored under ``key``: the description and the object code, or None."""
    path = cache_dir() / (key + SUFFIX)
    found = _read(path)
    if found is not None:
        _touch(path)
    return found


def known(key: str) -> bool:
    """Whether something is stored under ``key``; load() may still find it damaged."""
    return (cache_dir() / (key + SUFFIX)).exists()


@contextlib.contextmanager
def turn(key: str) -> Iterator[None]:
    """Wait while another process builds what is to be stored under ``key``: then it is there, and need not be built twice.

    Only time depends on it. Who waits too long, because the other process is stopped, or has no such folder, goes on.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder = cache_dir()
            if not own_folder(folder):
                file = stack.enter_context(open(folder / LOCK, "wb"))
                # One byte for each key, in a file that has none.
                wait_for_byte(file, int(key[:15], 16))
        yield


def load_derived(key: str) -> bytes | None:
    """What ``store_derived`` kept under ``key``, or None."""
    path = cache_dir() / (key + DERIVED)
    found = _body(path)
    if found is not None:
        _touch(path)
    return found


def store_derived(key: str, body: bytes) -> bool:
    """Keep what follows from the text of a stack of modules; False if the folder cannot be written."""
    return _write(key + DERIVED, body)


def store(key: str, about: dict[str, Any], code: bytes) -> bool:
    """Keep an entry; False if the folder cannot be written, which only costs the next start its time."""
    header = json.dumps(about, sort_keys=True).encode()
    return _write(key + SUFFIX, len(header).to_bytes(8, "little") + header + code)


def _write(name: str, body: bytes) -> bool:
    """Write a file, whole and with its hash."""
    folder = cache_dir()
    try:
        if own_folder(folder):
            return False
        write_whole(folder / name, MAGIC + hashlib.sha256(body).digest() + body, private=True)
        _evict(folder, Path(name).suffix)
    except OSError:
        return False
    return True


def marked(key: str) -> bool:
    """Whether the program with this hash has passed the check."""
    path = cache_dir() / (key + MARK)
    return path.exists() and not distrusted(path.parent) and not distrusted(path)


def mark(key: str) -> None:
    """Note that the program with this hash has passed the check; if the cache cannot be written, it is checked again."""
    folder = cache_dir()
    with contextlib.suppress(OSError):
        if own_folder(folder):
            return
        if len(marks := sorted(folder.glob("*" + MARK))) >= MARKS_MAX:
            for path in marks:
                path.unlink(missing_ok=True)
        (folder / (key + MARK)).unlink(missing_ok=True)
        (folder / (key + MARK)).touch(mode=0o600)


def entries() -> Iterator[Entry]:
    """All sound entries, the most recently used first."""
    for path in sorted(_files(cache_dir()), key=lambda p: (-_last_used(p), p.name)):
        found = _read(path)
        if found is not None:
            yield Entry(path, path.stat().st_size, found[0])


def derived_files() -> list[Path]:
    """What ``store_derived`` wrote."""
    return _files(cache_dir(), DERIVED)


def clear() -> int:
    """Remove everything, half-written files of killed writers too; how many files went."""
    folder = cache_dir()
    if not folder.is_dir():
        return 0
    removed = 0
    for path in sorted(folder.iterdir()):
        if path.name.endswith((SUFFIX, MARK, DERIVED)) or path.name.startswith((".new.", ".softnet-")):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _touch(path: Path) -> None:
    # Without the time of use entries are removed in another order; nothing else changes.
    with contextlib.suppress(OSError):
        os.utime(path)


def _files(folder: Path, suffix: str = SUFFIX) -> list[Path]:
    return sorted(folder.glob("*" + suffix)) if folder.is_dir() else []


def _last_used(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _evict(folder: Path, suffix: str) -> None:
    found = sorted(_files(folder, suffix), key=lambda p: (-_last_used(p), p.name))
    for path in found[ENTRIES_MAX:]:
        path.unlink(missing_ok=True)


def _body(path: Path) -> bytes | None:
    """A file's content, None if there is none, it is damaged, or somebody else can write it: it is code that we run."""
    try:
        with open(path, "rb") as stream:
            if distrusted(path.parent) or distrusted(stream.fileno()):
                return None
            data = stream.read()
    except OSError:
        return None
    body = data[len(MAGIC) + 32 :]
    if not data.startswith(MAGIC) or hashlib.sha256(body).digest() != data[len(MAGIC) : len(MAGIC) + 32]:
        return None
    return body


def _read(path: Path) -> tuple[dict[str, Any], bytes] | None:
    body = _body(path)
    if body is None:
        return None
    length = int.from_bytes(body[:8], "little")
    try:
        about = from_json(body[8 : 8 + length])
    except ValueError:
        return None
    return (about, body[8 + length :]) if isinstance(about, dict) else None
