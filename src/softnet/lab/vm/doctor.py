# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab needs on this machine, what is missing, and the command that gets it."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from typing import Any

from softnet.lab.errors import LabError, LabMissing
from softnet.lab.vm import cache, kernels, kvm, packages


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the lab looks at. ``needed`` is false for what only makes it faster."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = True

    def as_json(self) -> dict[str, Any]:
        """The check as a dictionary."""
        return {"name": self.name, "ok": self.ok, "found": self.found, "fix": self.fix, "needed": self.needed}


def _program(name: str, fix: str) -> Check:
    path = shutil.which(name)
    return Check(name, path is not None, path or "not here", "" if path else fix)


def _machine() -> Check:
    machine = platform.machine()
    ok = machine in ("x86_64", "AMD64")
    return Check("machine", ok, machine, "" if ok else "the lab runs x86-64 guests on x86-64 hosts")


def _package_lists() -> Check:
    try:
        offers = kernels.available()
    except LabMissing as error:
        return Check("kernel packages", False, error.message, error.hint, needed=False)
    except LabError as error:
        return Check("kernel packages", False, error.found or error.message, "apt-get update (as root)")
    names = ", ".join(offer.name for offer in offers)
    if not offers:
        return Check("kernel packages", False, "the package lists offer none", "apt-get update (as root)")
    return Check("kernel packages", True, names)


def _guest_programs() -> Check:
    try:
        names = [packages.candidate(name).name for name in ("busybox-static", "python3-minimal")]
    except LabError as error:
        return Check("guest's programs", False, error.message, "apt-get update (as root)")
    return Check("guest's programs", True, ", ".join(names) + " can be downloaded")


def examine() -> list[Check]:
    """Every check, in the order in which a user would fix them."""
    checks = [
        _machine(),
        _program("qemu-system-x86_64", "apt-get install --no-install-recommends qemu-system-x86 (as root)"),
        _program("apt-get", "a Debian or Ubuntu machine; elsewhere give --kernel /path/to/vmlinuz"),
        _program("apt-cache", "a Debian or Ubuntu machine; elsewhere give --kernel /path/to/vmlinuz"),
        _program("dpkg-deb", "apt-get install dpkg (as root)"),
    ]
    if all(check.ok for check in checks if check.name.startswith("apt")):
        checks += [_package_lists(), _guest_programs()]
    verdict = kvm.usability()
    checks.append(
        Check(
            "hardware virtualisation",
            verdict.usable,
            "KVM runs a test program" if verdict.usable else f"not used: {verdict.reason}",
            "" if verdict.usable else "nothing to do: guests are emulated, some ten times slower",
            needed=False,
        )
    )
    here = ", ".join(kernel.name for kernel in kernels.all_cached()) or "none"
    fix = "" if here != "none" else "softnet lab fetch 6.12-rt"
    checks.append(Check("fetched kernels", here != "none", f"{here} in {cache.cache_dir()}", fix, needed=False))
    return checks
