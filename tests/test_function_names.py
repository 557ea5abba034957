# SPDX-License-Identifier: GPL-2.0-or-later
"""What is true of a function is said where it is declared: names of kernel's and machine's functions are few as texts elsewhere.

Each folder has its reason for those that it holds, and a bound, which goes down and not up. ``python tests/test_function_names.py``
prints them.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "softnet"
DECLARED_IN = ("linux", "machine", "workload")

REASONS = {
    "host": (95, "tracepoints of a real kernel: what is recorded, and read out of that; cost rows, which bear a function's name"),
    "lab": (350, "functions and tracepoints of a real kernel: what is probed, counted, followed and compared"),
    "report": (46, "the trace's events, many of which bear a function's name"),
    "image": (42, "what boot calls, in the kernel's order, and the bodies of the threads that it starts"),
    "simulate": (28, "the engine's entries into the machine, the events that a result counts, and those that cut a packet's way"),
    "lang": (30, "prices, checks of locks and draws of costs, whose calls the compiler makes by itself"),
    "verify": (40, "where a context's frame begins, drivers by the function they call, and what a schedule shows"),
}
MARKS = ("kfunc", "hwfunc")
TABLES_MAX = {"lang": 1, "verify": 2, "image": 0, "simulate": 0}
"""Displays of three and more such names: entries of native code, and what a schedule calls a kick or a lock."""


def files(folder: Path) -> list[Path]:
    """The files below a folder."""
    return sorted(folder.rglob("*.py"))


def declared() -> set[str]:
    """The names of all functions that are marked."""
    return {
        node.name
        for folder in DECLARED_IN
        for path in files(SOURCE / folder)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and any(name_of(d) in MARKS for d in node.decorator_list)
    }


def name_of(decorator: ast.expr) -> str:
    """What a decorator is called, with arguments or without."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return called.id if isinstance(called, ast.Name) else ""


def texts(tree: ast.AST, names: set[str]) -> int:
    """How many texts in a tree are such a name."""
    return sum(isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names for node in ast.walk(tree))


@functools.cache
def count() -> tuple[Counter[str], Counter[str]]:
    """Folder -> how many texts are such a name, and how many displays hold three and more."""
    names = declared()
    found: Counter[str] = Counter()
    tables: Counter[str] = Counter()
    for path in files(SOURCE):
        folder = path.relative_to(SOURCE).parts[0]
        if folder in DECLARED_IN:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[folder] += texts(tree, names)
        for node in ast.walk(tree):
            parts = (
                node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else node.keys if isinstance(node, ast.Dict) else []
            )
            held = sum(isinstance(part, ast.Constant) and part.value in names for part in parts)
            tables[folder] += held >= 3
    return +found, +tables


@pytest.mark.slow
def test_names_are_few_and_each_has_its_reason() -> None:
    found, _ = count()
    bounds = {folder: REASONS.get(folder, (0, ""))[0] for folder in found}
    assert not [f"{folder}: {n} names, at most {bounds[folder]}" for folder, n in found.items() if n > bounds[folder]]


def test_no_table_of_names_decides() -> None:
    _, tables = count()
    assert {folder: tables[folder] for folder in TABLES_MAX if tables[folder] > TABLES_MAX[folder]} == {}


if __name__ == "__main__":
    numbers, displays = count()
    for name, n in numbers.most_common():
        print(f"{n:5} {name:10} {displays[name]:3} tables   {REASONS.get(name, (0, ''))[1]}")
    print(f"{sum(numbers.values()):5} together")
