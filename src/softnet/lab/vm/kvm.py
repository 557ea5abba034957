# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether hardware virtualisation really works here.

That /dev/kvm exists says little: in a nested virtual machine it may open and then fail at the first
instruction that it must emulate. So a few bytes of code are run under KVM first, and a kernel that KVM gives
up on later is remembered until the next boot of the host.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from softnet import processes
from softnet.files import from_json, scratch_folder
from softnet.lab.vm import cache

_PROBE_SECONDS = 10
# At the reset vector, 16 bytes below the end: mov al, 0x10; out 0xf4, al; hlt. QEMU's isa-debug-exit device
# turns the write into the exit status (0x10 << 1) | 1.
_CODE = bytes.fromhex("b010 e6f4 f4")
_STATUS = 33


@dataclass(frozen=True, slots=True)
class Usability:
    """Whether KVM is to be used, and the reason when it is not."""

    usable: bool
    reason: str


def _memory() -> Path:
    return cache.cache_dir() / "kvm.json"


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def remember_refusal(reason: str) -> Usability:
    """KVM gave up on a kernel: do not try it again on this boot of the host."""
    cache.write_json(_memory(), {"boot_id": _boot_id(), "reason": reason})
    return Usability(False, reason)


def _remembered() -> str | None:
    try:
        record = from_json(_memory().read_bytes())
    except (OSError, ValueError):
        return None
    same = isinstance(record, dict) and record.get("boot_id") == _boot_id()
    return str(record.get("reason")) if same else None


def usability() -> Usability:
    """Probe KVM; under a tenth of a second where it is absent or works."""
    if not Path("/dev/kvm").exists():
        return Usability(False, "there is no /dev/kvm")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Usability(False, "/dev/kvm may not be opened by this user")
    remembered = _remembered()
    if remembered is not None:
        return Usability(False, remembered)
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        return Usability(False, "qemu-system-x86_64 is not here")
    return _probe(qemu)


def _probe(qemu: str) -> Usability:
    image = bytearray(b"\xf4" * 65536)
    image[0xFFF0 : 0xFFF0 + len(_CODE)] = _CODE
    with scratch_folder() as folder:
        rom = folder / "probe.bin"
        rom.write_bytes(image)
        argv = [qemu, "-accel", "kvm", "-machine", "pc", "-m", "16M", "-display", "none", "-nodefaults"]
        argv += ["-no-user-config", "-bios", str(rom), "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
        try:
            done = processes.run(argv, timeout=_PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            return Usability(False, f"a five-byte program did not end under KVM within {_PROBE_SECONDS} s")
    if done.returncode == _STATUS:
        return Usability(True, "")
    words = [line for line in done.stderr.splitlines() if "warning:" not in line]
    return Usability(False, words[-1] if words else f"the probe ended with status {done.returncode}")
