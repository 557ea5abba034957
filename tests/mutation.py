# SPDX-License-Identifier: GPL-2.0-or-later
"""A mutation is an edit of today's function: this text of it becomes that one. No function is ever copied.

The function is taken as the kernel in use links it (softnet.linux.source), so a mutation follows what the function becomes;
where the text that it changes is gone, the test that uses it fails and says so. The result is a patch file: the way by which
a user's own change comes in.
"""

from __future__ import annotations

import ast
import functools
import textwrap
from dataclasses import dataclass
from pathlib import Path

from softnet.linux.source import Source, linked_source
from softnet.scenario import parse_kernel

HEAD = "# SPDX-License-Identifier: GPL-2.0-or-later\nfrom __future__ import annotations\n\nfrom softnet.lang import {}\n\n\n"
DECLARING = ("Struct", "array", "embed", "guarded", "hwfunc", "kfunc", "percpu", "private", "shared")


@dataclass(frozen=True)
class Edit:
    """One change of one function.

    A piece of a line stands for itself. Whole lines (where either text has several, or a line that goes) are written from the
    margin, whatever their depth in the function. With no old text the new one comes first in the function. An old text that
    occurs twice, and is to be changed twice, says ``count=2``.
    """

    function: str
    old: str
    new: str
    count: int = 1

    def apply(self, text: str, where: str) -> str:
        """The function's text with the change; ``where`` says whose function it is, for the message."""
        if not self.old:
            changed, found = _put_first(text, self.new), 1
        elif "\n" in self.old or "\n" in self.new or (not self.new and self.old in map(str.strip, text.split("\n"))):
            changed, found = _replace_lines(text, *_from_margin(self.old, self.new))
        else:
            changed, found = text.replace(self.old, self.new), text.count(self.old)
        assert found == self.count, f"{where}: {self.function}() has this {found} times, not {self.count}:\n{self.old}"
        return changed


@dataclass(frozen=True)
class Mutation:
    """Edits of a kernel's functions, and a sentence that says what is wrong with the kernel then."""

    name: str
    wrong: str
    edits: tuple[Edit, ...]
    adds: str = ""
    """Declarations that the kernel does not have: functions, or fields in a ``class X(Struct, extends=True)``."""

    def text(self, kernel: str) -> str:
        """The patch file for a kernel, "6.12-rt"."""
        source = _linked(kernel)
        functions: dict[str, str] = {}
        for edit in self.edits:
            before = functions.get(edit.function) or _text_of(source, edit.function)
            functions[edit.function] = edit.apply(before, f"{self.name} on {kernel}")
        body = "\n\n".join([*([textwrap.dedent(self.adds).strip() + "\n"] if self.adds else []), *functions.values()])
        return HEAD.format(", ".join(word for word in DECLARING if word in body)) + body

    def write(self, folder: Path, kernel: str) -> str:
        """The path of the patch file, written to a folder."""
        path = folder / f"{self.name}.py"
        path.write_text(self.text(kernel))
        return str(path)


def mutation(name: str, wrong: str, *edits: Edit) -> Mutation:
    """A row of a table."""
    return Mutation(name, wrong, edits)


def function_text(kernel: str, name: str) -> str:
    """The text of a function as the kernel links it, with its decorator."""
    return _text_of(_linked(kernel), name)


def mutate(folder: Path, kernel: str, function: str, old: str, new: str, *, count: int = 1) -> str:
    """A patch file with one edit; see Edit."""
    return Mutation(f"mutation_{function}", "", (Edit(function, old, new, count),)).write(folder, kernel)


@functools.cache
def _linked(kernel: str) -> Source:
    choice = parse_kernel(kernel)
    return linked_source(choice.release, choice.flavour, label=kernel)


def _text_of(source: Source, function: str) -> str:
    assert function in source.definitions, f"{source.label} has no {function}()"
    return "\n".join(source.definition(function).pieces[-1].text) + "\n"


def _from_margin(*texts: str) -> list[list[str]]:
    """The lines of each text without the indentation that the blocks share, and without the line breaks around them."""
    blocks = [line for text in texts if "\n" in text for line in text.split("\n") if line.strip()]
    margin = min(map(_depth, blocks), default=0)
    cut = [[line[margin:] if "\n" in text else line for line in text.rstrip().split("\n")] for text in texts]
    return [lines if lines[0] else lines[1:] for lines in cut]


def _replace_lines(text: str, old: list[str], new: list[str]) -> tuple[str, int]:
    """Whole lines for whole lines, at the depth at which they stand; and how often that was."""
    lines = text.split("\n")
    out: list[str] = []
    found = at = 0
    while at < len(lines):
        there = lines[at : at + len(old)]
        indent = " " * (_depth(there[0]) - _depth(old[0]))
        if there == [indent + line if line else "" for line in old]:
            out += [indent + line if line else "" for line in new]
            found += 1
            at += len(old)
        else:
            out.append(lines[at])
            at += 1
    return "\n".join(out), found


def _put_first(text: str, new: str) -> str:
    """The lines in front of a function's first statement, behind its docstring."""
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    first = function.body[1 if ast.get_docstring(function) else 0]
    lines = text.split("\n")
    lines[first.lineno - 1 : first.lineno - 1] = [" " * first.col_offset + line for line in _from_margin(new)[0]]
    return "\n".join(lines)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
