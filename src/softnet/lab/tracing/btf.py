# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a field stands in a structure of a kernel, read from the kernel's own type information (BTF).

Kprobe arguments of older kernels know registers and offsets, not names; the offsets differ from kernel to
kernel and must not be guessed. Format: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from softnet.files import readable
from softnet.lab.errors import LabError

_MAGIC = 0xEB9F
_FILE = "/sys/kernel/btf/vmlinux"
# More than any kernel has, of typedefs of typedefs and of structures without a name in one another; and of members to look at.
_CHAIN_MAX, _MEMBERS_MAX = 64, 1 << 17
_INT, _ARRAY, _STRUCT, _UNION, _ENUM, _FUNC, _FUNC_PROTO, _VAR, _DATASEC, _DECL_TAG, _ENUM64 = (
    1, 3, 4, 5, 6, 12, 13, 14, 15, 17, 19,
)  # fmt: skip
_REFERENCES = frozenset((8, 9, 10, 11, 18))  # typedef, volatile, const, restrict, type tag


@dataclass(frozen=True, slots=True)
class _Type:
    kind: int
    name_offset: int
    flag: bool
    size_or_type: int
    vlen: int
    tail: int


class Btf:
    """The types of one kernel; ``data`` is its /sys/kernel/btf/vmlinux."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 24 or struct.unpack_from("<H", data)[0] != _MAGIC:
            raise LabError("not BTF type information", where=_FILE, found=data[:8].hex(" "), expected="magic 9f eb")
        self._at = 0
        with readable(LabError, "damaged BTF type information", where=self._place, expected="types as BTF describes them"):
            self._read(data)

    def _place(self) -> str:
        return f"{_FILE}: byte {self._at}"

    def _read(self, data: bytes) -> None:
        (header,) = struct.unpack_from("<I", data, 4)
        type_offset, type_length, string_offset, string_length = struct.unpack_from("<4I", data, 8)
        self._data = data
        self._strings = data[header + string_offset : header + string_offset + string_length]
        self._types: list[_Type] = [_Type(0, 0, False, 0, 0, 0)]
        self._scan(header + type_offset, header + type_offset + type_length)
        self._structs: dict[str, int] = {}
        self._functions: dict[str, int] = {}
        for index, kind in enumerate(self._types):
            if kind.kind in (_STRUCT, _FUNC) and kind.name_offset:
                table = self._structs if kind.kind == _STRUCT else self._functions
                table.setdefault(self._name(kind.name_offset), index)

    def _scan(self, position: int, end: int) -> None:
        unpack = struct.Struct("<3I").unpack_from
        extra = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
        each = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}
        while position < end:
            self._at = position
            name, info, size = unpack(self._data, position)
            kind, vlen = info >> 24 & 0x1F, info & 0xFFFF
            self._types.append(_Type(kind, name, bool(info >> 31), size, vlen, position + 12))
            position += 12 + extra.get(kind, 0) + each.get(kind, 0) * vlen

    def _name(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def _resolved(self, index: int) -> _Type:
        kind = self._types[index]
        for _ in range(_CHAIN_MAX):
            if kind.kind not in _REFERENCES:
                return kind
            self._at = kind.tail
            kind = self._types[kind.size_or_type]
        raise ValueError("types that refer to each other without end")

    def _member(self, holder: _Type, field: str, depth: int = 0) -> tuple[int, int] | None:
        """(bit offset, type) of ``field``, looked for in unnamed structures and unions too."""
        if depth > _CHAIN_MAX:
            raise ValueError("structures that hold each other without end")
        for number in range(holder.vlen):
            self._at = holder.tail + 12 * number
            self._looked += 1
            if self._looked > _MEMBERS_MAX:
                raise ValueError("unnamed structures without end")
            name, kind, offset = struct.unpack_from("<3I", self._data, holder.tail + 12 * number)
            bits = offset & 0xFFFFFF if holder.flag else offset
            if name and self._name(name) == field:
                return bits, kind
            inner = self._resolved(kind)
            if not name and inner.kind in (_STRUCT, _UNION):
                found = self._member(inner, field, depth + 1)
                if found is not None:
                    return bits + found[0], found[1]
        return None

    def has(self, struct_name: str, path: str) -> bool:
        """Whether the structure has the field."""
        try:
            self.offset(struct_name, path)
        except LabError:
            return False
        return True

    def parameter(self, function: str, name: str) -> int | None:
        """Which parameter of a function this is, from 0 on; None if there is no such function, or it has no such parameter."""
        index = self._functions.get(function)
        if index is None:
            return None
        with readable(LabError, "damaged BTF type information", where=self._place, expected="types as BTF describes them"):
            proto = self._resolved(self._types[index].size_or_type)
            for number in range(proto.vlen if proto.kind == _FUNC_PROTO else 0):
                self._at = proto.tail + 8 * number
                if self._name(*struct.unpack_from("<I", self._data, self._at)) == name:
                    return number
        return None

    def offset(self, struct_name: str, path: str) -> int:
        """The offset in bytes of ``path``, such as ``input_pkt_queue.qlen``; raises ``LabError`` if absent."""
        index = self._structs.get(struct_name)
        if index is None:
            raise LabError(f"this kernel has no struct {struct_name}")
        self._looked = 0
        with readable(LabError, "damaged BTF type information", where=self._place, expected="types as BTF describes them"):
            return self._offset(index, struct_name, path)

    def _offset(self, index: int, struct_name: str, path: str) -> int:
        holder = self._types[index]
        bits = 0
        for part in path.split("."):
            found = self._member(holder, part)
            if found is None:
                raise LabError(f"struct {struct_name} of this kernel has no {path}", found=f"no field {part}")
            bits += found[0]
            holder = self._resolved(found[1])
        return bits // 8
