# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel modules that a guest needs, in the order in which they must be loaded.

Debian's packages carry no modules.dep (depmod runs when they are installed), so the dependencies are read
from the modules themselves: the "depends=" field of their .modinfo section.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Mapping

from softnet.lab.errors import LabError

# The channel to the host, and the two network devices that scenarios may ask for. Whatever of these a kernel
# has built in is simply not among its module files.
WANTED = ("virtio_pci", "virtio_console", "veth", "tun")
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_FILE = re.compile(r"(?:.*/)?([^/]+)\.ko(?:\.xz)?$")


def module_name(path: str) -> str | None:
    """The name of the module in this file of a kernel package, or None if it is none."""
    match = _FILE.match(path)
    return match.group(1).replace("-", "_") if match else None


def unpack(path: str, data: bytes) -> bytes:
    """The module as insmod takes it."""
    return lzma.decompress(data) if path.endswith(".xz") else data


def depends(image: bytes) -> list[str]:
    """The names of the modules that this one needs loaded before it."""
    match = _DEPENDS.search(image)
    if match is None or not match.group(1):
        return []
    return [name.replace("-", "_") for name in match.group(1).decode("ascii").split(",")]


def load_order(images: Mapping[str, bytes], wanted: tuple[str, ...] = WANTED) -> list[str]:
    """Names of ``wanted`` and all that they need, dependencies first; absent ones (built in) are left out.

    Raises ``LabError`` when modules depend on each other in a circle.
    """
    order: list[str] = []
    open_names: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in images:
            return
        if name in open_names:
            raise LabError("modules depend on each other in a circle", found=" -> ".join([*open_names, name]))
        open_names.append(name)
        for needed in depends(images[name]):
            visit(needed)
        open_names.pop()
        order.append(name)

    for name in wanted:
        visit(name)
    return order
