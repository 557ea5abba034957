# SPDX-License-Identifier: GPL-2.0-or-later
"""To load a patch file, and so to check it, runs nothing that the file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.linux.releases import load_patch

ROOT = Path(__file__).resolve().parents[2]
HEAD = "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nfrom softnet.lang import Struct, kfunc, shared\n"

REFUSED = {
    "a call": "open({file!r}, 'w')",
    "a call in a constant": "X = open({file!r}, 'w')",
    "a call in a default": "def f(x=open({file!r}, 'w')): ...",
    "a call in a class": "class c(Struct):\n    x: int = open({file!r}, 'w')",
    "a call as a decorator": "@print\ndef f(): ...",
    "a method": "X = ''.join(['a'])",
    "another module": "import os",
    "a module by another way": "from os import path",
    "a module of the folder": "from . import other",
    "a part of softnet as a word": "from softnet.linux.releases import load_patch as shared",
    "a function as a word": "def shared(): open({file!r}, 'w')\nclass c(Struct):\n    x: int = shared()",
    "a constant as a word": "shared = open\nclass c(Struct):\n    x: int = shared({file!r})",
    "all of a module": "from softnet.lang import *",
    "a base of its own": "class m(type): ...\nclass c(m): ...",
    "a metaclass": "class c(Struct, metaclass=print): ...",
    "a loop": "for x in [1]: pass",
    "a comprehension": "X = [y for y in (1, 2)]",
    "a branch": "if True:\n    X = 1",
    "a lambda, called": "X = (lambda: 1)()",
    "a huge number": "X = 9 ** 9 ** 9",
    "a shift without end": "X = 1 << 10 ** 10",
    "a text with a value in it": "X = f'{{open}}'",
    "a block": "with open({file!r}, 'w'): pass",
    "an attribute": "import softnet\nX = softnet.compare",
    "a deletion": "X = 1\ndel X",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_do_something_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    patch, file = tmp_path / "patch.py", tmp_path / "made"
    patch.write_text(HEAD + REFUSED[name].format(file=str(file)), encoding="utf-8")
    with pytest.raises(SoftnetError) as caught:
        load_patch(patch)
    assert "failed while it was loaded" in caught.value.message
    assert caught.value.where.startswith(f"{patch}:")
    assert int(caught.value.where.rpartition(":")[2]) > 3
    assert not file.exists()


CANNOT = (
    "(" * 5000,
    "X = " + "-" * 100_000 + "1",
    "X = " + "1+" * 5000 + "1",
    "X = \0",
    "X = " + "9" * 5000,
    "\xff",
    "def f(:",
    "class c(:",
)


@pytest.mark.parametrize("text", CANNOT)
def test_what_python_cannot_read_is_one_error(text: str, tmp_path: Path) -> None:
    patch = tmp_path / "patch.py"
    patch.write_bytes(text.encode("latin-1"))
    with pytest.raises(SoftnetError) as caught:
        load_patch(patch)
    assert str(patch) in caught.value.where


def test_a_device_is_not_read_without_end(tmp_path: Path) -> None:
    (tmp_path / "patch.py").write_bytes(b"#" * (5 << 20))
    with pytest.raises(SoftnetError, match="too large"):
        load_patch(tmp_path / "patch.py")


def test_check_does_not_execute_a_patch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patch, file = tmp_path / "patch.py", tmp_path / "made"
    patch.write_text(f"import pathlib\npathlib.Path({str(file)!r}).touch()\n", encoding="utf-8")
    assert run_cli(["check", str(ROOT / "examples" / "rps.toml"), "--patch", str(patch)]) == 2
    assert "import pathlib" in capsys.readouterr().err
    assert not file.exists()
