# SPDX-License-Identifier: GPL-2.0-or-later
"""A memo on disk: results that depend on nothing but the text of a stack of modules.

Parsing a kernel's files and rewriting its functions for CPython takes most of a second and gives the same every time: the names
of constants and costs, and code objects. They are stored in the folder of the compiled kernels, under the hash of the texts, of
this package's own text and of Python's version. So a start whose kernel is known parses nothing.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
import marshal
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from softnet.lang.program import cache

T = TypeVar("T")

KNOWN_MAX: Final = 64
"""Stacks that one process keeps; a session that edits a patch again and again makes a new one each time."""

FILES_MAX: Final = 1024
"""Files whose hash one process keeps."""


def _package_digest() -> bytes:
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in [*sorted(package.rglob("*.py")), package.parent / "trace.py"]:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


PACKAGE: Final = _package_digest()
"""The hash of the compiler's own text, taken at import: the text may be edited while this process runs."""


def text_digest(path: str) -> bytes:
    """The hash of a file's text. If this process has parsed the file, of the lines that it parsed: they may have changed since."""
    if path in linecache.cache:
        return hashlib.sha256("".join(linecache.getlines(path)).encode()).digest()
    try:
        status = os.stat(path)
        return _file_digest(path, status.st_mtime_ns, status.st_size)
    except OSError:
        return b"no text"


@functools.lru_cache(maxsize=FILES_MAX)
def _file_digest(path: str, mtime_ns: int, size: int) -> bytes:
    """The hash of a file with that time and size: a start asks three times, and an edited file is read again."""
    return hashlib.sha256(Path(path).read_bytes()).digest()


class Derived:
    """Named results of one stack of modules: read once, computed where they are missing, stored by ``save()``."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._parts: dict[str, Any] = _load(key)
        self._changed = False

    def get(self, name: str, make: Callable[[], T]) -> T:
        """The result called ``name``; ``make()`` computes it, out of what ``marshal`` can write."""
        if name not in self._parts:
            self._parts[name] = make()
            self._changed = True
        found: T = self._parts[name]
        return found

    def save(self) -> None:
        """Put what was computed on disk; a cache that cannot be written costs the next start its time, no more."""
        if self._changed:
            self._changed = False
            cache.store_derived(self.key, marshal.dumps(self._parts))


def _load(key: str) -> dict[str, Any]:
    stored = cache.load_derived(key)
    if stored is None:
        return {}
    try:
        parts = marshal.loads(stored)
    except (ValueError, EOFError, TypeError):
        return {}
    return parts if isinstance(parts, dict) else {}


_known: dict[str, Derived] = {}


def derived(modules: Iterable[ModuleType]) -> Derived:
    """The results of a stack of modules, found by the texts and the paths of its files."""
    digest = hashlib.sha256(PACKAGE + sys.version.encode())
    for module in modules:
        path = str(module.__file__)
        digest.update(f"{module.__name__}\0{path}\0".encode() + text_digest(path))
    key = digest.hexdigest()
    found = _known.get(key)
    if found is None:
        while len(_known) >= KNOWN_MAX:
            del _known[next(iter(_known))]
        found = _known[key] = Derived(key)
    return found


def nothing_known() -> Derived:
    """For a program that was made by hand: results are kept in memory, as long as the program."""
    found = Derived.__new__(Derived)
    found.key, found._parts, found._changed = "", {}, False
    return found
