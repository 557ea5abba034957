# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs inside the guest before the agent does: busybox, a Python, and the libraries that it needs.

All of it comes from the host's Debian packages, unpacked and never installed, cut down to what the agent
imports, compiled to bytecode beforehand (compiling in an emulated guest takes longer than booting it), and
kept as one uncompressed cpio archive: the kernel unpacks that faster than it inflates a smaller one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from softnet import processes
from softnet.files import UNREADABLE, from_json, scratch_folder
from softnet.lab.errors import LabError
from softnet.lab.vm import cache, cpio, packages

# Raise this when the recipe below changes, so that images of older recipes are not used.
_RECIPE = 1
_COMPILE_SECONDS = 300
_LIBRARIES = ("libc.so.6", "libm.so.6", "libz.so.1", "libexpat.so.1", "ld-linux-x86-64.so.2")
_DROPPED = (
    "asyncio concurrent config-3.11-x86_64-linux-gnu curses dbm distutils email ensurepip html http idlelib lib2to3 "
    "logging msilib multiprocessing pydoc_data sqlite3 test tkinter tomllib turtledemo unittest urllib venv wsgiref "
    "xml xmlrpc zoneinfo"
)
_DROPPED_PACKAGES = frozenset(_DROPPED.split())
_KEPT_EXTENSIONS = re.compile(r"(_socket|_struct|_json|select|array|mmap|_posixsubprocess|math|fcntl|zlib|_ctypes)\.")


def _python_packages() -> list[str]:
    """The host's minimal Python and what it stands on, by following python3-minimal's own dependencies."""
    for name in packages.depends_on("python3-minimal"):
        match = re.fullmatch(r"(python3\.\d+)-minimal", name)
        if match:
            python = match.group(1)
            return [name, f"lib{python}-minimal", f"lib{python}-stdlib"]
    raise LabError("python3-minimal depends on no python3.N-minimal", where="apt-cache depends python3-minimal")


def _package_names() -> list[str]:
    return ["busybox-static", *_python_packages(), "libc6", "zlib1g", "libexpat1"]


def _wanted(path: str) -> bool:
    base = path.rsplit("/", 1)[-1]
    if path in ("bin/busybox", "usr/bin/busybox") or re.fullmatch(r"usr/bin/python3\.\d+", path):
        return True
    if re.match(r"(usr/)?lib(64)?/", path) and re.fullmatch(r"(lib\w+|ld-linux-x86-64)\.so\.\d[.\d]*", base):
        return base.split(".so")[0] + ".so" in {name.split(".so")[0] + ".so" for name in _LIBRARIES}
    match = re.match(r"usr/lib/python3\.\d+/(.+)", path)
    if match is None:
        return False
    inner = match.group(1)
    if inner.startswith("lib-dynload/"):
        return bool(_KEPT_EXTENSIONS.match(base))
    top = inner.split("/", 1)[0].removesuffix(".py")
    if inner.startswith("encodings/"):
        return base in ("__init__.py", "aliases.py", "utf_8.py", "ascii.py", "latin_1.py")
    return top not in _DROPPED_PACKAGES and base.endswith(".py")


def _unpack(debs: list[Path], root: Path) -> None:
    for deb in debs:
        for info, data in packages.members(deb, _wanted):
            path = root / info.name
            path.parent.mkdir(parents=True, exist_ok=True)
            if info.issym():
                path.symlink_to(info.linkname)
            else:
                path.write_bytes(data)
                path.chmod(info.mode & 0o777)


def _one(root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    if not found:
        raise LabError(f"the Debian packages of the guest's programs hold no {pattern}")
    return found[0]


_COMPILE = """
import os, py_compile, sys
root = sys.argv[1]
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for folder, _, names in os.walk(root):
    for name in names:
        if name.endswith(".py"):
            path = os.path.join(folder, name)
            py_compile.compile(path, path + "c", path[len(root):], doraise=True, invalidation_mode=mode)
            os.unlink(path)
"""


def _compile(root: Path) -> None:
    """Compile the library with the guest's own Python under its own loader, so the host's does not matter."""
    loader = _one(root, "**/ld-linux-x86-64.so.2").resolve()
    library_path = ":".join(sorted({str(path.parent) for path in root.rglob("*.so.*")}))
    python = _one(root, "usr/bin/python3.*")
    with scratch_folder() as scratch:
        script = scratch / "compile.py"
        script.write_text(_COMPILE)
        argv = [str(loader), "--library-path", library_path, str(python), "-S", "-B", str(script), str(root)]
        environment = {"PYTHONHOME": str(root / "usr"), "LC_ALL": "C"}
        done = processes.run(argv, env=environment, timeout=_COMPILE_SECONDS)
    if done.returncode != 0:
        raise LabError("the guest's Python library could not be compiled", found=done.stderr.strip()[-400:])


def _entries(root: Path) -> list[cpio.Entry]:
    """The unpacked tree as archive entries, and what else a root file system needs."""
    entries = [cpio.folder(name) for name in ("proc", "sys", "dev", "tmp", "lab", "lab/modules")]
    # The kernel opens /dev/console before any file system is mounted.
    entries.append(cpio.character_device("dev/console", 5, 1))
    entries.append(cpio.symlink("usr/bin/python3", _one(root, "usr/bin/python3.*").name))
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            entries.append(cpio.symlink(name, str(path.readlink())))
        elif path.is_file():
            executable = bool(path.stat().st_mode & 0o111) or ".so" in path.name
            entries.append(cpio.regular(name, path.read_bytes(), executable=executable))
    return entries


def build(*, say: Callable[[str], None]) -> tuple[Path, dict[str, Any]]:
    """The archive's path and its provenance: package names, versions and checksums. Built once, then cached.

    The archive is built again when the recipe changes or ``softnet lab fetch --userland`` asks for it.
    """
    folder = cache.cache_dir() / "userland" / f"recipe-{_RECIPE}"
    with cache.lock("userland"):
        if not (folder / "userland.json").exists():
            cache.build_folder(folder, lambda target: _build_into(target, say))
    record = folder / "userland.json"
    try:
        provenance: dict[str, Any] = from_json(record.read_bytes())
        packages_of = dict(provenance["packages"])
    except (OSError, *UNREADABLE) as error:
        raise LabError(
            "the record of the guest's user land is damaged", where=str(record), hint="softnet lab fetch --userland"
        ) from error
    return folder / "base.cpio", provenance | {"packages": packages_of}


def _build_into(target: Path, say: Callable[[str], None]) -> None:
    with scratch_folder(cache.cache_dir()) as scratch:
        downloads = [packages.download(name, scratch, say=say) for name in _package_names()]
        root = scratch / "root"
        root.mkdir()
        _unpack([got.path for got in downloads], root)
        say("compiling the guest's Python library")
        _compile(root)
        blob = cpio.archive(_entries(root))
    (target / "base.cpio").write_bytes(blob)
    record = {
        "packages": {got.package.name: {"version": got.package.version, "sha256": got.package.sha256} for got in downloads},
        "recipe": _RECIPE,
        "sha256": cache.sha256_bytes(blob),
        "size_bytes": len(blob),
    }
    cache.write_json(target / "userland.json", record)
