#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""House rules that no linter knows, printed as file:line: message.

- The first line of a source file (the second, after a ``#!``) is its licence.
- A function has at most 70 lines, its docstring not counted.

A file of more than 700 lines is named as a hint: that decides nothing. Exit status: 0 tidy, 1 not.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SPDX = "SPDX-License-Identifier: GPL-2.0-or-later"
FUNCTION_LINES_MAX = 70
FILE_LINES_HINT = 700

SOURCE_DIRS = ("src", "tests", "tools", "bench", "examples", ".ci")
SOURCE_FILES = ("Makefile", "pyproject.toml")
SOURCE_SUFFIXES = {".py", ".sh", ".c", ".h", ".S", ".js", ".css", ".toml"}
SCRIPTS = {".ci/run"}
# What tests read is data: some of it is broken on purpose.
DATA_DIRS = ("tests/golden", "tests/bad", "tests/data")


class Finding(NamedTuple):
    """One broken rule, and where."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def source_paths(root: Path) -> list[str]:
    """Every source file below ``root``, relative to it, sorted."""
    paths = [name for name in SOURCE_FILES if (root / name).exists()]
    for directory in SOURCE_DIRS:
        for path in (root / directory).rglob("*"):
            name = path.relative_to(root).as_posix()
            if "__pycache__" in path.parts or name.startswith(DATA_DIRS) or not path.is_file():
                continue
            if path.suffix in SOURCE_SUFFIXES or name in SCRIPTS:
                paths.append(name)
    return sorted(paths)


def check_file(name: str, text: str) -> Iterator[Finding]:
    """What is wrong with one file of this name and text."""
    lines = text.splitlines()
    if not any(lines):
        return  # an empty __init__.py has nothing to license
    licence_line = 2 if lines[0].startswith("#!") else 1
    if SPDX not in "".join(lines[licence_line - 1 : licence_line]):
        yield Finding(name, licence_line, f"this line must be the licence: # {SPDX}")
    if name.endswith(".py"):
        yield from check_functions(name, text)


def check_functions(name: str, text: str) -> Iterator[Finding]:
    """The functions of one Python file that are too long."""
    try:
        tree = ast.parse(text, filename=name)
    except SyntaxError as error:
        yield Finding(name, error.lineno or 1, f"not Python: {error.msg}")
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = _lines(node)
        if ast.get_docstring(node, clean=False) is not None:
            length -= _lines(node.body[0])
        if length > FUNCTION_LINES_MAX:
            message = f"{node.name} has {length} lines, allowed are {FUNCTION_LINES_MAX}"
            yield Finding(name, node.lineno, message)


def _lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None, "ast.parse sets it"
    return node.end_lineno - node.lineno + 1


def check_tree(root: Path) -> list[Finding]:
    """What is wrong with every source file below ``root``."""
    findings: list[Finding] = []
    for name in source_paths(root):
        findings.extend(check_file(name, (root / name).read_text(encoding="utf-8")))
    return findings


def long_files(root: Path) -> list[str]:
    """A line for each Python file that is longer than the hint."""
    names = [name for name in source_paths(root) if name.endswith(".py")]
    counted = [(len((root / name).read_text(encoding="utf-8").splitlines()), name) for name in names]
    return [f"{name}: {lines} lines (hint: {FILE_LINES_HINT})" for lines, name in counted if lines > FILE_LINES_HINT]


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    findings = check_tree(root)
    for finding in findings:
        print(finding)
    for hint in long_files(root):
        print(hint)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
