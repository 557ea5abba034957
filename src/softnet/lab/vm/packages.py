# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages as the lab uses them: found by apt-cache, downloaded by apt-get, unpacked, never installed.

No root is needed, nothing on the host changes, and no package name or version is written down here: what the
host's package lists offer is what there is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from softnet import processes
from softnet.files import scratch_folder
from softnet.lab.errors import LabError, LabMissing
from softnet.lab.vm.cache import sha256_file

_APT_BOUND_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Package:
    """One version of one package in the host's package lists."""

    name: str
    version: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Download:
    """A downloaded package file whose checksum agreed with the package lists."""

    package: Package
    path: Path


def _run(argv: Sequence[str], *, cwd: Path | None = None, config: Path | None = None) -> str:
    """The standard output of a program of the apt family; its failure is an error with its own last words.

    ``config`` is an apt configuration on top of the host's: another suite's package lists (softnet.lab.vm.suites).
    """
    if shutil.which(argv[0]) is None:
        raise LabMissing(
            f"the lab gets kernels and its guest's programs as Debian packages, and {argv[0]} is not here",
            expected="a Debian or Ubuntu machine with apt and dpkg",
            hint="on another system give a kernel of your own: --kernel /path/to/vmlinuz",
        )
    try:
        environment = {**os.environ, "APT_CONFIG": str(config)} if config is not None else None
        done = processes.run(argv, cwd=cwd, timeout=_APT_BOUND_SECONDS, env=environment)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{argv[0]} did not end within {_APT_BOUND_SECONDS} s", where=" ".join(argv)) from error
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        raise LabError(
            f"{argv[0]} failed with status {done.returncode}",
            where=" ".join(argv),
            found=words[-1] if words else "no message",
            hint="apt-get update brings the package lists up to date",
        )
    return done.stdout


def names_matching(pattern: str, config: Path | None = None) -> list[str]:
    """Names of packages in the lists that match the regular expression, sorted."""
    out = _run(["apt-cache", "search", "--names-only", pattern], config=config)
    return sorted({line.split(" ", 1)[0] for line in out.splitlines() if line})


def depends_on(name: str) -> list[str]:
    """What a package depends on directly, as apt-cache tells it."""
    out = _run(["apt-cache", "depends", "--no-recommends", "--no-suggests", "--no-conflicts", name])
    return [line.split(":", 1)[1].strip() for line in out.splitlines() if "Depends:" in line]


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.splitlines():
            if line[:1].isspace() or ":" not in line:
                continue
            key, value = line.split(":", 1)
            fields.setdefault(key, value.strip())
        if "SHA256" in fields:
            yield fields


def update(config: Path) -> None:
    """Bring the package lists of a configuration of the lab's own up to date; the host's are nobody's but root's."""
    _run(["apt-get", "update", "-q"], config=config)


def address_of(name: str) -> str:
    """Where apt would download a package of the host's lists from; "" where it does not say."""
    out = _run(["apt-get", "download", "-q", "--print-uris", name])
    return next((line[1:].split("'", 1)[0] for line in out.splitlines() if line.startswith("'")), "")


def source_files() -> list[Path]:
    """The files that hold the host's sources, as apt looks for them."""
    out = _run(["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"])
    told = dict(re.findall(r"^(LIST|PARTS)='(.*)'$", out, re.MULTILINE))
    parts = Path(told.get("PARTS", "/etc/apt/sources.list.d"))
    files = [Path(told.get("LIST", "/etc/apt/sources.list")), *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    return [file for file in files if file.is_file()]


def candidate(name: str, config: Path | None = None) -> Package:
    """The version of ``name`` that apt would download; raises ``LabMissing`` when the lists have none."""
    try:
        text = _run(["apt-cache", "show", "--no-all-versions", name], config=config)
    except LabMissing:
        raise
    except LabError as error:
        raise LabMissing(
            f"the package lists of this machine have no {name}",
            found=error.found,
            hint="apt-get update (as root), then try again",
        ) from error
    for fields in _stanzas(text):
        return Package(fields["Package"], fields["Version"], fields["SHA256"], int(fields["Size"]))
    raise LabMissing(
        f"the package lists of this machine have no {name} that can be downloaded",
        hint="apt-get update (as root), then try again",
    )


def download(name: str, folder: Path, *, say: Callable[[str], None], config: Path | None = None) -> Download:
    """Download package ``name`` into ``folder`` and hold it against the checksum of the package lists."""
    package = candidate(name, config)
    say(f"downloading {package.name} {package.version} ({package.size_bytes / 1e6:.1f} MB)")
    with scratch_folder(folder) as scratch:
        # As root, apt would step down to its own user, who cannot write here.
        _run(
            ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", f"{name}={package.version}"],
            cwd=scratch,
            config=config,
        )
        files = sorted(scratch.glob("*.deb"))
        if len(files) != 1:
            raise LabError(f"apt-get download {name} left {len(files)} package files", expected="one")
        found = sha256_file(files[0])
        if found != package.sha256:
            raise LabError(
                f"the downloaded {name} is not what the package lists promise",
                found=f"SHA-256 {found}",
                expected=f"SHA-256 {package.sha256}",
                hint="apt-get update, then try again; if it stays, the mirror is broken",
            )
        path = files[0].replace(folder / files[0].name)
    return Download(package, path)


def members(deb: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The files and links of a package whose path (no leading "./") satisfies ``wanted``, with their bytes."""
    argv = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    if shutil.which(argv[0]) is None:
        raise LabMissing("dpkg-deb is not here", hint="apt-get install dpkg")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            for info in tar:
                info.name = info.name.removeprefix("./")
                if not wanted(info.name) or not (info.isreg() or info.issym()):
                    continue
                stream = tar.extractfile(info) if info.isreg() else None
                yield info, stream.read() if stream is not None else b""
    if process.returncode != 0:
        raise LabError(f"dpkg-deb could not read {deb.name}", found=f"status {process.returncode}")
