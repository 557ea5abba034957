# SPDX-License-Identifier: GPL-2.0-or-later
"""A small linker and loader: object files become one flat image, which loading only copies.

LLVM's own loader needs llvmlite, and importing that takes longer than all the rest of starting a cached kernel. The object files
of our compiler are simple (no undefined symbols, three kinds of relocation), so they are linked once, when the kernel is compiled;
loading copies the bytes and adds the base to the words that are addresses. An object file with anything else in it is not
flattened; LLVM loads it.

Source of the format: System V ABI, AMD64 supplement, 4.4 (relocation), and the generic ABI, chapter 4 (object files).
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

R_X86_64_64: Final = 1
R_X86_64_PC32: Final = 2
R_X86_64_PLT32: Final = 4
SHT_PROGBITS: Final = 1
SHT_SYMTAB: Final = 2
SHT_RELA: Final = 4
SHF_WRITE: Final = 1
SHF_ALLOC: Final = 2
STB_GLOBAL: Final = 1
STV_MASK: Final = 3
STV_DEFAULT: Final = 0
EM_X86_64: Final = 62

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELA: Final = struct.Struct("<QQq")


@dataclass(frozen=True)
class Flat:
    """``image`` can be loaded at any page; its address is added to the words at ``absolute``; ``exports`` are offsets."""

    image: bytes
    absolute: list[int]
    exports: dict[str, int]


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


def _name(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode()


@dataclass
class _Object:
    """One object file, its sections placed in the image."""

    code: bytes
    sections: list[_Section]
    placed: dict[int, int]
    """Section -> its offset in the image."""
    symbols: list[tuple[str, int | None]]
    """Name and offset of every symbol; None for one that is defined in another object file."""
    shared: dict[str, int]
    """Symbols that other object files may refer to."""
    exports: dict[str, int]


def flatten(*codes: bytes) -> Flat | None:
    """Link relocatable object files into one image; None if they hold anything that this module does not know."""
    image = bytearray()
    objects = []
    for code in codes:
        one = _place(code, image)
        if one is None:
            return None
        objects.append(one)
    shared = {name: offset for one in objects for name, offset in one.shared.items()}
    absolute: list[int] = []
    for one in objects:
        symbols = [shared.get(name) if offset is None else offset for name, offset in one.symbols]
        for section in one.sections:
            if section.kind == SHT_RELA and section.info in one.placed:
                for at in range(section.offset, section.offset + section.size, _RELA.size):
                    entry = _RELA.unpack_from(one.code, at)
                    if not _resolve(image, entry, one.placed[section.info], symbols, absolute):
                        return None
    return Flat(bytes(image), absolute, {name: at for one in objects for name, at in one.exports.items()})


def _place(code: bytes, image: bytearray) -> _Object | None:
    """Put the sections of an object file into the image."""
    head = _HEADER.unpack_from(code)
    if head[0][:6] != b"\x7fELF\2\1" or head[2] != EM_X86_64:
        return None
    sections = [_Section(*_SECTION.unpack_from(code, head[6] + i * head[11])) for i in range(head[12])]
    names = code[sections[head[13]].offset :]
    placed: dict[int, int] = {}
    for index, section in enumerate(sections):
        called = _name(names, section.name)
        # Unwind tables are for exceptions; native code raises none.
        if not section.flags & SHF_ALLOC or not section.size or called == ".eh_frame":
            continue
        constant = not section.flags & SHF_WRITE or called.startswith(".data.rel.ro")
        if section.kind != SHT_PROGBITS or not constant:
            return None
        image += bytes(-len(image) % max(section.align, 16))
        placed[index] = len(image)
        image += code[section.offset : section.offset + section.size]
    one = _Object(code, sections, placed, [], {}, {})
    table = next(section for section in sections if section.kind == SHT_SYMTAB)
    strings = code[sections[table.link].offset :]
    for at in range(table.offset, table.offset + table.size, _SYMBOL.size):
        start, info, other, home, value, _ = _SYMBOL.unpack_from(code, at)
        name = _name(strings, start)
        offset = placed[home] + value if home in placed else None
        one.symbols.append((name, offset))
        if offset is not None and info >> 4 == STB_GLOBAL:
            one.shared[name] = offset
            if other & STV_MASK == STV_DEFAULT:
                one.exports[name] = offset
    return one


def _resolve(image: bytearray, entry: tuple[int, ...], base: int, symbols: list[int | None], absolute: list[int]) -> bool:
    """Apply one relocation; False for one that cannot be."""
    offset, info, addend = entry
    symbol, kind, at = symbols[info >> 32], info & 0xFFFFFFFF, base + offset
    if symbol is None:
        return False
    if kind in (R_X86_64_PC32, R_X86_64_PLT32):
        struct.pack_into("<i", image, at, symbol + addend - at)
        return True
    if kind == R_X86_64_64:
        struct.pack_into("<q", image, at, symbol + addend)
        absolute.append(at)
        return True
    return False


class Loaded:
    """A flat image in executable memory, for as long as this object lives."""

    def __init__(self, flat: Flat) -> None:
        self._memory = mmap.mmap(-1, len(flat.image))
        holder = ctypes.c_char.from_buffer(self._memory)
        self._base = ctypes.addressof(holder)
        del holder
        words = bytearray(flat.image)
        for at in flat.absolute:
            (value,) = struct.unpack_from("<q", words, at)
            struct.pack_into("<q", words, at, value + self._base)
        self._memory[:] = bytes(words)
        self._exports = flat.exports
        _make_executable(self._base, len(words))

    def address(self, name: str) -> int:
        """The address of an exported function."""
        return self._base + self._exports[name]


def loadable() -> bool:
    """Whether this module knows how to make memory executable on this system."""
    return sys.platform == "linux"


def _make_executable(base: int, size: int) -> None:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    if libc.mprotect(ctypes.c_void_p(base), ctypes.c_size_t(pages), mmap.PROT_READ | mmap.PROT_EXEC) != 0:
        raise OSError(ctypes.get_errno(), "memory cannot be made executable")
