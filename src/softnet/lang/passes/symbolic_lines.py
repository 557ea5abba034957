# SPDX-License-Identifier: GPL-2.0-or-later
"""How the compiler names a cache line that it cannot know: by a value that stays the same and the distance from there.

A value is the same wherever it has the same root. A root is made where a value comes from elsewhere:

| kind | its value |
|---|---|
| ``number`` | 0: an address that is a constant is that far away |
| ``param`` | the argument ``what``, or one of the names below |
| ``temp`` | what the instruction with that temp gives |
| ``meet`` | the local ``what`` at the beginning of the block, where paths bring different values |
| ``cpu`` | hw.cpu after the instruction number ``what`` of the block |
| ``row`` | the instance number ``of`` of the structure ``what``'s table |
| ``part`` | the address ``of``, where nothing says how it lies in its line |

``block`` is where it is made: entered again, the block makes another, and what is known of the old one is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from softnet.lang.program.layout import BEGINS_LINE, LINE_SHIFT

CPU: Final = ".cpu"
"""The argument and local that stands for hw.cpu."""
AFTERWARDS: Final = ".cpu afterwards"
"""hw.cpu when a call returns."""
RESULT: Final = ".result"
"""What a call returns."""


class Root(NamedTuple):
    """A value that comes from elsewhere."""

    kind: str
    block: str
    what: str | int = ""
    of: Address | None = None


class Address(NamedTuple):
    """A value as a distance from a root; ``lies``: how the structure that begins at the root does, 0 where that is not known."""

    root: Root
    words: int = 0
    lies: int = 0

    def line(self) -> Line:
        """The line that it lies in."""
        if self.lies or self.words == 0:
            return Line(self.root, self.words >> LINE_SHIFT)
        return Line(self.root, self.words, exactly=True)

    def part(self, words: int, lies: int) -> Address:
        """What stands ``words`` from here; ``lies``: how the structure does that begins here and that the way leads through."""
        root, from_root, known = self
        at = from_root + words
        if known != BEGINS_LINE and from_root == 0:
            known = lies
        if words >= 0:
            return Address(root, at, known)
        if at > 0 and known:
            return Address(root, at, known)
        # The structure around begins at the root, or before it, where no line of the root's can be told.
        if at == 0:
            return Address(root, 0, known if known == BEGINS_LINE else 0)
        return unknown(root, at)


class Line(NamedTuple):
    """The ``number``-th line from a root's, or the one in which the word at that distance lies: ``exactly``."""

    root: Root
    number: int
    exactly: bool = False


NUMBER: Final = Root("number", "")


def param(name: str) -> Root:
    """What a function is given."""
    return Root("param", "", name)


def row(struct: str, index: Address) -> Address:
    """An instance of a structure's table."""
    return Address(Root("row", index.root.block, struct, index._replace(lies=0)))


def unknown(root: Root, words: int) -> Address:
    """An address of which nothing is known but where it is."""
    return Address(Root("part", root.block, "", Address(root, words)))


def told(root: Root, names: Mapping[Root, Root]) -> Root | None:
    """A root in another function's terms, by the names that it has for roots; None if it has none."""
    if root in names:
        return names[root]
    if root == NUMBER:
        return root
    if root.of is None:
        return None
    inner = told(root.of.root, names)
    return None if inner is None else Root(root.kind, inner.block, root.what, root.of._replace(root=inner))


def given_line(line: Line, given: Mapping[str, Address]) -> Line:
    """A line in the terms of a function called, in the caller's terms; ``given``: its arguments."""
    base = _given(line.root, given)
    if line.exactly:
        return Address(base.root, base.words + line.number, base.lies).line()
    if base.words == 0:
        return line._replace(root=base.root)
    if base.lies:
        # What begins a line here stands at a multiple of LINE_WORDS; all else is a structure within one line.
        return Line(base.root, (base.words >> LINE_SHIFT) + line.number)
    return Line(unknown(base.root, base.words).root, line.number)


def _given(root: Root, given: Mapping[str, Address]) -> Address:
    if root.kind == "param":
        return given[str(root.what)]
    if root.of is None:
        return Address(root)
    base = _given(root.of.root, given)
    of = Address(base.root, base.words + root.of.words)
    if root.kind == "part":
        return unknown(of.root, of.words)
    return row(str(root.what), of)
