# SPDX-License-Identifier: GPL-2.0-or-later
"""Importing softnet and asking it for help stay light: judged by what is imported, never by a clock."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import softnet

HEAVY = (
    "numpy",
    "pandas",
    "llvmlite",
    "pydantic",
    "greenlet",
    "rich",
    "softnet.scenario",
    "softnet.simulate",
)

_IMPORTTIME_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)")


def imports_of(*arguments: str) -> dict[str, int]:
    """Module -> its own import time in us, of one run of Python with these arguments."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {m[4]: int(m[1]) for m in map(_IMPORTTIME_LINE.match, done.stderr.splitlines()) if m}


@pytest.mark.parametrize(
    "arguments",
    [("-c", "import softnet"), ("-m", "softnet", "--help"), ("-m", "softnet", "--version")],
    ids=lambda arguments: " ".join(arguments),
)
def test_nothing_heavy_is_imported(arguments: tuple[str, ...]) -> None:
    imports = imports_of(*arguments)
    assert "softnet" in imports
    print(f"{len(imports)} modules, {sum(imports.values()) / 1000:.0f} ms of imports")
    heavy = [name for name in imports if name.startswith(HEAVY)]
    assert not heavy, f"python {' '.join(arguments)} imports {heavy}"


@pytest.mark.slow
def test_a_run_from_the_cache_imports_no_compiler_and_no_table_maker() -> None:
    run = (
        "-m",
        "softnet",
        "run",
        "examples/rps.toml",
        "--quiet",
        "--set=measure.duration_ms=2",
        "--set=measure.warmup_ms=1",
    )
    imports_of(*run)
    imports = imports_of(*run)
    assert "softnet.simulate.simulation" in imports
    assert not [
        name for name in imports if name.startswith(("rich", "llvmlite", "pandas", "softnet.lang.lower"))
    ]


def test_a_heavy_import_would_be_seen() -> None:
    assert "numpy" in imports_of("-c", "import numpy")


def test_every_exported_name_is_there_for_programs_and_for_type_checkers() -> None:
    tree = ast.parse(Path(softnet.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.asname or alias.name: node.module
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == softnet._EXPORTS
    assert sorted([*softnet._EXPORTS, "__version__"]) == sorted(softnet.__all__)
    for name in softnet.__all__:
        assert getattr(softnet, name) is not None
        assert name in dir(softnet)
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        softnet.no_such_name  # noqa: B018
