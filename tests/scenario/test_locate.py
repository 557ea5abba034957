# SPDX-License-Identifier: GPL-2.0-or-later
"""The scanner that finds lines agrees with tomllib on what keys there are."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softnet.scenario.locate import key_lines

ROOT = Path(__file__).parent.parent.parent


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Every key and list element below a value."""
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    else:
        return set()
    found = {(*path, key) for key, _ in children}
    for key, child in children:
        found |= paths_of(child, (*path, key))
    return found


TRICKY = '''\
a.b.c = 1 # comment ]
"quoted key" = "with # and \\" and ]"
'single' = 'back\\slash'
[table]
x = [ # a list
  1,
  [2, 3], # nested

  { y = 1, z.w = [4] },
]
multi = """
[not.a.table]
still = "text" \\"""
"""
raw = \'\'\'
'' # not a comment
\'\'\'
[table.sub]
date = 1979-05-27 07:32:00
inf = -inf
[[list]]
k = 1
[[list.inner]]
k = 2
[[list.inner]]
[[list]]
[list.sub]
k = "\\u00e9"
"\\u00e9" = 3
'''


def test_lines_of_a_tricky_file() -> None:
    lines = key_lines(TRICKY)
    assert paths_of(tomllib.loads(TRICKY)) == set(lines)
    source = TRICKY.splitlines()
    expected = {
        ("a", "b", "c"): "a.b.c",
        ("quoted key",): '"quoted key"',
        ("table",): "[table]",
        ("table", "x", 1, 1): "  [2, 3]",
        ("table", "x", 2, "z", "w", 0): "  { y",
        ("table", "raw"): "raw",
        ("table", "sub", "date"): "date",
        ("list", 0, "inner", 0, "k"): "k = 2",
        ("list", 0, "inner", 1): "[[list.inner]]",
        ("list", 1): "[[list]]",
        ("list", 1, "sub", "é"): '"\\u00e9"',
    }
    for path, start in expected.items():
        assert source[lines[path] - 1].startswith(start), path


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = key_lines(text)
    assert set(lines) == paths_of(tomllib.loads(text))


KEYS = st.text(alphabet="ab-_1 .\"'\\é#=]", min_size=1, max_size=4)
SCALARS = st.one_of(
    st.integers(-5, 5),
    st.booleans(),
    st.text(alphabet="a\"'\\#[]{},=\n é", max_size=6),
    st.floats(allow_nan=False),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def quoted(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'


def inline(value: Any, break_lines: bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if "'" not in value and "\n" not in value:
            return f"'{value}'"
        return quoted(value)
    if isinstance(value, list):
        between = ", # ]\n  " if break_lines else ", "
        start = "[ # x\n" if break_lines else "["
        return start + between.join(inline(item, break_lines) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {inline(item, break_lines)}" for key, item in value.items()) + "}"
    return repr(value)


def write(data: dict[str, Any], break_lines: bool) -> str:
    out = [f"{quoted(key)} = {inline(value, break_lines)}" for key, value in data.items() if not tables(value)]
    for key, value in data.items():
        for table in tables(value):
            head = f"[[{quoted(key)}]]" if isinstance(value, list) else f"[ {quoted(key)} ]"
            out.append(f"{head} # = [")
            out += [f"{quoted(name)}={inline(item, break_lines)}" for name, item in table.items()]
    return "\n".join(out)


def tables(value: Any) -> list[dict[str, Any]]:
    """What is written as [table] or [[table]]."""
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return value
    return []


@pytest.mark.slow
@given(data=st.dictionaries(KEYS, VALUES, max_size=4), break_lines=st.booleans(), windows=st.booleans())
def test_generated_files(data: dict[str, Any], break_lines: bool, windows: bool) -> None:
    text = write(data, break_lines)
    assert tomllib.loads(text) == data
    lines = key_lines(text.replace("\n", "\r\n") if windows else text)
    assert set(lines) == paths_of(data)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
