# SPDX-License-Identifier: GPL-2.0-or-later
"""Source text of functions, with the positions that the user sees.

Each file is read and parsed whole, once: the line numbers of its tree are then the user's own, and nothing has to be
dedented or shifted. ``ast`` counts columns in UTF-8 bytes; a span counts them in characters.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from softnet.errors import SubsetError
from softnet.lang.program.program import parse_file

Definition = ast.FunctionDef | ast.AsyncFunctionDef


_NO_CHILDREN: Final = frozenset(("ctx", "op", "ops", "id", "attr", "arg", "kind", "type_comment"))


_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}


def nodes(tree: ast.AST) -> list[ast.AST]:
    """What ``ast.walk()`` gives, in its order, but contexts and operators, which nobody asks for: in half the time."""
    found = [tree]
    for node in found:
        kind = type(node)
        if kind not in _FIELDS:
            _FIELDS[kind] = tuple(name for name in kind._fields if name not in _NO_CHILDREN)
        for name in _FIELDS[kind]:
            child = getattr(node, name, None)
            if isinstance(child, list):
                found += [item for item in child if isinstance(item, ast.AST)]
            elif isinstance(child, ast.AST):
                found.append(child)
    return found


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a file: lines from 1, columns in characters from 1, the end exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass
class SourceFile:
    """One parsed file."""

    path: str
    lines: list[str]
    tree: ast.Module
    _definitions: dict[tuple[str, int], Definition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Functions are defined at the top level of a module or in an ``if`` there; one inside a function is not linked.
        pending: list[ast.stmt] = list(self.tree.body)
        while pending:
            node = pending.pop()
            if isinstance(node, Definition):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                self._definitions[node.name, first] = node
            elif isinstance(node, ast.If):
                pending += [*node.body, *node.orelse]

    def definition(self, name: str, first_line: int) -> Definition | None:
        """The ``def`` of that name whose first line, decorators included, is ``first_line``."""
        return self._definitions.get((name, first_line))

    def span(self, node: ast.AST) -> Span:
        """The place of an expression, a statement or an argument."""
        line: int = node.lineno  # type: ignore[attr-defined]
        end_line: int = node.end_lineno  # type: ignore[attr-defined]
        column = self.column(line, node.col_offset)  # type: ignore[attr-defined]
        end_column = self.column(end_line, node.end_col_offset)  # type: ignore[attr-defined]
        return Span(self.path, line, column, end_line, end_column)

    def column(self, line: int, byte_offset: int) -> int:
        """The character column, from 1, of a byte offset in a line."""
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        if text.isascii():
            return byte_offset + 1
        return len(text.encode()[:byte_offset].decode(errors="replace")) + 1


_FILES: dict[str, SourceFile] = {}


def source_file(path: str) -> SourceFile:
    """The parsed file; each is parsed once in a process."""
    known = _FILES.get(path)
    if known is not None:
        return known
    lines = linecache.getlines(path)
    if not lines:
        raise SubsetError(
            "no source text",
            where=path,
            hint="kernel functions are compiled from their source; keep them in a file",
        )
    parsed = SourceFile(path, [line.rstrip("\n") for line in lines], parse_file(path))
    _FILES[path] = parsed
    return parsed


def refresh(path: str) -> None:
    """Forget a file that has been edited since it was read: a session loads a patch, changes it, and loads it again."""
    if path not in linecache.cache:
        return
    linecache.checkcache(path)
    if path in linecache.cache:
        return
    _FILES.pop(path, None)
    parse_file.cache_clear()


def forget(path: str) -> None:
    """Forget a text, whatever its file: another one is put in its place."""
    linecache.cache.pop(path, None)
    _FILES.pop(path, None)
    parse_file.cache_clear()


def function_source(function: Callable[..., Any]) -> tuple[SourceFile, Definition]:
    """The file and the tree of a function, found by its name and its first line."""
    code = function.__code__
    parsed = source_file(code.co_filename)
    tree = parsed.definition(code.co_name, code.co_firstlineno)
    if tree is None:
        raise SubsetError(
            f"function '{code.co_name}' is not at the top level of its file",
            where=f"{code.co_filename}:{code.co_firstlineno}",
            hint="define it with `def` at the top level of a module, marked @kfunc or @hwfunc",
        )
    return parsed, tree
