# SPDX-License-Identifier: GPL-2.0-or-later
"""The house rules hold for the tree, and tools/tidy.py sees each way of breaking them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# SPDX-License-Identifier: GPL-2.0-or-later\n"


def _load_tidy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tidy", ROOT / "tools" / "tidy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tidy = _load_tidy()


def _function(body_lines: int, docstring: str = "") -> str:
    return f"{HEADER}def f():\n{docstring}" + "    x = 1\n" * body_lines


def test_the_tree_is_tidy() -> None:
    names = tidy.source_paths(ROOT)
    assert {"src/softnet/errors.py", "tools/tidy.py", ".ci/run", "Makefile"} <= set(names)
    findings = tidy.check_tree(ROOT)
    assert not findings, "\n" + "\n".join(map(str, findings))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\n", 1),
        ("#!/usr/bin/env python3\nx = 1\n", 2),
        ("#!/usr/bin/env python3\n", 2),
        ('"""Text."""\n' + HEADER, 1),
        (HEADER.replace("GPL-2.0-or-later", "MIT"), 1),
        (_function(70), 2),
        (HEADER + "class C:\n    def f(self):\n" + "        x = 1\n" * 70, 3),
        (HEADER + "def f(:\n", 2),
    ],
)
def test_what_breaks_a_rule_is_found_at_its_line(text: str, line: int) -> None:
    findings = list(tidy.check_file("a.py", text))
    assert [(finding.path, finding.line) for finding in findings] == [("a.py", line)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER,
        "#!/usr/bin/env python3\n" + HEADER,
        _function(69),
        _function(69, docstring='    """One\n\n    two\n    """\n'),
        HEADER + "x = 1\n" * 900,
    ],
)
def test_what_keeps_the_rules_is_left_alone(text: str) -> None:
    assert not list(tidy.check_file("a.py", text))


def test_a_long_file_is_a_hint_and_no_finding(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "long.py").write_text(HEADER + "x = 1\n" * 700)
    (tmp_path / "src" / "short.py").write_text(HEADER + "x = 1\n" * 699)
    assert tidy.long_files(tmp_path) == ["src/long.py: 701 lines (hint: 700)"]
    assert not tidy.check_tree(tmp_path)
