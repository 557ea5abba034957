# SPDX-License-Identifier: GPL-2.0-or-later
"""Where fetched kernels and built images are kept, and how a file gets there whole or not at all.

``$SOFTNET_CACHE`` if it is set, else ``$XDG_CACHE_HOME/softnet``, else ``~/.cache/softnet``. Deleting the
folder is always safe: everything in it can be fetched or built again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from softnet.files import cache_base, kept_folder, own_folder, write_whole
from softnet.lab.errors import LabError


def cache_dir() -> Path:
    """The lab's cache folder; made if it is not there. Raises ``LabError`` for one in which others can write."""
    path = cache_base() / "lab"
    if reason := own_folder(path):
        raise LabError("the lab's cache is not yours alone", where=str(path), found=reason, expected="a folder that only you write",
                       hint="set SOFTNET_CACHE to one, or remove it")  # fmt: skip
    return path


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """The SHA-256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """``value`` as JSON with sorted keys at ``path``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the cache's lock called ``name``: two processes never fetch or build the same thing at once."""
    path = cache_dir() / f".{name}.lock"
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def build_folder(target: Path, build: Callable[[Path], None]) -> None:
    """Make folder ``target`` by ``build(temporary folder)`` and one rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, keeper = kept_folder(target.parent)
    try:
        build(temporary)
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        keeper.close()
