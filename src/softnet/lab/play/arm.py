# SPDX-License-Identifier: GPL-2.0-or-later
"""Arms of the lab: what softnet.simulate.arms has, and the image of the kernel that is booted.

``6.12-threads`` is kernel 6.12 with ``thread_backlog_napi`` on its command line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from softnet.lab.errors import LabMissing
from softnet.lab.vm import kernels
from softnet.release import THREADS_ARG, THREADS_SUFFIX, releases
from softnet.simulate.arms import Arm

ARMS = tuple(kernel for release in releases().values() if release.in_lab for kernel in release.kernels)
"""Every arm that the lab knows."""


def arms_here(folder: Path | None = None) -> tuple[str, ...]:
    """Of ARMS those that a command runs which is not told: whose kernel is fetched, or in the package lists of this machine.

    With a ``folder`` of results those that have one there. All of them where there is none: then what is missing is said of each.
    """
    if folder is not None:
        return tuple(arm for arm in ARMS if any(folder.glob(f"*/{arm}.json"))) or ARMS
    try:
        offered = {kernel.name for kernel in kernels.available()}
    except LabMissing:
        offered = set()
    found = tuple(arm for arm in ARMS if _base(arm) in offered or kernels.cached(_base(arm)) is not None)
    return found or ARMS


def _base(arm: str) -> str:
    return arm.removesuffix(THREADS_SUFFIX)


@dataclass(frozen=True, kw_only=True)
class GuestArm(Arm):
    """An arm that can be booted."""

    image: kernels.Kernel

    @property
    def release(self) -> str:
        """The kernel's series, as 6.12."""
        return ".".join(self.image.release.split(".")[:2])

    @property
    def threads(self) -> bool:
        """Whether backlog NAPI runs in threads: where a kernel can, always on PREEMPT_RT, else by the boot argument."""
        return self.image.has_backlog_threads and (self.image.rt or THREADS_ARG in self.boot_args)


def guest_arm(name: str, *, boot_args: tuple[str, ...] = (), say: Callable[[str], None]) -> GuestArm:
    """The arm called ``name``: a kernel's short name, optionally with ``-threads``, or a vmlinuz's path."""
    base = name
    if "/" not in name and name.endswith(THREADS_SUFFIX):
        base, boot_args = name.removesuffix(THREADS_SUFFIX), (THREADS_ARG, *boot_args)
    return GuestArm(name, name, boot_args=boot_args, image=kernels.resolve(base, say=say))
