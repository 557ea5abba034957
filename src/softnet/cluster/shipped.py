# SPDX-License-Identifier: GPL-2.0-or-later
"""What work needs on another machine, and what a worker there does with it: files, compiled kernels, and what its kind adds.

All of it is sent to a worker once. A file goes into the worker's own cache, ``shipped/HASH/NAME``: the user's alone, as the
compiled kernels are, and of the content that its name says. Deleting the folder is always safe.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from softnet.errors import SoftnetError
from softnet.files import cache_base, distrusted, own_folder, read_bounded, write_whole
from softnet.lang.native.compile import builder_kind
from softnet.lang.program import cache

if TYPE_CHECKING:
    from softnet.lang.program.program import Program

FILES_BYTES_MAX: Final = 1 << 30
"""Captures and patches, in all: each worker is sent them."""
KEPT_MAX: Final = 256
"""The least recently used files above this number are removed."""


@functools.cache
def package_digest() -> str:
    """The hash of all of softnet's own text and of numpy's version: what two machines have alike that find the same."""
    digest = hashlib.sha256(metadata.version("numpy").encode())
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class Described(NamedTuple):
    """What a worker is."""

    softnet: str
    """The hash of its softnet (package_digest)."""
    kind: str
    """Where its native code can be made (lang.native.compile.builder_kind); empty: it has none."""


def describe() -> Described:
    """This process as a worker."""
    return Described(package_digest(), builder_kind())


class File(NamedTuple):
    """A file by its content."""

    name: str
    sha256: str


@dataclass
class Shipment:
    """All that the pieces of work need beside what each brings itself."""

    token: str = ""
    softnet: str = field(default_factory=package_digest)
    contents: dict[str, bytes] = field(default_factory=dict)
    """A file's hash -> its content."""
    files: dict[str, File] = field(default_factory=dict)
    """A path, as the client has it -> the file."""
    native: dict[str, list[Any]] = field(default_factory=dict)
    """Kind of worker -> its compiled kernels, as compiled() gives them."""
    memos: dict[str, bytes] = field(default_factory=dict)
    """What was worked out of the kernels' texts (lang.program.memo): of use where softnet is in the same folder."""
    stopped: bool = False
    """In a worker: whether the client wants no more than what is found already."""

    def add_file(self, path: str) -> None:
        """Pack a file. Raises SoftnetError for what cannot be read, or is too much."""
        if path in self.files:
            return
        left = FILES_BYTES_MAX - sum(map(len, self.contents.values()))
        data = read_bounded(path, left, SoftnetError, "file that is sent to the workers")
        found = File(os.path.basename(path), hashlib.sha256(data).hexdigest())
        self.files[path] = found
        self.contents[found.sha256] = data

    def add_memo(self, program: Program) -> None:
        """Pack what was worked out of a program's texts, if it is kept."""
        if (memo := cache.load_derived(program.derived.key)) is not None:
            self.memos[program.derived.key] = memo

    def place_of(self, path: str, *, sent: bool = True) -> str:
        """Where a file is: on a worker that it was ``sent`` to, or here."""
        if not sent:
            return path
        file = self.files[path]
        return str((shipped_dir() / file.sha256 / file.name).absolute())

    def compiled(self, *, sent: bool) -> list[Any]:
        """The compiled kernels, made where the cache has none: for workers of this process's kind."""
        return []

    def unpack(self) -> None:
        """In a worker, which has the files: put the rest where it will be looked for."""


class Piece(Protocol):
    """Work that goes to a worker together."""

    @property
    def count(self) -> int:
        """How many results it has, unless it ends early."""
        ...

    def make(self, shipment: Any, tell: Callable[[int, Any], None], stopped: Callable[[], bool]) -> Sequence[Any]:
        """In a worker: do it. ``tell`` hears of each result, by its number in the piece, when it is there. ``stopped``: whether
        nobody wants more than what is found already. Raises SoftnetError if it cannot be done.
        """
        ...


def kept(file: File, content: bytes) -> Path:
    """Where a shipped file is on this machine; written if it is not there. Raises SoftnetError where it cannot be kept."""
    if os.path.basename(file.name) != file.name or hashlib.sha256(content).hexdigest() != file.sha256:
        raise SoftnetError("a file came that is not what it says", where=file.name[:100], expected=f"the SHA-256 {file.sha256}")
    folder = shipped_dir() / file.sha256
    path = folder / file.name
    try:
        reason = own_folder(shipped_dir()) or own_folder(folder)
        if not reason:
            if path.is_symlink() or not path.is_file() or distrusted(path) or path.read_bytes() != content:
                path.unlink(missing_ok=True)
                write_whole(path, content, private=True)
            os.utime(folder)
            _evict(folder)
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise SoftnetError("a worker has no place for what it is sent", where=str(folder), found=reason,
                           expected="a folder that only its user writes", hint="set SOFTNET_CACHE on the workers")  # fmt: skip
    return path


def shipped_dir() -> Path:
    """The folder of files that were sent here."""
    return cache_base() / "shipped"


def _evict(keep: Path) -> None:
    folders = [path for path in shipped_dir().iterdir() if path != keep]
    folders.sort(key=lambda path: (-path.stat().st_mtime_ns, path.name))
    for path in folders[KEPT_MAX - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


def clear_shipped() -> int:
    """Remove what was sent here; how many files went."""
    folders = sorted(shipped_dir().iterdir()) if shipped_dir().is_dir() else []
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)
    return len(folders)


_here: dict[str, Shipment] = {}
"""In a worker: the shipments of the clients that it works for."""
_one_at_a_time = threading.Lock()
"""A process does one piece at a time, however many threads its worker has."""


def take(shipment: Shipment) -> None:
    """In a worker: put what came where it will be looked for. Raises SoftnetError."""
    if shipment.softnet != package_digest():
        raise other_softnet("a worker")
    for file in shipment.files.values():
        kept(file, shipment.contents[file.sha256])
    for key, memo in shipment.memos.items():
        if cache.load_derived(key) is None:
            cache.store_derived(key, memo)
    shipment.unpack()
    shipment.contents.clear()
    shipment.native.clear()
    shipment.memos.clear()
    _here[shipment.token] = shipment


def drop(token: str) -> None:
    """In a worker: the client is done."""
    _here.pop(token, None)


def stop(token: str) -> None:
    """In a worker: the client wants no more than what is found already."""
    if token in _here:
        _here[token].stopped = True


def wanted_no_more(token: str) -> bool:
    """In a worker: whether the client has said so, or is gone."""
    shipment = _here.get(token)
    return shipment is None or shipment.stopped


def compiled_there(token: str) -> list[Any]:
    """In a worker, which has taken the shipment: the compiled kernels for workers of its kind."""
    with _one_at_a_time:
        return _here[token].compiled(sent=True)


def made(
    token: str, piece: Piece, tell: Callable[[int, Any], None] | None = None, stopped: Callable[[], bool] | None = None
) -> list[Any]:
    """In a worker: the results of a piece. Raises as Piece.make()."""
    with _one_at_a_time:
        shipment = _here.get(token)
        if shipment is None:
            raise SoftnetError("a worker does not know the work that it shall do", hint="start it again")
        return list(piece.make(shipment, tell or (lambda number, found: None), stopped or (lambda: False)))


def other_softnet(where: str) -> SoftnetError:
    """The error for a worker whose figures could be others."""
    return SoftnetError("a worker of the cluster has another softnet or numpy, or its files have changed", where=where,
                        expected="the same release of both on all machines",
                        hint="install on the workers what is installed here, and start them anew")  # fmt: skip
