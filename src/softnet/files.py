# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that appear whole or not at all, folders that vanish with the process, and reading that has a bound.

Whatever ends the process, kill -9 included, no half of a file and no temporary folder stays: a file that is being written has
no name yet, and beside a temporary folder a keeper waits, a small process that removes the folder when this one is gone.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from softnet.errors import SoftnetError

if TYPE_CHECKING:
    # Imported where they are used: most commands write nothing, and start sooner without.
    import subprocess

IN_PLACE: Final = ("/dev/", "/proc/")
"""What is named here is no file to be replaced, but a way to something that is open."""


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that takes its name when the block ends well; a name that ends in ``.gz`` is compressed.

    A link stays one, and what it leads to is replaced; an existing file's permissions stay; a device or a pipe is written as
    it is. Raises SoftnetError when the file cannot be written. Whatever fails, an older file of that name stays as it was.
    """
    path = Path(path)
    try:
        with _whole(path) as raw:
            if path.suffix == ".gz":
                import gzip

                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed:
                    yield cast(IO[bytes], packed)
            else:
                yield raw
    except OSError as error:
        raise SoftnetError(
            "the file cannot be written",
            where=str(path),
            found=error.strerror or str(error),
            expected="a directory that exists and may be written",
            hint="make the directory first, or name another",
        ) from None


def write_whole(path: str | Path, data: bytes) -> None:
    """Put ``data`` at ``path``, whole or not at all. Raises OSError."""
    with _whole(Path(path)) as stream:
        stream.write(data)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    if str(path.absolute()).startswith(IN_PLACE) or (path.exists() and not path.is_file()):
        with open(path, "wb") as stream:
            yield stream
        return
    target = Path(os.path.realpath(path))
    fd, name = _unnamed(target.parent)
    try:
        with os.fdopen(fd, "wb") as stream:
            yield stream
            stream.flush()
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(fd, target.stat().st_mode & 0o7777)
            if not name:
                name = _named(fd, target)
        if name:
            os.replace(name, target)
    except BaseException:
        if name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        raise


def _unnamed(folder: Path) -> tuple[int, str]:
    """A new file without a name in the folder, which vanishes with the process; where there is no such, one with a hidden name."""
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666), ""
    import tempfile

    fd, name = tempfile.mkstemp(prefix=".softnet-", dir=folder)
    # mkstemp() makes the file private; what a user writes is as readable as their umask says.
    umask = os.umask(0)
    os.umask(umask)
    os.fchmod(fd, 0o666 & ~umask)
    return fd, name


def _named(fd: int, target: Path) -> str:
    """Name a file that has none after the target; where there is one already, with a hidden name, to replace it."""
    # With a folder's number Python calls linkat(), which follows /proc's link to the file; link() would link the link.
    source = f"/proc/self/fd/{fd}"
    with contextlib.suppress(FileExistsError):
        os.link(source, target, src_dir_fd=fd, follow_symlinks=True)
        return ""
    for _ in range(1000):
        name = str(target.parent / f".softnet-{os.urandom(6).hex()}")
        with contextlib.suppress(FileExistsError):
            os.link(source, name, src_dir_fd=fd, follow_symlinks=True)
            return name
    raise FileExistsError(errno.EEXIST, "no free name for a temporary file", str(target.parent))


KEEPER: Final = r"""
PATH=/usr/bin:/bin:$PATH
trap '' HUP INT TERM
! read -r _ || exit 0
folder=$1 out=$2 n=0
shift 2
if [ -e "$folder/.commit" ]; then
    while IFS= read -r name; do rm -f -- "$out/$name"; done <"$folder/.commit"
    (cd "$folder" && find . -type f ! -name .commit) | while IFS= read -r name; do
        mkdir -p -- "$out/${name%/*}"
        mv -f -- "$folder/$name" "$out/$name"
    done
fi
while [ -e "$folder" ] && [ $n -lt 50 ]; do
    rm -rf -- "$folder"
    n=$((n + 1))
    [ ! -e "$folder" ] || sleep 0.1
done
[ $# -eq 0 ] || rmdir -- "$@"
"""
"""Waits for the end of its input, which is that of the process that started it. Then what was committed is moved to its place
(softnet.simulate.output), the folder removed, and those of the other folders that are empty."""


class Keeper:
    """Removes a folder behind this process, should it be killed; ``close()`` ends it.

    ``made``: folders, the innermost first, that go with it if they are empty then.
    """

    def __init__(self, folder: Path, out: Path | None = None, made: tuple[Path, ...] = ()) -> None:
        import subprocess

        words = [str(folder.absolute()), str(out.absolute()) if out is not None else "", *(str(path.absolute()) for path in made)]
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):  # a machine without a shell, or without room for a process: nobody keeps
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, "softnet-keeper", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )

    def close(self, *, dismiss: bool = False) -> None:
        """Let it do what it is for, if that is not done yet, and wait for it; ``dismiss`` lets it do nothing."""
        if self._process is not None:
            process, self._process = self._process, None
            process.communicate(b"\n" if dismiss else b"")


@contextlib.contextmanager
def scratch_folder(within: str | Path | None = None) -> Iterator[Path]:
    """A private temporary folder, in the system's place for such or in the folder named; gone when the block ends, however."""
    import shutil
    import tempfile

    folder, keeper = kept_folder(Path(within) if within is not None else Path(tempfile.gettempdir()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        keeper.close()


def kept_folder(within: Path, out: Path | None = None, made: tuple[Path, ...] = ()) -> tuple[Path, Keeper]:
    """A new private folder and its keeper, which is there first."""
    for _ in range(1000):
        folder = within / f".softnet-{os.urandom(6).hex()}"
        if folder.exists():
            continue
        keeper = Keeper(folder, out, made)
        try:
            folder.mkdir(0o700)
        except FileExistsError:
            keeper.close(dismiss=True)  # somebody else's, by then
            continue
        except BaseException:
            keeper.close(dismiss=True)
            raise
        return folder, keeper
    raise FileExistsError(errno.EEXIST, "no free name for a temporary folder", str(within))


def read_bounded(path: str | Path, limit: int, kind: type[SoftnetError], what: str) -> bytes:
    """The bytes of a file of at most ``limit`` bytes. Raises ``kind`` for one that is larger or cannot be read.

    A device or a pipe without an end is read no further than the limit, either.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read(limit + 1)
    except (OSError, ValueError) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise kind(f"{what} cannot be read", where=str(path), found=found) from None
    if len(data) > limit:
        raise kind(f"too large for {what}", where=str(path), found=f"more than {limit:,} bytes", expected=f"at most {limit:,}")
    return data
