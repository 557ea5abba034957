# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets of CPUs as the kernel prints and takes them: lists such as ``0-3,8`` and masks such as ``00000000,0000010f``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from softnet.errors import HostError

CPUS_MAX: Final = 8192
"""CONFIG_NR_CPUS is at most this (arch/x86/Kconfig)."""


def cpu_list(text: str, where: str) -> list[int]:
    """``0-3,8``, as the kernel prints a set of CPUs; an empty text and ``(null)`` are no CPU. Raises HostError."""
    found: set[int] = set()
    stripped = text.strip()
    if stripped in ("", "(null)"):
        return []
    for piece in stripped.split(","):
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", piece.strip(), re.ASCII)
        first = int(match[1]) if match else 0
        last = int(match[2] or match[1]) if match else -1
        if not match or last < first or last >= CPUS_MAX:
            raise HostError("not a list of CPUs", where=where, found=piece[:80], expected='such as "0-3,8", CPUs below 8192')
        found.update(range(first, last + 1))
    return sorted(found)


def cpu_mask(text: str, where: str) -> list[int]:
    """``00000000,0000000f``, as the kernel prints a mask of CPUs. Raises HostError."""
    digits = text.strip().replace(",", "")
    if len(digits) > CPUS_MAX // 4 or not re.fullmatch(r"[0-9a-fA-F]+", digits, re.ASCII):
        raise HostError(
            "not a mask of CPUs", where=where, found=text.strip()[:80], expected='hexadecimal digits such as "00000000,0000000f"'
        )
    mask = int(digits, 16)
    return [cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1]


def as_list(cpus: Iterable[int]) -> str:
    """A set of CPUs as the kernel prints it: ``0-3,8``."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def as_mask(cpus: Iterable[int]) -> str:
    """A set of CPUs as a mask that sysfs takes: hexadecimal, in groups of eight digits."""
    mask = 0
    for cpu in cpus:
        mask |= 1 << cpu
    digits = f"{mask:x}"
    head = len(digits) % 8
    groups = ([digits[:head]] if head else []) + [digits[at : at + 8] for at in range(head, len(digits), 8)]
    return ",".join(groups)
