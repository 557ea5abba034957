# SPDX-License-Identifier: GPL-2.0-or-later
"""LLVM's text cut into parts that are compiled at the same time.

A function that is never inlined (``noinline``), is exported, or is used in a table of constants only, is defined in one part and
declared in the others; one that may be inlined is defined in each part that uses it. So no part lacks a definition that LLVM could
have inlined. Constants are in the first part. What no exported function reaches is left out; LLVM would drop it as well.

The text is as native.llvm writes it: the head of a definition is one line, and its closing brace is a line of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_HEAD: Final = re.compile(r'define (internal )?[^@]*@"?([\w.]+)"?\(')
_CONSTANT: Final = re.compile(r"@([\w.]+) = internal constant (\[\d+ x \w+\]) ")
_NAME: Final = re.compile(r'@"?([\w.]+)')


@dataclass
class _Piece:
    """A function or a constant."""

    text: list[str]
    internal: bool
    constant: bool
    apart: bool
    """Whether it is defined in one part only."""
    uses: tuple[str, ...]
    """The functions and constants that it names, also itself."""

    def elsewhere(self) -> str:
        """Its declaration, for the parts that do not define it."""
        constant = _CONSTANT.match(self.text[0])
        if constant:
            return f"@{constant[1]} = external hidden constant {constant[2]}"
        head = self.text[0].removesuffix("{").replace(" naked", "")
        return head.replace("define internal", "declare hidden").replace("define", "declare")

    def here(self, alone: bool) -> list[str]:
        """Its definition; ``alone``: this is the only one, so other parts must be able to refer to it."""
        if not (alone and self.internal):
            return self.text
        hidden = self.text[0].replace("define internal", "define hidden")
        return [hidden.replace(" internal constant ", " hidden constant "), *self.text[1:]]


def cut(text: str, parts: int) -> list[str]:
    """The text as ``parts`` texts, each compiled on its own; linked together they are the same program."""
    pieces, rest = _read(text)
    called = {other for name, piece in pieces.items() if not piece.constant for other in piece.uses if other != name}
    for name, piece in pieces.items():
        piece.apart |= name not in called
    reached = _reach(pieces, [name for name, piece in pieces.items() if not piece.internal])
    apart = [name for name, piece in pieces.items() if name in reached and piece.apart]
    where = _share(pieces, apart, parts)
    texts = []
    for part in range(parts):
        mine = [name for name in apart if where[name] == part]
        used = _reach(pieces, mine, stop=set(apart).difference(mine))
        lines = list(rest)
        for name, piece in pieces.items():
            if name in used and (not piece.apart or where[name] == part):
                lines += piece.here(piece.apart)
            elif name in used:
                lines.append(piece.elsewhere())
        texts.append("\n".join(lines) + "\n")
    return texts


def _read(text: str) -> tuple[dict[str, _Piece], list[str]]:
    """The functions and constants by name, and all other lines."""
    pieces: dict[str, _Piece] = {}
    rest: list[str] = []
    lines = iter(text.split("\n"))
    for line in lines:
        head, constant = _HEAD.match(line), _CONSTANT.match(line)
        if head is None and constant is None:
            rest.append(line)
            continue
        own = [line]
        while head is not None and own[-1] != "}":
            own.append(next(lines))
        name = head[2] if head is not None else constant[1] if constant is not None else ""
        internal = head is None or head[1] is not None
        apart = not internal or head is None or " noinline " in line
        pieces[name] = _Piece(own, internal, head is None, apart, tuple(dict.fromkeys(_NAME.findall("\n".join(own)))))
    return pieces, rest


def _reach(pieces: dict[str, _Piece], start: list[str], stop: set[str] | None = None) -> set[str]:
    """All that ``start`` uses, directly or not; pieces in ``stop`` are included, but what they use is not."""
    found: set[str] = set()
    pending = list(start)
    while pending:
        name = pending.pop()
        if name in found or name not in pieces:
            continue
        found.add(name)
        if stop is None or name not in stop:
            pending += pieces[name].uses
    return found


def _share(pieces: dict[str, _Piece], apart: list[str], parts: int) -> dict[str, int]:
    """Piece -> its part: exported functions and constants are in the first, the others make the parts equally long."""
    where = {name: 0 for name in apart if not pieces[name].internal or pieces[name].constant}
    lines = [0] * parts
    for name in where:
        lines[0] += len(pieces[name].text)
    for name in sorted(apart, key=lambda name: (-len(pieces[name].text), name)):
        if name not in where:
            where[name] = min(range(parts), key=lambda part: (lines[part], part))
            lines[where[name]] += len(pieces[name].text)
    return where
