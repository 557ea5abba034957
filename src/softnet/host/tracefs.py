# SPDX-License-Identifier: GPL-2.0-or-later
"""A tracing instance of our own: its events and buffers are beside those that others use, and go when it goes.

An instance is called softnet-PID. What a killed process left is known by its PID, which no process has, and is removed by the next
one; the kernel itself refuses to remove an instance whose buffers somebody still has open.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from softnet.errors import HostError

PLACES: Final = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
MOUNT: Final = "mount -t tracefs tracefs /sys/kernel/tracing"
_NAME: Final = re.compile(r"softnet-([0-9]{1,10})", re.ASCII)
_BUSY_TRIES: Final = 50


def tracing_folder(places: tuple[Path, ...] = PLACES) -> Path:
    """Where tracefs is mounted. Raises HostError if it is not, or is not ours to use."""
    for place in places:
        try:
            found = (place / "instances").is_dir()
        except OSError:
            found = False
        if found and os.access(place / "instances", os.W_OK):
            return place
    if os.geteuid():
        raise HostError("tracing needs root", found=f"user {os.geteuid()}", hint="run it with sudo")
    raise HostError("no tracefs is mounted that may be written", expected=" or ".join(map(str, places)), hint=MOUNT)


def put(path: Path, text: str, *, add: bool = False) -> None:
    """Write one file of tracefs. Raises OSError. Not open(): its mode "a" seeks, which tracefs refuses."""
    fd = os.open(path, os.O_WRONLY | (os.O_APPEND if add else 0))
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def remove_leftovers(folder: Path) -> list[str]:
    """Remove the instances that killed processes left; returns their names."""
    gone = []
    for path in sorted((folder / "instances").iterdir()):
        match = _NAME.fullmatch(path.name)
        if match and not _alive(int(match[1])) and _remove(path):
            gone.append(path.name)
    return gone


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _remove(path: Path) -> bool:
    """Switch an instance off and remove it; False where somebody holds it."""
    for name in ("tracing_on", "events/enable"):
        with contextlib.suppress(OSError):
            put(path / name, "0")
    for _ in range(_BUSY_TRIES):
        try:
            path.rmdir()
            return True
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                return False
        time.sleep(0.01)
    return False


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """What is done in the block is done whole: a signal comes behind it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Instance:
    """A context: the instance is there within it, and gone behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "instances" / f"softnet-{os.getpid()}"
        self.removed = remove_leftovers(folder)
        """What earlier processes left and is gone now."""
        self._pipes: dict[int, int] = {}

    def __enter__(self) -> Instance:
        try:
            with _signals_wait():
                try:
                    self.path.mkdir()
                except OSError as error:
                    raise HostError("no tracing instance can be made", where=str(self.path), found=error.strerror or str(error),
                                    expected="a kernel with instances, and room for its buffers") from None  # fmt: skip
        except BaseException:
            _remove(self.path)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with _signals_wait():
            self.close()

    def close(self) -> None:
        """Close its buffers and remove it. Raises HostError where it stays."""
        while self._pipes:
            os.close(self._pipes.popitem()[1])
        if not _remove(self.path):
            raise HostError("the tracing instance could not be removed", where=str(self.path), hint=f"rmdir {self.path}")

    def has(self, event: str) -> bool:
        """Whether the kernel has an event, "system/name"."""
        return (self.path / "events" / event).is_dir()

    def enable(self, event: str, condition: str = "") -> str:
        """Switch an event on; returns why not, or nothing."""
        where = self.path / "events" / event
        try:
            if condition:
                put(where / "filter", condition)
            put(where / "enable", "1")
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def read(self, name: str) -> str:
        """A file of the instance as text."""
        return (self.path / name).read_text(encoding="utf-8", errors="replace")

    def cpus(self) -> list[int]:
        """The CPUs that have a buffer."""
        found = (re.fullmatch(r"cpu(\d+)", path.name) for path in (self.path / "per_cpu").iterdir())
        return sorted(int(match[1]) for match in found if match)

    def pipe(self, cpu: int) -> int:
        """The open trace_pipe_raw of a CPU: reads give pages, and none when there are none."""
        if cpu not in self._pipes:
            self._pipes[cpu] = os.open(self.path / f"per_cpu/cpu{cpu}/trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK)
        return self._pipes[cpu]

    def page_bytes(self) -> int:
        """The size of a page: where its data begins, and how much there is of it."""
        match = re.search(r"data;\s*offset:(\d+);\s*size:(\d+);", self.read_root("events/header_page"))
        if match is None:
            raise HostError("not the header of a trace page", where="events/header_page", expected="a field data")
        return int(match[1]) + int(match[2])

    def read_root(self, name: str) -> str:
        """A file of tracefs itself as text."""
        return (self.folder / name).read_text(encoding="utf-8", errors="replace")

    def lost(self) -> dict[str, int]:
        """What the buffers' own counters say was lost, by "cpuN what"."""
        out: dict[str, int] = {}
        for cpu in self.cpus():
            for line in self.read(f"per_cpu/cpu{cpu}/stats").splitlines():
                key, _, value = line.partition(":")
                if key in ("overrun", "commit overrun", "dropped events") and value.strip().isdecimal() and int(value):
                    out[f"cpu{cpu} {key}"] = int(value)
        return out
