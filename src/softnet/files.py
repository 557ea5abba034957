# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that appear whole or not at all, and gzip with the same bytes every time."""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from softnet.errors import SoftnetError


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that takes its name when the block ends well; a name that ends in ``.gz`` is compressed.

    Raises SoftnetError when the directory cannot be written. Whatever fails, an older file of that name stays as it was.
    """
    path = Path(path)
    try:
        fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from None
    try:
        with os.fdopen(fd, "wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed:
                    yield cast(IO[bytes], packed)
            else:
                yield raw
        # mkstemp makes the file private; what a user writes is as readable as their umask says.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _cannot_write(path: Path, error: OSError) -> SoftnetError:
    return SoftnetError(
        "the file cannot be written",
        where=str(path),
        found=error.strerror or str(error),
        expected="a directory that exists and may be written",
        hint="make the directory first, or name another",
    )
