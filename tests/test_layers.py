# SPDX-License-Identifier: GPL-2.0-or-later
"""Imports point one way, and the model never reaches for a clock or for chance.

The table is the architecture. An import inside a function and one for type checkers count like any other.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "softnet"

GROUND = frozenset({"errors", "units", "trace", "files", "release", "processes", "views"})
MODEL = GROUND | {"lang", "machine", "linux", "workload"}

# Layer -> the other layers that it may import.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "units": frozenset({"errors"}),
    "trace": frozenset({"errors", "units"}),
    "files": frozenset({"errors"}),
    "release": frozenset(),
    "views": frozenset(),
    "processes": frozenset({"errors"}),
    "ftrace": frozenset({"errors", "files"}),
    "lang": GROUND,
    "cluster": GROUND | {"lang"},
    "machine": GROUND | {"lang"},
    "linux": GROUND | {"lang", "machine"},
    "workload": GROUND | {"lang", "machine", "linux"},
    "properties": MODEL,
    "scenario": frozenset({"errors", "units", "files", "release"}),
    "image": MODEL | {"scenario"},
    "simulate": MODEL | {"properties", "scenario", "image"},
    "verify": MODEL | {"properties", "scenario", "image", "simulate", "cluster"},
    "sweep": MODEL | {"properties", "scenario", "image", "simulate", "cluster"},
    "lab": MODEL | {"ftrace", "properties", "scenario", "image", "simulate"},
    "host": MODEL | {"ftrace", "properties", "scenario", "image", "simulate"},
    "report": MODEL | {"properties", "scenario", "image", "simulate", "verify", "cluster", "sweep", "lab", "host"},
    "cli": MODEL | {"properties", "scenario", "image", "simulate", "verify", "cluster", "sweep", "lab", "host", "report"},
}

# Virtual time and one seeded hash (softnet.units.mix) are all that these layers know of clocks and chance.
UNREPEATABLE = frozenset({"random", "secrets", "uuid", "time", "datetime"})
REPEATABLE_LAYERS = (
    "trace", "units", "lang", "machine", "linux", "workload", "properties", "scenario", "image", "simulate", "verify", "sweep",
)  # fmt: skip
READS_A_CLOCK = "softnet.verify.parallel"
"""Gives each search its seconds. What a search finds does not depend on them: without the time to finish it is inconclusive."""


def imported_modules(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that a module imports, wherever in it the import stands."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                parent = ".".join(parts[: len(parts) - node.level + 1])
                base = f"{parent}.{base}" if base else parent
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call) and _called_name(node.func) in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def _called_name(func: ast.expr) -> str:
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


@functools.cache
def parsed(source: str) -> ast.Module:
    """A text's tree: two tests look at the whole source."""
    return ast.parse(source)


def violations(source: str, module: str, is_package: bool) -> list[str]:
    """What one module of this name and source imports against the table."""
    layer = module.split(".")[1]
    found = []
    for line, name in imported_modules(parsed(source), module, is_package):
        top, _, rest = name.partition(".")
        if top != "softnet":
            if layer in REPEATABLE_LAYERS and top in UNREPEATABLE and (module, top) != (READS_A_CLOCK, "time"):
                found.append(f"{module}:{line}: {layer} is repeatable and must not import {top}")
            continue
        target = rest.partition(".")[0]
        if target in ("", "__version__") or target == layer:
            continue
        if target not in MAY_IMPORT:
            found.append(f"{module}:{line}: from the package's root only __version__ is imported, not {target!r}")
        elif target not in MAY_IMPORT[layer]:
            found.append(f"{module}:{line}: {layer} must not import {target}")
    return found


def _modules() -> list[tuple[Path, str, bool]]:
    modules = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        if module not in ("softnet", "softnet.__main__"):  # the facade and the way in
            modules.append((path, module, is_package))
    return modules


def test_imports_point_one_way() -> None:
    found = []
    for path, module, is_package in _modules():
        assert module.split(".")[1] in MAY_IMPORT, f"{path}: name its layer in MAY_IMPORT"
        found += violations(path.read_text(encoding="utf-8"), module, is_package)
    assert not found, "\n" + "\n".join(found)


def test_the_table_has_no_circle() -> None:
    placed: set[str] = set()
    while len(placed) < len(MAY_IMPORT):
        ready = {layer for layer in MAY_IMPORT if layer not in placed and MAY_IMPORT[layer] <= placed}
        assert ready, f"these import each other: {sorted(set(MAY_IMPORT) - placed)}"
        placed |= ready


CIRCULAR = ("softnet.linux.", "softnet.machine.")
"""Here files may import each other, as the kernel's and a machine's parts call each other."""


def circles(imports: dict[str, set[str]]) -> list[frozenset[str]]:
    """The groups of modules that import each other, by way of others too (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[frozenset[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(imports[module]):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            at = stack.index(module)
            if len(stack) - at > 1 or module in imports[module]:
                found.append(frozenset(stack[at:]))
            del stack[at:]

    for module in sorted(imports):
        if module not in index:
            visit(module)
    return found


def _imports() -> dict[str, set[str]]:
    """Module -> the modules that it imports."""
    modules = {module: (path, is_package) for path, module, is_package in _modules()}
    imports: dict[str, set[str]] = {}
    for module, (path, is_package) in modules.items():
        imports[module] = set()
        for _, name in imported_modules(parsed(path.read_text(encoding="utf-8")), module, is_package):
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name:
                imports[module].add(name)
    return imports


def test_no_circle_of_files_but_the_kernels_and_the_machines_own() -> None:
    found = [circle for circle in circles(_imports()) if not all(name.startswith(CIRCULAR) for name in circle)]
    assert not found, "\n" + "\n".join(map(str, map(sorted, found)))


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"e"}}) == [frozenset("bc"), frozenset("e")]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("softnet.linux.net.core.dev", "from softnet.simulate import image"),
        ("softnet.linux.net.core.dev", "from softnet import simulate"),
        ("softnet.linux.net.core.dev", "def f():\n    import softnet.scenario.parse"),
        ("softnet.linux.net.core.dev", "from ....simulate import image"),
        ("softnet.linux.net.core.dev", "from softnet import run"),
        ("softnet.machine.cpu", "import random"),
        ("softnet.machine.cpu", "from time import monotonic"),
        ("softnet.verify.search", "import time"),
        ("softnet.verify.parallel", "import random"),
        ("softnet.scenario.parse", "if TYPE_CHECKING:\n    from softnet.trace import Record"),
        ("softnet.errors", "import importlib\nimportlib.import_module('softnet.cli')"),
    ],
)
def test_what_breaks_the_table_is_found(module: str, source: str) -> None:
    assert len(violations(source, module, is_package=False)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("softnet.linux.net.core.dev", "from softnet.machine import cpu\nfrom . import skbuff\nimport ast"),
        ("softnet.cli.run", "from softnet import __version__\nimport time\nfrom softnet.simulate import run"),
    ],
)
def test_what_keeps_to_the_table_is_left_alone(module: str, source: str) -> None:
    assert not violations(source, module, is_package=False)
