# SPDX-License-Identifier: GPL-2.0-or-later
"""Interaction points and prices of lines that native code does without, and those that must stay."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from softnet.lang import ir
from softnet.lang.passes.redundant import find_redundant
from softnet.simulate.explain import lowered

PATCH = Path(__file__).parent / "redundant_patch.py"
SOURCE = PATCH.read_text(encoding="utf-8").splitlines()
FUNCTIONS = re.findall(r"^@kfunc\ndef (\w+)", PATCH.read_text(encoding="utf-8"), re.MULTILINE)

Dropped = Counter[tuple[int, str]]
"""(source line, ``point`` or ``line``) -> how many."""


@pytest.fixture(scope="module")
def module() -> ir.Module:
    return lowered("6.12", [str(PATCH)])[0]


@pytest.fixture(scope="module")
def dropped(module: ir.Module) -> dict[str, Dropped]:
    """What is dropped of each function."""
    found = {}
    for name, redundant in find_redundant(module).items():
        blocks = {block.label: block.body for block in module.functions[name].blocks}
        found[name] = Counter(
            (blocks[label][index].at.line, what)
            for what, places in (("point", redundant.points), ("line", redundant.lines))
            for label, index in places
        )
    return found


def expected(name: str) -> Dropped:
    """What the comments say of a function."""
    start = SOURCE.index(next(line for line in SOURCE if line.startswith(f"def {name}(")))
    found: Dropped = Counter()
    for number, line in enumerate(SOURCE[start + 1 :], start + 2):
        if line and not line.startswith(" "):
            break
        if "# drops: " in line:
            found.update((number, what.strip()) for what in line.split("# drops: ")[1].split(","))
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_dropped(name: str, dropped: dict[str, Dropped]) -> None:
    assert dropped[name] == expected(name)
