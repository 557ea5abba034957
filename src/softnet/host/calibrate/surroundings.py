# SPDX-License-Identifier: GPL-2.0-or-later
"""Where it was measured: release, processor, virtual machine or not, and who else had the CPUs meanwhile."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from typing import Any, Final

from softnet.host.tree import Tree

STEAL_MARK_PERMILLE: Final = 10
OTHERS_MARK_PERMILLE: Final = 200
_TICK: Final = 100
"""USER_HZ, of which /proc/stat counts."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``hypervisor``: what says that this is a virtual machine, "" if nothing does."""

    release: str
    processor: str
    cpus: int
    hypervisor: str
    container: bool

    @property
    def where(self) -> str:
        """In a line, for a table."""
        kind = f"virtual machine ({self.hypervisor})" if self.hypervisor else "no virtual machine seen"
        return f"Linux {self.release}, {self.processor}, {self.cpus} CPUs, {kind}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _word(tree: Tree, path: str) -> str:
    return re.sub(r'["\\\x00-\x1f\x7f]', " ", tree.text(path) or "").strip()[:100]


def hypervisor(tree: Tree) -> str:
    """What says that this machine is a virtual one; nothing where nothing does, which is no proof.

    As systemd-detect-virt: the processor's flag (arch/x86/kernel/cpu/hypervisor.c), /sys/hypervisor, the firmware's names, the
    device tree.
    """
    kind = _word(tree, "/sys/hypervisor/type")
    if kind:
        return f"/sys/hypervisor/type: {kind}"
    vendor = " ".join(filter(None, (_word(tree, f"/sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))))
    named = re.search(r"QEMU|KVM|VMware|VirtualBox|innotek|Xen|Bochs|Parallels|Amazon EC2|Google Compute|Hyper-V|Virtual Machine|"
                      r"OpenStack|Apple Virtualization|BHYVE", vendor, re.IGNORECASE)  # fmt: skip
    if named and not vendor.endswith(".metal"):
        return f"firmware: {vendor}"
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", tree.text("/proc/cpuinfo") or "", re.MULTILINE)
    if flags and "hypervisor" in flags[1].split():
        return "flag hypervisor in /proc/cpuinfo"
    if tree.exists("/proc/device-tree/hypervisor/compatible"):
        return "/proc/device-tree/hypervisor"
    return ""


def surroundings(tree: Tree) -> Surroundings:
    """Of the machine whose files these are."""
    text = tree.text("/proc/cpuinfo") or ""
    names = re.search(r"^(?:model name|Processor|cpu model|uarch|cpu)\s*:\s*(.+)$", text, re.MULTILINE)
    processor = re.sub(r'["\\]', " ", names[1]).strip()[:100] if names else os.uname().machine
    release = _word(tree, "/proc/sys/kernel/osrelease") or "unknown"
    inside = any(tree.exists(path) for path in ("/.dockerenv", "/run/.containerenv", "/run/systemd/container"))
    cpus = len(re.findall(r"^processor\s*:", text, re.MULTILINE)) or os.cpu_count() or 1
    return Surroundings(release, processor, cpus, hypervisor(tree), inside)


@dataclass(frozen=True, slots=True)
class Ticks:
    """/proc/stat's first line, in ticks: in all, not idle, stolen."""

    all: int
    busy: int
    stolen: int


def ticks(tree: Tree) -> Ticks | None:
    """Since boot; None where it is not to be read."""
    found = re.match(r"cpu((?: +\d{1,18}){8,10})", tree.text("/proc/stat") or "")
    if found is None:
        return None
    fields = [int(word) for word in found[1].split()][:8]  # guest time is in user time already
    return Ticks(sum(fields), sum(fields) - fields[3] - fields[4] - fields[7], fields[7])


def marks(where: Surroundings, before: Ticks | None, after: Ticks | None, own_seconds: float) -> list[str]:
    """What makes the figures less sure, in plain words. Nothing is refused for it."""
    out = []
    if where.hypervisor:
        out.append(f"this is a virtual machine ({where.hypervisor}): interrupts, idling and switches go through the "
                   "hypervisor, and spread is large; no figure here is one of bare hardware")  # fmt: skip
    if where.container:
        out.append("this is a container: its limits on CPU time may stand in the figures")
    if before is None or after is None or after.all <= before.all:
        return [*out, "nothing says who else had the CPUs meanwhile (/proc/stat)"]
    span = after.all - before.all
    stolen = (after.stolen - before.stolen) * 1000 // span
    others = max(after.busy - before.busy - round(own_seconds * _TICK), 0) * 1000 // span
    if stolen >= STEAL_MARK_PERMILLE:
        out.append(f"the hypervisor gave {stolen / 10:.1f} % of the CPUs' time to others meanwhile (steal): spread is large")
    if others >= OTHERS_MARK_PERMILLE:
        out.append(f"other programs had {others / 10:.0f} % of the CPUs' time meanwhile: run it on a quiet machine for less spread")
    return out
