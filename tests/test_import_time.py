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
    "softnet.image",
    "softnet.simulate",
)

NOT_FOR_A_PLAIN_RUN = {
    "rich": "tables that do not fit",
    "llvmlite": "compiling",
    "pandas": "tables for programs",
    "greenlet": "the reference engine",
    "difflib": "a mistake's hint",
    "gzip": "trace files",
    "importlib.metadata": "plugins of pydantic, which the command line turns off",
    "softnet.lang.lowering.lower": "compiling",
    "softnet.lang.native.llvm": "compiling",
    "softnet.lang.check.subset": "checking a text that is not known",
    "softnet.lang.program.source": "parsing a text that is not known",
    "softnet.lang.python.text": "rewriting a text that is not known",
    "softnet.lang.python.hooks": "replayed schedules",
    "softnet.lang.program.observe": "observers under CPython, and compiling",
    "softnet.simulate.observing": "the reference engine",
    "softnet.simulate.reference": "the reference engine",
    "softnet.simulate.invariants": "--checks",
    "softnet.simulate.tracefile": "--out",
    "softnet.simulate.arms": "compare",
    "softnet.simulate.comparison": "compare",
    "softnet.report.html": "--out",
    "softnet.scenario.capture": "captures",
    "softnet.scenario.packet": "captures",
    "softnet.scenario.replay": "captures",
}
"""Module -> what imports it: nothing that a run from the cache does when it is asked for nothing else."""

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
def test_a_run_from_the_cache_imports_nothing_that_it_does_not_use() -> None:
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
    needless = {name: NOT_FOR_A_PLAIN_RUN[name] for name in imports if name in NOT_FOR_A_PLAIN_RUN}
    assert not needless, f"imported, though only for: {needless}"


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
