# SPDX-License-Identifier: GPL-2.0-or-later
"""Package lists of a suite that this machine does not use: by an apt configuration of the lab's own, beside the host's.

The mirror, and the key that its lists are signed with, are those from which the host gets its own packages; only the suite is
another one, such as a later release's backports. Nothing of the host's apt is changed: lists, cache and sources are in the lab's
cache. apt holds the lists against their signature, and the packages against the lists.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from softnet.errors import SoftnetError
from softnet.lab.errors import LabError
from softnet.lab.vm import cache, packages

_SUITE = re.compile(r"[a-z][a-z0-9]*(?:[.-][a-z0-9]+)*")
_OWN = "base-files"
"""A package that every Debian and Ubuntu has from its main archive."""


def lists_of(suite: str, *, say: Callable[[str], None]) -> Path:
    """An apt configuration that knows this suite and the machine's own mirror, its lists brought up to date.

    Raises ``LabError`` for a name that is none, and where the mirror has no such suite or its signature is not trusted here.
    """
    if _SUITE.fullmatch(suite) is None:
        raise LabError("not the name of a suite", found=repr(suite), expected="such as trixie-backports")
    mirror = own_mirror()
    folder = cache.cache_dir() / "apt" / suite
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    key = signed_by(mirror)
    signed = f"[signed-by={key}] " if key else ""
    (folder / "sources.list").write_text(f"deb {signed}{mirror} {suite} main\n", encoding="utf-8")
    config = folder / "apt.conf"
    user = "root" if os.geteuid() == 0 else "_apt"
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list", "Dir::Etc::sourceparts": "-", "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder, "Dir::Cache::archives": folder / "archives", "APT::Sandbox::User": user,
        "APT::Update::Error-Mode": "any",
    }  # fmt: skip
    config.write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()), encoding="utf-8")
    say(f"reading the package lists of {suite}")
    with cache.lock(f"apt-{suite}"):
        try:
            packages.update(config)
        except LabError as error:
            raise LabError(
                f"the suite {suite} could not be read", where=mirror, found=error.found,
                expected="a suite of the distribution, such as trixie-backports, signed by a key that this machine has",
                hint="newer suites may need a newer package of the distribution's archive keys",
            ) from error  # fmt: skip
    return config


def own_mirror() -> str:
    """The address from which this machine gets its own packages. Raises ``LabError`` where apt tells none."""
    told = packages.address_of(_OWN)
    root, found, _ = told.partition("/pool/")
    if not found:
        raise LabError("this machine's mirror is not known", found=told or f"no address of {_OWN}",
                       expected="an archive with a pool/ folder", hint="apt-get update, then try again")  # fmt: skip
    return root


def signed_by(mirror: str) -> str:
    """The key file that the host's sources name for a mirror; "" where they leave it to apt's own."""
    for uris, key in _sources():
        if mirror.rstrip("/") in [uri.rstrip("/") for uri in uris]:
            return key
    return ""


def _sources() -> Iterator[tuple[list[str], str]]:
    """The addresses of each entry of the host's sources, and its key file."""
    for path in packages.source_files():
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise SoftnetError("apt's sources cannot be read", where=str(path), found=error.strerror or "") from error
        if path.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", text):
                fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
                yield fields.get("URIs", "").split(), fields.get("Signed-By", "").strip()
        else:
            for line in text.splitlines():
                found = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)", line)
                if found:
                    options = dict(word.partition("=")[::2] for word in (found[1] or "").split())
                    yield [found[2]], options.get("signed-by", "")
