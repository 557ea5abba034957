# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses: the offset of each field in its structure, and the place of each structure in memory.

Memory is one flat vector of 64-bit words. A cache line is LINE_WORDS words, so that a line's number is its address
shifted right; declared lines are aligned to that. Address 0 is NULL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from softnet.errors import SubsetError
from softnet.lang.declare import OBSERVER_PACKAGE
from softnet.lang.program.program import FieldDef, Program, StructDef, with_struct

LINE_SHIFT = 4
LINE_WORDS = 1 << LINE_SHIFT
"""A line holds 64 bytes; kernel fields average four bytes, hence 16 one-field words."""

ENGINE_BASE = LINE_WORDS
"""Address of the singleton structure ``engine_state`` (``hw`` in machine functions): the first line after NULL's."""

ENGINE_STRUCT = "engine_state"


@dataclass(frozen=True)
class Table:
    """Where the instances of a structure are: ``base`` address, ``stride`` in words, ``count``."""

    base: int
    stride: int
    count: int


class Layout(NamedTuple):
    """Structures with offsets, and for one image the tables with addresses."""

    structs: dict[str, StructDef]
    tables: dict[str, Table]
    table_index: dict[str, int]
    """Struct name -> row of the in-memory table directory (base, count): two words each at ``table_dir``."""
    table_dir: int
    size: int
    observer_index: dict[str, int]
    """The same for the observers' structures, whose directory comes after all other tables."""
    observer_dir: int


def _round(words: int) -> int:
    return (words + LINE_WORDS - 1) & ~(LINE_WORDS - 1)


def lay_out_structs(program: Program) -> dict[str, StructDef]:
    """Give every field its offset. Raises SubsetError for a structure that contains itself by value."""
    done: dict[str, StructDef] = {}

    def size_of(field: FieldDef, path: tuple[str, ...]) -> int:
        return visit(field.type, path).size if field.embedded else 1

    def visit(name: str, path: tuple[str, ...]) -> StructDef:
        if name in done:
            return done[name]
        struct = program.structs[name]
        if name in path:
            raise SubsetError(
                "a structure contains itself by value",
                where=struct.where,
                found=" -> ".join((*path, name)),
                expected="a reference",
                hint="drop embed(): a field of that type is then a reference",
            )
        fields: dict[str, FieldDef] = {}
        at = 0
        line = -1
        for field in sorted(struct.fields.values(), key=lambda f: f.line):
            if field.line != line:
                at = _round(at)
                line = field.line
            words = size_of(field, (*path, name)) * field.count
            if words > LINE_WORDS - (at & (LINE_WORDS - 1)) and at & (LINE_WORDS - 1):
                at = _round(at)
            fields[field.name] = field.placed(at)
            at += words
        done[name] = with_struct(struct, {n: fields[n] for n in struct.fields}, at, _round(max(at, 1)))
        return done[name]

    for name in sorted(program.structs):
        visit(name, ())
    return done


def observers_own(struct: StructDef) -> bool:
    """Whether observers declared the structure for themselves."""
    return struct.where.startswith(OBSERVER_PACKAGE)


def lay_out(program: Program, counts: Mapping[str, int], structs: dict[str, StructDef] | None = None) -> Layout:
    """Place ``counts[name]`` instances of each structure that has a table, in the order of their names.

    ``structs`` are the program's with their offsets, where the caller has them.
    """
    if structs is None:
        structs = lay_out_structs(program)
    at = ENGINE_BASE + _round(structs[ENGINE_STRUCT].size)
    names = sorted(name for name in structs if not observers_own(program.structs[name]))
    table_index = {name: i for i, name in enumerate(names)}
    table_dir = at
    at = _round(at + 2 * len(names))
    tables: dict[str, Table] = {ENGINE_STRUCT: Table(ENGINE_BASE, structs[ENGINE_STRUCT].stride, 1)}
    for name in names:
        if name in counts and name != ENGINE_STRUCT:
            tables[name] = Table(at, structs[name].stride, counts[name])
            at += structs[name].stride * counts[name]
    own = sorted(name for name in structs if observers_own(program.structs[name]))
    observer_dir = at
    at = _round(at + 2 * len(own))
    for name in own:
        if name in counts:
            tables[name] = Table(at, structs[name].stride, counts[name])
            at += structs[name].stride * counts[name]
    return Layout(structs, tables, table_index, table_dir, at, {name: i for i, name in enumerate(own)}, observer_dir)


WITHIN_LINE = 1
"""Of a structure: each of its instances lies within one line."""
BEGINS_LINE = 2
"""Of a structure: each of its instances begins on a line."""


def in_lines(structs: Mapping[str, StructDef]) -> dict[str, int]:
    """The alignment of each structure whose instances all have the same: WITHIN_LINE or BEGINS_LINE."""
    # Offsets in a line at which instances begin: 0 for those of a table, for embedded ones as their structure has it.
    begins: dict[str, set[int]] = {name: set() for name in structs}
    pending = [(name, 0) for name in structs]
    while pending:
        name, at = pending.pop()
        if at in begins[name]:
            continue
        begins[name].add(at)
        for field in structs[name].fields.values():
            if field.embedded:
                size = structs[field.type].size
                pending += [(field.type, (at + field.offset + i * size) % LINE_WORDS) for i in range(field.count)]
    found = {}
    for name, places in begins.items():
        if places == {0}:
            found[name] = BEGINS_LINE
        elif all(at + structs[name].size <= LINE_WORDS for at in places):
            found[name] = WITHIN_LINE
    return found
