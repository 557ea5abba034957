# SPDX-License-Identifier: GPL-2.0-or-later
"""Symbolic addresses: how the compiler names a cache line whose address is known only at run time.

An address is a root and a distance in words. A root is a value that the analysis does not look into; two addresses with the
same root and distance are equal. The kinds of roots:

| kind | its value |
|---|---|
| ``number`` | 0: the root of constants |
| ``param`` | the argument ``what`` of the function, or one of CPU, AFTERWARDS, RESULT below |
| ``temp`` | the result of the instruction that defines the temp number ``what`` |
| ``meet`` | the local ``what`` at the beginning of the block, where paths bring different values |
| ``cpu`` | hw.cpu after the instruction number ``what`` of the block |
| ``row`` | the instance number ``of`` in the table of the structure ``what`` |
| ``part`` | the address ``of``, where nothing is known of its alignment |

``block`` is the block that makes the root. Each time the block is entered it makes a new value, so what is known of the old one
is forgotten there.

The alignment of an address is that of the structure which begins at its root: BEGINS_LINE or WITHIN_LINE of
lang.program.layout, or UNALIGNED. It decides which words are known to share a line.
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

UNALIGNED: Final = 0
"""Nothing is known of where in its line the structure begins."""


class Root(NamedTuple):
    """A value that comes from elsewhere."""

    kind: str
    block: str
    what: str | int = ""
    of: Address | None = None


class Address(NamedTuple):
    """A distance in words from a root; ``alignment`` is that of the structure which begins at the root."""

    root: Root
    words: int = 0
    alignment: int = UNALIGNED

    def line(self) -> Line:
        """The line that holds the word at this address."""
        if self.alignment or self.words == 0:
            return Line(self.root, self.words >> LINE_SHIFT)
        return Line(self.root, self.words, by_word=True)

    def plus(self, words: int, alignment: int) -> Address:
        """The address ``words`` from here, inside the structure that begins here and has that ``alignment``.

        ``words`` is negative where the address of the structure around is computed (container_of).
        """
        root, from_root, known = self
        at = from_root + words
        if known != BEGINS_LINE and from_root == 0:
            known = alignment
        if words >= 0:
            return Address(root, at, known)
        if at > 0 and known:
            return Address(root, at, known)
        # The structure around begins at the root or before it; before it, no line can be counted from the root's.
        if at == 0:
            return Address(root, 0, known if known == BEGINS_LINE else UNALIGNED)
        return unaligned(root, at)


class Line(NamedTuple):
    """A cache line: the ``number``-th after the root's own; ``by_word``: the one that holds the word ``number`` from the root."""

    root: Root
    number: int
    by_word: bool = False


NUMBER: Final = Root("number", "")


def param(name: str) -> Root:
    """The root of an argument."""
    return Root("param", "", name)


def row(struct: str, index: Address) -> Address:
    """The address of the instance number ``index`` in a structure's table."""
    return Address(Root("row", index.root.block, struct, index._replace(alignment=UNALIGNED)))


def unaligned(root: Root, words: int) -> Address:
    """An address that is a root of its own, because its place in its line is not known."""
    return Address(Root("part", root.block, "", Address(root, words)))


def to_callee(root: Root, names: Mapping[Root, Root]) -> Root | None:
    """A root of the caller as the callee names it; ``names`` are the roots that it has names for. None if it has none."""
    if root in names:
        return names[root]
    if root == NUMBER:
        return root
    if root.of is None:
        return None
    inner = to_callee(root.of.root, names)
    return None if inner is None else Root(root.kind, inner.block, root.what, root.of._replace(root=inner))


def to_caller(line: Line, arguments: Mapping[str, Address]) -> Line:
    """A line of the callee as the caller names it; ``arguments`` are those of the call, by the callee's names."""
    base = _root_to_caller(line.root, arguments)
    if line.by_word:
        return Address(base.root, base.words + line.number, base.alignment).line()
    if base.words == 0:
        return line._replace(root=base.root)
    if base.alignment:
        # A structure that begins a line stands at a multiple of LINE_WORDS from the root; any other fits in one line.
        return Line(base.root, (base.words >> LINE_SHIFT) + line.number)
    return Line(unaligned(base.root, base.words).root, line.number)


def _root_to_caller(root: Root, arguments: Mapping[str, Address]) -> Address:
    if root.kind == "param":
        return arguments[str(root.what)]
    if root.of is None:
        return Address(root)
    base = _root_to_caller(root.of.root, arguments)
    of = Address(base.root, base.words + root.of.words)
    if root.kind == "part":
        return unaligned(of.root, of.words)
    return row(str(root.what), of)
