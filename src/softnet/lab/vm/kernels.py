# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernels that the lab can boot: what can be had, what is here, and how one gets here.

A kernel has a short name, ``6.12`` or ``6.12-rt``: the newest package of that series in the host's package
lists. Fetching keeps of a package only what booting needs: the image, its configuration, and the few modules
named in ``softnet.lab.vm.modules``. Where each came from is recorded beside it in ``kernel.json``.
"""

from __future__ import annotations

import os
import platform
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softnet.files import UNREADABLE, from_json, scratch_folder
from softnet.lab.errors import LabError, LabMissing
from softnet.lab.vm import cache, modules, packages, suites
from softnet.release import nearest

# linux-image-6.1.0-56-rt-amd64, linux-image-6.12.117+deb12-amd64; not -cloud, -unsigned, -dbg.
_PACKAGE = re.compile(r"linux-(?:image|binary)-((\d+)\.(\d+)\.[0-9][0-9a-z.+~]*(?:-\d+)?)-(rt-)?amd64")
_NAME = re.compile(r"(\d+)\.(\d+)(-rt)?")
_MODULE_PATHS = re.compile(
    r"(?:usr/)?lib/modules/[^/]+/kernel/drivers/(?:virtio/[^/]+|char/virtio_console|net/veth|net/tun)\.ko(?:\.xz)?"
)


_IMAGE = re.compile(r"boot/vmlinuz-(?P<boot>[^/]+)|(?:usr/)?lib/modules/(?P<modules>[^/]+)/vmlinuz")
_CONFIG = re.compile(r"boot/config-[^/]+|(?:usr/)?lib/modules/[^/]+/config")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that can be booted now.

    ``name`` is the short name or the path that the user gave, ``release`` what uname -r says in the guest,
    ``modules_dir`` holds uncompressed modules and their load order (None: everything needed is built in).
    """

    name: str
    release: str
    vmlinuz: Path
    modules_dir: Path | None
    provenance: dict[str, Any]

    @property
    def rt(self) -> bool:
        """Whether this is a PREEMPT_RT kernel, by its configuration if that is known, else by its name."""
        config = self.vmlinuz.with_name("config")
        if config.exists():
            return "CONFIG_PREEMPT_RT=y" in config.read_text().splitlines()
        return "-rt" in self.release

    @property
    def has_backlog_threads(self) -> bool:
        """Whether backlog NAPI can run in threads. Debian's packages and kernels of one's own say no more of it before they are
        booted than their release.
        """
        return nearest(self.release).has("backlog_threads", rt=self.rt)

    def load_order(self) -> list[tuple[str, bytes]]:
        """The modules to load, as (file name, bytes)."""
        if self.modules_dir is None:
            return []
        names = (self.modules_dir / "order").read_text().split()
        return [(name, (self.modules_dir / name).read_bytes()) for name in names]


@dataclass(frozen=True, slots=True)
class Available:
    """A series of kernel packages: its short name, and its newest package.

    Debian's linux-image has all up to 6.18. From 6.19 on it is empty, and depends on linux-binary with the vmlinuz, and on
    linux-modules and linux-base, which are in ``others``.
    """

    name: str
    package: str
    others: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """All that a guest needs of it."""
        return (self.package, *self.others)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", text))


def newest_per_series(names: list[str]) -> list[Available]:
    """Of kernel package names, the newest of each series and flavour, oldest series first, plain before RT."""
    best: dict[tuple[int, int, bool], tuple[tuple[int, ...], str]] = {}
    known = set(names)
    for name in sorted(known):
        match = _PACKAGE.fullmatch(name)
        if match is None or not _whole(name, known):
            continue
        key = (int(match.group(2)), int(match.group(3)), match.group(4) is not None)
        entry = (_numbers(match.group(1)), name)
        if key not in best or best[key] < entry:
            best[key] = entry
    return [
        Available(f"{major}.{minor}{'-rt' if rt else ''}", package, _others(package, known))
        for major, minor, rt in sorted(best)
        for package in (best[major, minor, rt][1],)
    ]


def _sibling(package: str, part: str) -> str:
    """The package of the same kernel with another part of it: linux-modules of a linux-binary."""
    return re.sub(r"^linux-[a-z]+-", f"linux-{part}-", package)


def _whole(package: str, known: set[str]) -> bool:
    """Whether a package holds a kernel, and its modules can be had: an image that a binary stands beside is empty."""
    if package.startswith("linux-image-"):
        return _sibling(package, "binary") not in known
    return _sibling(package, "modules") in known


def _others(package: str, known: set[str]) -> tuple[str, ...]:
    if package.startswith("linux-image-"):
        return ()
    return tuple(name for name in (_sibling(package, "modules"), _sibling(package, "base")) if name in known)


def available(config: Path | None = None) -> list[Available]:
    """What the package lists of this machine offer, or those of a configuration. Raises ``LabMissing`` where there is no apt."""
    return newest_per_series(packages.names_matching("^linux-(image|binary|modules|base)-[0-9].*-amd64$", config))


def _folder(name: str) -> Path:
    return cache.cache_dir() / "kernels" / name


def cached(name: str) -> Kernel | None:
    """The fetched kernel of this short name, or None."""
    record = _folder(name) / "kernel.json"
    if not record.exists():
        return None
    try:
        provenance: dict[str, Any] = from_json(record.read_bytes())
        release = str(provenance["release"])
    except (OSError, *UNREADABLE) as error:
        raise LabError("the record of a fetched kernel is damaged", where=str(record), hint=f"softnet lab fetch {name}") from error
    return Kernel(name, release, _folder(name) / "vmlinuz", _folder(name) / "modules", provenance)


def all_cached() -> list[Kernel]:
    """Every fetched kernel, oldest series first."""
    folder = cache.cache_dir() / "kernels"
    names = [path.name for path in folder.glob("*") if _NAME.fullmatch(path.name)] if folder.exists() else []
    found = [cached(name) for name in sorted(names, key=lambda name: (_numbers(name), name))]
    return [kernel for kernel in found if kernel is not None]


def check_name(name: str) -> None:
    """Refuse a name that is neither short nor a path."""
    if _NAME.fullmatch(name) is None:
        raise LabError(
            "not the name of a kernel",
            found=repr(name),
            expected="a series such as 6.12 or 6.12-rt, or the path of a vmlinuz",
            hint="softnet lab kernels lists what can be had",
        )


def fetch(name: str, *, say: Callable[[str], None], suite: str = "") -> Kernel:
    """Get the newest package of series ``name`` into the cache and return the kernel.

    ``say`` receives progress, one line a call. ``suite`` is one that this machine does not use: softnet.lab.vm.suites. Raises
    ``LabMissing`` when there is no such package.
    """
    check_name(name)
    config = suites.lists_of(suite, say=say) if suite else None
    offers = {offer.name: offer for offer in available(config)}
    if name not in offers:
        raise LabMissing(
            f"no package of kernel {name} in " + (f"the suite {suite}" if suite else "the package lists of this machine"),
            found=", ".join(offers) or "no kernel packages at all",
            hint="--suite NAME looks in another suite of this machine's mirror, such as trixie-backports; apt-get update (as root)"
            " may help; or give a vmlinuz of your own by its path",
        )
    with cache.lock(f"kernel-{name}"), scratch_folder(cache.cache_dir()) as scratch:
        present = cached(name)
        wanted = [packages.candidate(package, config) for package in offers[name].packages]
        if present is not None and _is_of(present, wanted):
            say(f"{name}: {present.release} is here already")
            return present
        got = [packages.download(package, scratch, say=say, config=config) for package in offers[name].packages]
        say("unpacking " + ", ".join(one.path.name for one in got))
        cache.build_folder(_folder(name), lambda folder: _unpack(name, got, folder))
    kernel = cached(name)
    assert kernel is not None
    return kernel


def _is_of(kernel: Kernel, wanted: Sequence[packages.Package]) -> bool:
    """Whether a fetched kernel came from these very packages."""
    told = [kernel.provenance.get("package_sha256"), *(other["sha256"] for other in kernel.provenance.get("other_packages", []))]
    return told == [package.sha256 for package in wanted]


def _unpack(name: str, got: Sequence[packages.Download], folder: Path) -> None:
    """Lay out one kernel in ``folder``: vmlinuz, config, modules/, kernel.json."""
    images: dict[str, bytes] = {}
    release = ""

    def wanted(path: str) -> bool:
        return any(kind.fullmatch(path) for kind in (_IMAGE, _CONFIG, _MODULE_PATHS))

    for info, data in (member for one in got for member in packages.members(one.path, wanted)):
        base = info.name.rsplit("/", 1)[-1]
        module = modules.module_name(base)
        if module is not None:
            images[module] = modules.unpack(base, data)
        elif image := _IMAGE.fullmatch(info.name):
            release = image["boot"] or image["modules"]
            (folder / "vmlinuz").write_bytes(data)
        else:
            (folder / "config").write_bytes(data)
    if not release:
        raise LabError(f"package {got[0].package.name} holds no vmlinuz", where=got[0].path.name)
    write_modules(folder / "modules", images)
    first, *others = (one.package for one in got)
    record: dict[str, Any] = {
        "name": name,
        "release": release,
        "package": first.name,
        "package_version": first.version,
        "package_sha256": first.sha256,
        "vmlinuz_sha256": cache.sha256_file(folder / "vmlinuz"),
    }
    if others:
        record["other_packages"] = [{"name": one.name, "version": one.version, "sha256": one.sha256} for one in others]
    cache.write_json(folder / "kernel.json", record)


def write_modules(folder: Path, images: dict[str, bytes]) -> None:
    """The modules to load and the file ``order`` that names them in load order."""
    folder.mkdir()
    order = modules.load_order(images)
    for name in order:
        (folder / f"{name}.ko").write_bytes(images[name])
    (folder / "order").write_text("".join(f"{name}.ko\n" for name in order))


def from_path(path: Path) -> Kernel:
    """A kernel image of the user's own: a build tree's arch/x86/boot/bzImage, or one of /boot.

    Its modules are looked for in /lib/modules/RELEASE; a kernel that has virtio_pci and virtio_console built
    in needs none. Raises ``LabError`` when the file is no x86 Linux image.
    """
    release = _release_of(path)
    source = Path("/lib/modules") / release / "kernel"
    digest = cache.sha256_file(path)
    provenance = {"name": str(path), "release": release, "vmlinuz_sha256": digest}
    modules_dir: Path | None = None
    if source.exists():
        images: dict[str, bytes] = {}
        for file in sorted(source.rglob("*.ko*")):
            relative = f"lib/modules/{release}/{file.relative_to(source.parent)}"
            name = modules.module_name(file.name)
            if name is not None and _MODULE_PATHS.fullmatch(relative):
                images[name] = modules.unpack(file.name, file.read_bytes())
        modules_dir = cache.cache_dir() / "modules" / digest[:16]
        with cache.lock("modules"):
            cache.build_folder(modules_dir.parent / digest[:16] / "set", lambda f: write_modules(f / "m", images))
        modules_dir = modules_dir / "set" / "m"
    return Kernel(str(path), release, path, modules_dir, provenance)


def _release_of(path: Path) -> str:
    """The release string in the header of an x86 boot image (Documentation/arch/x86/boot.rst)."""
    try:
        with path.open("rb") as stream:
            head = stream.read(0x8000)
    except OSError as error:
        raise LabError("the kernel image cannot be read", where=str(path), found=error.strerror or "") from error
    if head[0x202:0x206] != b"HdrS":
        raise LabError(
            "not a bootable x86 Linux kernel image",
            where=str(path),
            found="no HdrS at byte 0x202",
            expected="a bzImage: arch/x86/boot/bzImage of a build tree, or /boot/vmlinuz-*",
        )
    (offset,) = struct.unpack_from("<H", head, 0x20E)
    text = head[offset + 0x200 :].split(b"\0", 1)[0]
    return text.decode("ascii", "replace").split(" ", 1)[0]


def resolve(name: str, *, say: Callable[[str], None], may_fetch: bool = True) -> Kernel:
    """The kernel of this short name (fetched if it is not here) or at this path."""
    if "/" in name or os.path.isfile(name):
        return from_path(Path(name))
    check_name(name)
    kernel = cached(name)
    if kernel is not None:
        return kernel
    if not may_fetch:
        raise LabMissing(f"kernel {name} is not in the cache", hint=f"softnet lab fetch {name}")
    return fetch(name, say=say)


def require_machine() -> None:
    """The guest and its packages are x86-64; say so early elsewhere."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise LabMissing(
            "the lab runs x86-64 guests with programs of the host's own architecture",
            found=platform.machine(),
            expected="x86_64",
        )
