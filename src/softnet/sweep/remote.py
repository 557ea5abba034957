# SPDX-License-Identifier: GPL-2.0-or-later
"""An experiment's results at an address: ``s3://…``, ``gs://…``, ``file://…``, whatever fsspec knows.

The files are those of the folder (softnet.sweep.store). What stands at an address cannot be appended to: the journal is written
again, now and then and at the end, and taken up from there by whoever goes on. A file is written under another name, and then
moved: a reader sees the one before or the new one. Who may read and write there is the address's business, and fsspec's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softnet.errors import SoftnetError
from softnet.files import scratch_folder
from softnet.sweep.design import needs_extra
from softnet.sweep.store import ABOUT, JOURNAL, RESULTS

if TYPE_CHECKING:
    from softnet.sweep.store import Journal

KEPT: Final = (JOURNAL, RESULTS, ABOUT)
"""In the order in which they are written."""
PUBLISH_RUNS: Final = 256
"""After so many runs, and when a twentieth of what the journal holds is new, it is written again."""


def is_address(text: str) -> bool:
    """Whether a text is an address, and no folder."""
    return "://" in text


class Store:
    """A place at an address. Raises SoftnetError for one that cannot be used."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        if not is_address(address):
            raise SoftnetError("not an address", where="--store", found=address, expected="s3://BUCKET/PLACE or the like",
                               hint="a folder of this machine is --out DIR")  # fmt: skip
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise needs_extra("fsspec") from None
        with self._said(
            "this kind of address is not known, or needs a library", hint="pip install s3fs for s3://, gcsfs for gs://"
        ):
            self._fs, self._path = url_to_fs(self.address)

    @contextlib.contextmanager
    def _said(self, what: str, hint: str = "") -> Iterator[None]:
        """What goes wrong at an address is of many kinds, and one message."""
        try:
            yield
        except SoftnetError:
            raise
        except Exception as error:
            found = " ".join(str(error).split()) or type(error).__name__
            raise SoftnetError(what, where=self.address, found=found[:300], hint=hint) from None

    def _at(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"

    def check(self) -> None:
        """Raises SoftnetError if nothing can be written there, or what was written is not there."""
        from fsspec.implementations.local import LocalFileSystem

        mark = os.urandom(8)
        with self._said("the store cannot be used", hint="its credentials and its settings are fsspec's: ~/.config/fsspec"):
            # A misspelt bucket is no new one: it is the first part of an object store's path, and only what is below is made.
            if isinstance(self._fs, LocalFileSystem):
                self._fs.makedirs(self._path, exist_ok=True)
            elif "/" in self._path.strip("/"):
                with contextlib.suppress(Exception):
                    self._fs.mkdir(self._path, create_parents=False)
            self._put("check", mark)
            found = self._fs.cat_file(self._at("check"))
            self._fs.rm_file(self._at("check"))
        if found != mark:
            raise SoftnetError("what is written to the store is not there", where=self.address)

    def _put(self, name: str, content: bytes) -> None:
        """A file, whole or not at all."""
        new = self._at(f".softnet-{os.urandom(6).hex()}-{name}")
        try:
            self._fs.pipe_file(new, content)
            self._fs.mv(new, self._at(name))
        except BaseException:
            with contextlib.suppress(Exception):
                self._fs.rm_file(new)
            raise

    def read(self, name: str) -> bytes | None:
        """A file; None if there is none."""
        with self._said("the store cannot be read"):
            self._fs.invalidate_cache()
            if not self._fs.exists(self._at(name)):
                return None
            content: Any = self._fs.cat_file(self._at(name))
            return bytes(content)

    def publish(self, folder: Path, names: Sequence[str] = KEPT) -> None:
        """Write what the folder has of an experiment."""
        for name in names:
            if (folder / name).is_file():
                with self._said("the results cannot be written to the store", hint="with --out DIR they are kept here, too"):
                    self._put(name, (folder / name).read_bytes())


class Publisher:
    """Writes the journal to a store while it grows: what another machine can take up when this one is lost."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self.store = store
        self.journal = journal
        self._published = len(journal)

    def __call__(self) -> None:
        """A run was added. Not to reach the store is no reason to stop: at the end it is tried again."""
        count = len(self.journal)
        if count - self._published >= max(PUBLISH_RUNS, count // 20):
            self._published = count
            with contextlib.suppress(SoftnetError):
                self.store.publish(self.journal.path.parent, (JOURNAL,))


@contextlib.contextmanager
def here(experiment: str | Path) -> Iterator[Path]:
    """An experiment's folder; of one at an address a copy of what is read."""
    if not is_address(str(experiment)):
        yield Path(experiment)
        return
    store = Store(str(experiment))
    with scratch_folder() as folder:
        for name in (RESULTS, ABOUT):
            content = store.read(name)
            if content is None:
                raise SoftnetError("no results of an experiment", where=store.address, found=f"no {name}",
                                   expected="an address that softnet sweep --store wrote to")  # fmt: skip
            (folder / name).write_bytes(content)
        yield folder
