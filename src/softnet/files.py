# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that appear whole or not at all, folders that vanish with the process, and reading that has a bound.

Whatever ends the process, kill -9 included, no half of a file and no temporary folder stays: a file that is being written has
no name yet, and beside a temporary folder a keeper waits, a small process that removes the folder when this one is gone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from softnet.errors import SoftnetError

if TYPE_CHECKING:
    # Imported where they are used: most commands write nothing, and start sooner without.
    import subprocess

IN_PLACE: Final = ("/dev/", "/proc/")
"""What is named here is no file to be replaced, but a way to something that is open."""


def cache_base() -> Path:
    """The user's cache of softnet: ``$SOFTNET_CACHE``, else ``$XDG_CACHE_HOME/softnet``, else ``~/.cache/softnet``."""
    if named := os.environ.get("SOFTNET_CACHE"):
        return Path(named)
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "softnet"


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


def write_whole(path: str | Path, data: bytes, *, private: bool = False) -> None:
    """Put ``data`` at ``path``, whole or not at all; ``private``, so that only the user reads and writes it. Raises OSError."""
    with _whole(Path(path)) as stream:
        if private:
            os.fchmod(stream.fileno(), 0o600)
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
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(fd, target.stat().st_mode & 0o7777)
            yield stream
            stream.flush()
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


def users_key() -> bytes:
    """A secret of the user's, made when it is first asked for: what carries its code was written by nobody else.

    It stands in $XDG_STATE_HOME/softnet/key, else ~/.local/state/softnet/key. Raises SoftnetError where it cannot be kept so
    that only the user reads it.
    """
    state = os.environ.get("XDG_STATE_HOME")
    path = (Path(state) if state else Path.home() / ".local" / "state") / "softnet" / "key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            with contextlib.suppress(FileExistsError):
                fd, name = _unnamed(path.parent)
                with os.fdopen(fd, "wb") as stream:
                    os.fchmod(fd, 0o600)
                    stream.write(os.urandom(32))
                    stream.flush()
                    if not name:
                        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
                if name:
                    os.replace(name, path)
        with open(path, "rb") as kept:
            status = os.fstat(kept.fileno())
            key = kept.read(64)
    except OSError as error:
        raise SoftnetError("no place for the user's key", where=str(path), found=error.strerror or str(error),
                           hint="set XDG_STATE_HOME to a folder of yours")  from None  # fmt: skip
    if status.st_uid != os.geteuid() or status.st_mode & 0o077 or len(key) != 32:
        raise SoftnetError("the user's key is not the user's alone", where=str(path), expected="32 bytes that only you can read",
                           hint="remove it: what was saved with it is then lost")  # fmt: skip
    return key


def own_folder(path: Path) -> str:
    """Make a folder that only the user writes, with those above it; why it cannot be trusted, empty if it can.

    One that is the user's and that others could write is closed to them; what is in it is asked for by itself.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = os.stat(path)
    if status.st_uid == os.geteuid() and status.st_mode & 0o022:
        os.chmod(path, status.st_mode & 0o7755)
    return distrusted(path)


LOOKS_MAX: Final = 3000
LOOK_SECONDS: Final = 0.02
"""How often, and after what time, one looks again whether another process still holds a lock: for a minute."""


def wait_for_byte(file: IO[bytes], byte: int) -> bool:
    """Lock one byte of a file that is open for writing, until it is closed, and wait for another process that has it.

    False if that took too long: the other one may be stopped. Raises OSError.
    """
    import fcntl
    import time

    for _ in range(LOOKS_MAX):
        with contextlib.suppress(BlockingIOError, PermissionError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            return True
        time.sleep(LOOK_SECONDS)
    return False


def distrusted(path: Path | int) -> str:
    """Why what stands at this path, or in this open file, must not be run or believed: somebody else can write it.

    Empty if it is the user's alone, or is not there.
    """
    try:
        status = os.stat(path)
    except OSError:
        return ""
    if status.st_uid not in (os.geteuid(), 0):
        return f"{path} belongs to another user"
    if status.st_mode & 0o022:
        return f"{path} can be written by others"
    return ""


UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, RecursionError, struct.error,
                     zlib.error)  # fmt: skip
"""What Python raises in the middle of a reader when bytes are not what they should be."""


@contextlib.contextmanager
def readable(
    kind: type[SoftnetError], message: str, *, where: str | Callable[[], str], expected: str, hint: str = ""
) -> Iterator[None]:
    """Around a reader: what is raised because the bytes are wrong is one error, of this kind, with the place.

    A reader says what it can say better by itself; this is for what it did not think of.
    """
    try:
        yield
    except SoftnetError:
        raise
    except UNREADABLE as error:
        found = f"{type(error).__name__}: {error}" if isinstance(error, LookupError | struct.error) else str(error)
        place = where if isinstance(where, str) else where()
        raise kind(message, where=place, found=found[:200] or type(error).__name__, expected=expected, hint=hint) from error


def read_bounded(path: str | Path, limit: int, kind: type[SoftnetError], what: str) -> bytes:
    """The bytes of a file of at most ``limit`` bytes. Raises ``kind`` for one that is larger or cannot be read.

    A device or a pipe without an end is read no further than the limit, either. Memory follows what there is to read, not the
    limit: read() takes room for all that it is asked for.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read(min(os.fstat(stream.fileno()).st_size, limit) + 1)
            pieces = [data]
            while data and (left := limit + 1 - sum(map(len, pieces))):  # longer than it says, as files of /proc are
                data = stream.read(min(left, 1 << 20))
                pieces.append(data)
            data = b"".join(pieces)
    except (OSError, ValueError) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise kind(f"the {what} cannot be read", where=str(path), found=found) from None
    if len(data) > limit:
        raise kind(f"too large for a {what}", where=str(path), found=f"more than {limit:,} bytes", expected=f"at most {limit:,}")
    return data


def lines_bounded(path: str | Path, limit: int, line_limit: int, kind: type[SoftnetError], what: str) -> Iterator[bytes]:
    """The lines of a file, which gzip may have compressed, without their ends; at most ``limit`` bytes (0: any number) in all.

    Memory follows the longest line, which is at most ``line_limit`` bytes. Raises ``kind`` with the line.
    """
    import gzip

    number = total = 0
    try:
        with open(path, "rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            with gzip.open(raw) if packed else raw as stream:
                while line := stream.readline(line_limit + 1):
                    number += 1
                    total += len(line)
                    if len(line) > line_limit:
                        raise kind(
                            f"too long a line for a {what}", where=f"{path}:{number}", expected=f"at most {line_limit:,} bytes"
                        )
                    if limit and total > limit:
                        raise kind(f"too large for a {what}", where=f"{path}:{number}", found=f"more than {limit:,} bytes",
                                   expected=f"at most {limit:,}, unpacked")  # fmt: skip
                    yield line.rstrip(b"\r\n")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        where = f"{path}:{number + 1}" if number else str(path)
        raise kind(f"the {what} cannot be read", where=where, found=found, expected="a complete file") from None


def zstd() -> Any:
    """What unpacks zstd: Python's own module from 3.14 on, or the package zstandard, which have ``open`` in common; or None."""
    for library in ("compression.zstd", "zstandard"):
        try:
            return __import__(library, fromlist=["open"])
        except ImportError:
            continue
    return None


def from_json(text: str | bytes) -> Any:
    """What JSON says. Raises ValueError for anything else, also for what is nested so deeply that Python gives up."""
    import json

    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


DEPTH_MAX: Final = 64
"""How deeply the tables and lists of a file may be nested."""


def from_toml(data: bytes, source: str, kind: type[SoftnetError], what: str) -> dict[str, Any]:
    """What a file of TOML says. Raises ``kind`` with file and line."""
    import tomllib

    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise kind("not text in UTF-8", where=f"{source}:{line}", found=f"byte {error.start} is {data[error.start]:#04x}") from None
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(error, source, text, kind) from None
    except RecursionError:
        raise kind("tables or lists nested too deeply", where=source, expected=f"at most {DEPTH_MAX} levels") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise kind(f"not a value for a {what}", where=source, found=str(error).partition(";")[0]) from None
    if deeper_than(found, DEPTH_MAX):
        raise kind("tables or lists nested too deeply", where=source, expected=f"at most {DEPTH_MAX} levels")
    if holds_endless_number(found):
        raise kind(f"not a value for a {what}", where=source, found="a number of thousands of digits", expected="64 bits")
    return found


def _not_toml(error: ValueError, source: str, text: str, kind: type[SoftnetError]) -> SoftnetError:
    """tomllib's message, with its position moved to where we put positions."""
    message = str(error)
    match = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if match is None:
        return kind(f"not TOML: {message.removesuffix(' (at end of document)')}", where=f"{source}:{text.count(chr(10)) + 1}")
    line = int(match.group(1))
    shown = (text.splitlines() or [""])[min(line, len(text.splitlines())) - 1]
    return kind(f"not TOML: {message[: match.start()]}", where=f"{source}:{line}:{match.group(2)}", found=shown.strip()[:100])


def holds_endless_number(value: Any) -> bool:
    """Whether there is a number in it that Python reads, of hexadecimal digits, but does not print."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict | list):
            waiting += item.values() if isinstance(item, dict) else item
        elif isinstance(item, int) and item.bit_length() > 1000:
            return True
    return False


def deeper_than(value: Any, limit: int) -> bool:
    """Whether tables and lists are nested more deeply; without recursion of its own."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
