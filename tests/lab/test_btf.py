# SPDX-License-Identifier: GPL-2.0-or-later
"""Field offsets from BTF, on type information made by hand as Documentation/bpf/btf.rst says."""

from __future__ import annotations

import struct

import pytest

from softnet.lab.errors import LabError
from softnet.lab.tracing.btf import Btf

_INT, _STRUCT, _UNION, _TYPEDEF, _FUNC, _FUNC_PROTO = 1, 4, 5, 8, 12, 13


def _btf() -> bytes:
    strings = bytearray(b"\0")

    def name(text: str) -> int:
        if not text:
            return 0
        at = len(strings)
        strings.extend(text.encode() + b"\0")
        return at

    def members(*rows: tuple[str, int, int]) -> bytes:
        return b"".join(struct.pack("<3I", name(label), kind, bits) for label, kind, bits in rows)

    types = [
        # 1: int; 2: struct inner { int pad; int qlen; }; 3: typedef of 2
        struct.pack("<4I", name("int"), _INT << 24, 4, 32),
        struct.pack("<3I", name("inner"), _STRUCT << 24 | 2, 8) + members(("pad", 1, 0), ("qlen", 1, 32)),
        struct.pack("<3I", name("inner_t"), _TYPEDEF << 24, 2),
        # 4: an unnamed union { int x; int y; }
        struct.pack("<3I", 0, _UNION << 24 | 2, 4) + members(("x", 1, 0), ("y", 1, 0)),
        # 5: struct outer { int a; <4>; inner_t queue; }
        struct.pack("<3I", name("outer"), _STRUCT << 24 | 3, 16) + members(("a", 1, 0), ("", 4, 32), ("queue", 3, 64)),
        # 6: struct bits, with bit-field encoding in the offsets
        struct.pack("<3I", name("bits"), 1 << 31 | _STRUCT << 24 | 1, 8) + members(("late", 1, 3 << 24 | 40)),
        # 7: void (struct outer *sd, int cpu); 8: the function of that type
        struct.pack("<3I", 0, _FUNC_PROTO << 24 | 2, 0) + struct.pack("<4I", name("sd"), 5, name("cpu"), 1),
        struct.pack("<3I", name("kick"), _FUNC << 24, 7),
    ]
    body = b"".join(types)
    return struct.pack("<HBBI4I", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(strings)) + body + bytes(strings)


def test_offsets_follow_typedefs_and_unnamed_members() -> None:
    btf = _btf()
    types = Btf(btf)
    assert types.offset("outer", "a") == 0
    assert types.offset("outer", "y") == 4
    assert types.offset("outer", "queue.qlen") == 12
    assert types.offset("bits", "late") == 5


def test_a_functions_parameter_is_found_by_its_name() -> None:
    types = Btf(_btf())
    assert types.parameter("kick", "sd") == 0
    assert types.parameter("kick", "cpu") == 1
    assert types.parameter("kick", "node") is None
    assert types.parameter("absent", "cpu") is None
    assert types.parameter("outer", "a") is None


def test_what_is_not_there_is_said() -> None:
    types = Btf(_btf())
    assert not types.has("outer", "queue.nothing")
    with pytest.raises(LabError, match=r"no queue\.nothing"):
        types.offset("outer", "queue.nothing")
    with pytest.raises(LabError, match="no struct absent"):
        types.offset("absent", "a")
    with pytest.raises(LabError, match="not BTF"):
        Btf(b"\x7fELF")
