# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of a run: a folder that appears whole or not at all, and JSON with the same bytes for the same figures."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from softnet.errors import SoftnetError


def to_json(document: dict[str, Any]) -> str:
    """The document as text: two spaces, keys in the document's order, short rows on one line where JSON allows."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to write into; it takes the place of ``out`` when the block ends well, and is removed otherwise.

    An existing ``out`` is replaced only if it is empty or was written by softnet (it holds result.json or comparison.json).
    """
    if out.exists() and not out.is_dir():
        raise SoftnetError(
            "the output folder is a file",
            where=f"--out {out}",
            found="a file",
            expected="a folder or nothing",
        )
    ours = any((out / name).is_file() for name in ("result.json", "comparison.json"))
    if out.is_dir() and not ours and any(out.iterdir()):
        raise SoftnetError(
            "the output folder holds other files",
            where=f"--out {out}",
            found="files not written by softnet",
            expected="an empty folder, a new one, or an earlier result",
            hint="choose another folder",
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise SoftnetError(
            "the output folder cannot be made",
            where=f"--out {out}",
            found=str(error.strerror),
            expected="a place that may be written",
        ) from None
    try:
        yield work
        os.chmod(work, 0o755)
        _take_the_place(work, out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _take_the_place(work: Path, out: Path) -> None:
    """Rename ``work`` to ``out``; what is there steps aside first and comes back if the renaming does not happen."""
    if not out.is_dir():
        work.rename(out)
        return
    aside = work.with_name(f"{work.name}.old")
    try:
        out.rename(aside)
        work.rename(out)
    except BaseException:
        if aside.is_dir() and not out.exists():
            aside.rename(out)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
