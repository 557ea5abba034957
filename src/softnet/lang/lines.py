# SPDX-License-Identifier: GPL-2.0-or-later
"""A pass over the form: a context that has just paid for a cache line and has not given way since does not ask again.

The machine's line_read() and line_write() do nothing for a CPU that holds the line already. Between two interaction points nobody
else acts, so in straight-line code the second access to a line is known to be free, and its call is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from softnet.lang import ir
from softnet.lang.layout import LINE_SHIFT
from softnet.lang.program import StructDef

Held = dict[tuple[object, ...], bool]
"""Line -> whether it is held for writing too."""


def drop_repeated_lines(module: ir.Module, structs: Mapping[str, StructDef]) -> int:
    """Remove the calls that are known to do nothing; how many there were."""
    embedded = {f.type for s in structs.values() for f in s.fields.values() if f.embedded}
    # An instance of a structure that nobody embeds begins on a line of its own.
    aligned = {name for name in structs if name not in embedded}
    return sum(_Pass(function, aligned).run() for function in module.functions.values())


@dataclass(frozen=True)
class _Address:
    """A temp as a root and a distance from it; ``aligned``: the root begins a line."""

    root: tuple[object, ...]
    words: int
    aligned: bool

    def line(self) -> tuple[object, ...]:
        """The line if it can be told, else the address alone."""
        if self.aligned:
            return (self.root, self.words >> LINE_SHIFT)
        return (self.root, self.words, "exactly")


class _Pass:
    """The pass over one function."""

    def __init__(self, function: ir.Function, aligned: set[str]) -> None:
        self.function = function
        self.aligned = aligned
        self.versions: dict[str, int] = {}
        self.addresses: dict[ir.Temp, _Address] = {}
        self.held: Held = {}
        self.serial = 0

    def run(self) -> int:
        """Walk the blocks; one with a single predecessor goes on with what that one knew."""
        from softnet.lang.llvm_function import count_predecessors

        predecessors = count_predecessors(self.function)
        after: dict[str, tuple[Held, dict[str, int]]] = {}
        dropped = 0
        for block in self.function.blocks:
            before = predecessors.get(block.label, [])
            self.serial += 1
            known = after.get(before[0]) if len(before) == 1 else None
            if known is not None:
                self.held, self.versions = dict(known[0]), dict(known[1])
            else:
                self.held, self.versions = {}, dict.fromkeys(self.function.locals, -self.serial)
            kept = [instr for instr in block.body if not self.repeated(instr)]
            dropped += len(block.body) - len(kept)
            block.body = kept
            after[block.label] = (self.held, self.versions)
        return dropped

    def repeated(self, instr: ir.Instr) -> bool:
        """Follow one instruction; whether it is a call that does nothing."""
        match instr:
            case ir.Get(_, to, local):
                self.addresses[to] = _Address((local, self.versions[local]), 0, False)
            case ir.Set(_, local, _):
                self.serial += 1
                self.versions[local] = self.serial
            case ir.Offset(_, to, base, words, what) if isinstance(base, ir.Temp) and words >= 0:
                self.addresses[to] = self.offset(base, words, what)
            case ir.Call(_, None, "line_read" | "line_write" as name, (address,)):
                return self.access(address, write=name == "line_write")
            case ir.Call() | ir.CallPointer() | ir.Point() | ir.Suspend():
                self.held = {}
            case _:
                pass
        return False

    def offset(self, base: ir.Temp, words: int, what: str) -> _Address:
        """A part of a structure; the first step from a root says what the root is."""
        start = self.addresses.get(base)
        if start is None:
            start = _Address((base,), 0, False)
        aligned = start.aligned if start.words else what.partition(".")[0] in self.aligned
        return _Address(start.root, start.words + words, aligned)

    def access(self, address: ir.Operand, *, write: bool) -> bool:
        """An access to a line: repeated if the line is held as it must be."""
        if isinstance(address, int):
            line: tuple[object, ...] = ("constant", address)
        else:
            line = self.addresses.get(address, _Address((address,), 0, False)).line()
        held = self.held.get(line)
        if held is not None and (held or not write):
            return True
        self.held[line] = write
        return False
