# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command may have left behind: its processes, temporary files, halves of results. Only its own are asked for."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import zlib
from pathlib import Path

from softnet.lang.program import cache
from softnet.simulate.output import LIST, digest_of


def marked(name: str, value: str) -> list[str]:
    """The command lines of all living processes that have the variable with that value in their environment."""
    wanted = f"{name}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if wanted not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                continue
            found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:200])
    return found


def temporary(*folders: Path) -> list[str]:
    """What is called like something temporary, in the folders and below; in the cache also what is no whole entry."""
    found = []
    for folder in folders:
        with contextlib.suppress(OSError):
            for path in folder.rglob("*"):
                if path.name.startswith((".softnet-", ".new.", "tmp")) and path.name != LIST and path != folder / "tmp":
                    found.append(str(path))
                elif path.suffix in (cache.SUFFIX, cache.DERIVED) and not _whole(path):
                    found.append(f"half of {path}")
    return sorted(set(found))


def _whole(path: Path) -> bool:
    """Whether an entry of the cache is as long as its own digest says."""
    data = path.read_bytes()
    body = data[len(cache.MAGIC) + 32 :]
    return data.startswith(cache.MAGIC) and hashlib.sha256(body).digest() == data[len(cache.MAGIC) : len(cache.MAGIC) + 32]


def half_results(out: Path) -> list[str]:
    """What is wrong with a folder of results: it must not be there, or be whole."""
    # A command that has just been killed may still have somebody who cleans up behind it: os.walk() does not mind.
    names = {(Path(folder) / name).relative_to(out).as_posix() for folder, _, files in os.walk(out) for name in files}
    if not out.exists():
        return []
    if LIST not in names:
        return [f"{out} without a list, with {sorted(names)}"]
    listed = json.loads((out / LIST).read_text(encoding="utf-8"))["files"]
    found = [f"{name} of {out} is not on the list" for name in sorted(names - {LIST, *listed})]
    for name, digest in listed.items():
        if name not in names or digest_of(out / name) != digest:
            found.append(f"{name} of {out} is not whole")
        elif name.endswith(".gz"):
            try:
                with gzip.open(out / name) as stream:
                    while stream.read(1 << 20):
                        pass
            except (OSError, EOFError, zlib.error) as error:
                found.append(f"{name} of {out} is damaged: {error}")
    return found


def environment(mark: str, folder: Path) -> dict[str, str]:
    """For a command that shall be found again, with a folder of its own for what is temporary."""
    (folder / "tmp").mkdir(exist_ok=True)
    return os.environ | {"SOFTNET_MARK": mark, "TMPDIR": str(folder / "tmp")}
