# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the kernel's own memory, /proc/kcore: what a CPU's softnet_data holds where no trace says it, where a pointer leads.

/proc/kcore is an ELF core file: each program header maps a range of the kernel's addresses to a range of the file.
Only reading; what a racing CPU changes meanwhile may be old by the time that it is read.
"""

from __future__ import annotations

import os
import struct

_PT_LOAD = 1
_HEADER = struct.Struct("<IIQQQQQQ")


class Memory:
    """Words of the kernel's memory by their address."""

    def __init__(self) -> None:
        self._fd = os.open("/proc/kcore", os.O_RDONLY)
        start = os.pread(self._fd, 64, 0)
        table, entry_bytes, entries = (
            struct.unpack_from("<Q", start, 32)[0],
            *struct.unpack_from("<HH", start, 54),
        )
        raw = os.pread(self._fd, entry_bytes * entries, table)
        self._ranges: list[tuple[int, int, int]] = []
        for number in range(entries):
            kind, _, offset, address, _, _, size, _ = _HEADER.unpack_from(raw, number * entry_bytes)
            if kind == _PT_LOAD:
                self._ranges.append((address, size, offset))

    def word(self, address: int, size: int) -> int:
        """The ``size`` bytes at an address, as a number."""
        for first, length, offset in self._ranges:
            if first <= address < first + length:
                return int.from_bytes(os.pread(self._fd, size, offset + address - first), "little")
        raise OSError(f"/proc/kcore does not have address {address:#x}")


class SoftnetData(Memory):
    """The fields of every CPU's softnet_data that the plan names: ``{name: [offset, bytes]}``.

    ``nodes`` names fields in the same way that are in what the per-CPU pointer at ``nodes_pointer`` leads to
    (net_hotdata.skb_defer_nodes, since v6.18): of a CPU's first NUMA node, and a guest has no other.
    """

    def __init__(
        self,
        fields: dict[str, list[int]],
        per_cpu_symbol: int,
        per_cpu_offsets: int,
        nodes: dict[str, list[int]] | None = None,
        nodes_pointer: int = 0,
    ) -> None:
        super().__init__()
        self._fields = {name: (per_cpu_symbol + offset, size) for name, (offset, size) in fields.items()}
        if nodes:
            first = self.word(nodes_pointer, 8)
            self._fields |= {name: (first + offset, size) for name, (offset, size) in nodes.items()}
        cpus = range(os.sysconf("SC_NPROCESSORS_CONF"))
        self._offsets = [self.word(per_cpu_offsets + 8 * cpu, 8) for cpu in cpus]

    def read(self, cpu: int, name: str) -> int:
        """One field of one CPU."""
        where, size = self._fields[name]
        return self.word((self._offsets[cpu] + where) & 0xFFFF_FFFF_FFFF_FFFF, size)

    def all(self, cpu: int) -> dict[str, int]:
        """Every field of one CPU."""
        return {name: self.read(cpu, name) for name in self._fields}
