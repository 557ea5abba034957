# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages as the lab uses them: found by apt-cache, downloaded by apt-get, unpacked, never installed.

No root is needed, nothing on the host changes, and no package name or version is written down here: what the
host's package lists offer is what there is.
"""

from __future__ import annotations

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


def _run(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    """The standard output of a program of the apt family; its failure is an error with its own last words."""
    if shutil.which(argv[0]) is None:
        raise LabMissing(
            f"the lab gets kernels and its guest's programs as Debian packages, and {argv[0]} is not here",
            expected="a Debian or Ubuntu machine with apt and dpkg",
            hint="on another system give a kernel of your own: --kernel /path/to/vmlinuz",
        )
    try:
        done = processes.run(argv, cwd=cwd, timeout=_APT_BOUND_SECONDS)
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


def names_matching(pattern: str) -> list[str]:
    """Names of packages in the host's lists that match the regular expression, sorted."""
    out = _run(["apt-cache", "search", "--names-only", pattern])
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


def candidate(name: str) -> Package:
    """The version of ``name`` that apt would download; raises ``LabMissing`` when the lists have none."""
    try:
        text = _run(["apt-cache", "show", "--no-all-versions", name])
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


def download(name: str, folder: Path, *, say: Callable[[str], None]) -> Download:
    """Download package ``name`` into ``folder`` and hold it against the checksum of the package lists."""
    package = candidate(name)
    say(f"downloading {package.name} {package.version} ({package.size_bytes / 1e6:.1f} MB)")
    with scratch_folder(folder) as scratch:
        # As root, apt would step down to its own user, who cannot write here.
        _run(
            ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", f"{name}={package.version}"],
            cwd=scratch,
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
