# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder that a command writes its results into: all of them or none, and nobody else's file touched.

What softnet wrote there it knows by a list, ``.softnet-files.json``, of names and digests. A file that is not on the list, or
is not as it was written, is the user's, whatever it is called: it stays, and a result that would take its name is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from softnet.errors import SoftnetError
from softnet.files import kept_folder

LIST: Final = ".softnet-files.json"
COMMIT: Final = ".commit"
"""In a temporary folder: all is written, and what is to go from the folder of results, a name a line (softnet.files.KEEPER)."""


def to_json(document: dict[str, Any] | list[dict[str, Any]], *, ascii_only: bool = False) -> str:
    """The document as text: a space a level, keys in the document's order."""
    return json.dumps(document, indent=1, ensure_ascii=ascii_only, allow_nan=False) + "\n"


class OutputFolder:
    """A temporary folder, ``path``, whose files come to stand in the folder of results when the block ends well.

    ``add``: beside what is there, which earlier commands wrote or the user put there; else the folder must be new or empty or
    hold an earlier result, which is replaced. ``names``: what will be written, to refuse it before the work is done, not after.
    ``renews``: a pattern of names; what an earlier command wrote under such a name goes, also with ``add``. To make one without
    a block only asks whether the names are free.
    """

    def __init__(self, out: Path, *, add: bool = False, names: Sequence[str] = (), renews: str = "") -> None:
        self.named = out
        self.add = add
        self.renews = renews
        self.partial = False
        """What is written is not the whole result: it replaces no whole one."""
        self.withheld = False
        """At the end: it was partial, and a whole one stays."""
        self._out = Path(os.path.realpath(out))
        self._digests: dict[tuple[str, int, int, int], str] = {}
        self._check(names)

    def __enter__(self) -> OutputFolder:
        self._made = tuple(self._make_folders())
        try:
            self.path, self._keeper = kept_folder(self._out, self._out, self._made)
        except BaseException as error:
            self._remove_made()
            raise self._cannot(error) if isinstance(error, OSError) else error from None
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._commit()
        except OSError as error:
            raise self._cannot(error) from None
        finally:
            # Committed or not, whatever interrupts this: the keeper ends what has begun.
            with contextlib.suppress(OSError):
                self._finish()
            self._keeper.close()

    def _check(self, names: Sequence[str]) -> None:
        """Raises SoftnetError where the folder is none, or holds what will not be replaced."""
        if self._out.exists() and not self._out.is_dir():
            raise SoftnetError(
                "the output folder is a file", where=f"--out {self.named}", found="a file", expected="a folder or nothing"
            )
        if not self._out.is_dir():
            return
        listed, ours = self._listed(), self._ours()
        if not self.add and listed is None and any(self._out.iterdir()):
            raise SoftnetError(
                "the output folder holds other files",
                where=f"--out {self.named}",
                found="files not written by softnet",
                expected="an empty folder, a new one, or an earlier result",
                hint="choose another folder",
            )
        self._refuse(names if self.add else [*names, *(listed or ())], ours)
        self._refuse_list(listed)

    def _refuse_list(self, listed: dict[str, str] | None) -> None:
        """Raises SoftnetError where a file has the list's name and is none."""
        if listed is None:
            self._refuse([LIST], set())

    def _refuse(self, names: Sequence[str], ours: set[str]) -> None:
        """Raises SoftnetError for the first of the names that is taken by what softnet did not write."""
        for name in sorted(set(names) - ours):
            parts = Path(name).parts
            taken = [Path(*parts[:n]) for n in range(1, len(parts))]
            if not os.path.lexists(self._out / name):
                name = next(
                    (str(part) for part in taken if os.path.lexists(self._out / part) and not (self._out / part).is_dir()), ""
                )
            if name:
                raise SoftnetError(
                    "a file of the result would take the place of another file",
                    where=f"--out {self.named}",
                    found=f"{name}, not written by softnet or changed since",
                    expected="an empty folder, a new one, or an earlier result",
                    hint="move it away, or choose another folder",
                )

    def _listed(self) -> dict[str, str] | None:
        """The list of what softnet wrote: name -> digest; None where there is none."""
        return self._list()[0]

    def _list(self) -> tuple[dict[str, str] | None, bool]:
        """The list, and whether the result is a whole one."""
        try:
            with open(self._out / LIST, "rb") as stream:
                told = json.loads(stream.read(1 << 24))
            files = told["files"]
            if told["softnet"] != "files" or not all(isinstance(value, str) for item in files.items() for value in item):
                return None, False
            inside = {name: digest for name, digest in files.items() if not os.path.isabs(name) and ".." not in Path(name).parts}
            return inside, told["complete"] is True
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None, False

    def _ours(self) -> set[str]:
        """The listed files that are as they were written."""
        return {name for name, digest in (self._listed() or {}).items() if self._digest(name) == digest}

    def _digest(self, name: str) -> str:
        """Of a file of the folder; empty for what is no file. Read once as long as it does not change."""
        path = self._out / name
        with contextlib.suppress(OSError):
            stat = path.lstat()
            key = (name, stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if key not in self._digests and path.is_file() and not path.is_symlink():
                self._digests[key] = digest_of(path)
            return self._digests.get(key, "")
        return ""

    def _make_folders(self) -> Iterator[Path]:
        """Make the folder with those above it; yields what is new, the innermost first."""
        new = []
        at = self._out
        while not at.exists():
            new.append(at)
            at = at.parent
        try:
            self._out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            for path in new:
                with contextlib.suppress(OSError):
                    path.rmdir()
            raise self._cannot(error) from None
        yield from new

    def _remove_made(self) -> None:
        for path in self._made:
            with contextlib.suppress(OSError):
                path.rmdir()

    def _commit(self) -> None:
        """Write the list, and what is to go: from then on the result is in its place, or comes there whatever happens."""
        folder = os.open(self._out, os.O_RDONLY)
        try:
            # Two commands that write into one folder do so one after the other.
            fcntl.flock(folder, fcntl.LOCK_EX)
            new = sorted(str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file())
            (listed, complete), ours = self._list(), self._ours()
            self._refuse(new, ours)
            self._refuse_list(listed)
            if self.partial and complete and not self.add:
                self.withheld = True
                return
            kept = {name: digest for name, digest in (listed or {}).items()
                    if self.add and name in ours and not fnmatch.fnmatchcase(name, self.renews)}  # fmt: skip
            files = kept | {name: digest_of(self.path / name) for name in new}
            told = {"softnet": "files", "version": 1, "complete": not self.partial, "files": files}
            (self.path / LIST).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
            (self.path / f"{COMMIT}.new").write_text(
                "".join(f"{name}\n" for name in sorted(ours - set(files))), encoding="utf-8", errors="surrogateescape"
            )
            (self.path / f"{COMMIT}.new").rename(self.path / COMMIT)
            self._place()
        finally:
            os.close(folder)

    def _place(self) -> None:
        """Move what was committed to its place. The keeper does the same where this is interrupted."""
        gone = (self.path / COMMIT).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        for name in gone:
            (self._out / name).unlink(missing_ok=True)
        files = [path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file()]
        for file in sorted(files, key=lambda file: (str(file) == LIST, str(file))):
            if str(file) != COMMIT:
                (self._out / file).parent.mkdir(parents=True, exist_ok=True)
                (self.path / file).replace(self._out / file)
        (self.path / COMMIT).unlink()

    def _finish(self) -> None:
        """Remove the temporary folder, unless something is still to be moved; a folder that was made for nothing, too."""
        if (self.path / COMMIT).exists():
            self._place()
        shutil.rmtree(self.path, ignore_errors=True)
        self._remove_made()

    def _cannot(self, error: OSError) -> SoftnetError:
        return SoftnetError(
            "the output folder cannot be written",
            where=f"--out {self.named}",
            found=error.strerror or str(error),
            expected="a place that may be written",
        )


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
