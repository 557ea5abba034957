# SPDX-License-Identifier: GPL-2.0-or-later
"""bench/effects.py: its table is of commits that the model has, and its verdicts are right."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest

from softnet.linux.releases import patch_info, shipped_patches

FILE = Path(__file__).resolve().parents[2] / "bench" / "effects.py"


@pytest.fixture(scope="module")
def effects() -> ModuleType:
    spec = importlib.util.spec_from_file_location("effects", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look for their module.
    sys.modules["effects"] = module
    spec.loader.exec_module(module)
    return module


def test_every_row_is_tried_or_says_why_not_and_its_patches_are_the_commits(effects: ModuleType) -> None:
    commits = {patch_info(name).get("commit") for name in shipped_patches()}
    for effect in effects.EFFECTS:
        assert effect.link.startswith("https://")
        if effect.measure is None:
            assert effect.why
            continue
        sides = {*effect.before.patches, *effect.after.patches}
        assert all((effects.PATCHES / f"{name}.py").is_file() for name in sides)
        changed = set(effect.before.patches) ^ set(effect.after.patches)
        told = {part.strip() for part in effect.commit.split(",")}
        assert not changed or effect.commit == "4cd13c21b207" or told <= commits


@pytest.mark.parametrize(
    ("published", "ratio", "said"),
    [
        ((1.2, 1.3), 1.21, "hit"),
        ((1.5, 1.5), 1.2, "direction, too small"),
        ((1.1, 1.1), 1.5, "direction, too large"),
        ((1.1, 1.1), 0.9, "WRONG DIRECTION"),
        ((0.9, 0.9), 0.91, "hit"),
        ((0.9, 0.9), 0.5, "direction, too large"),
        ((0.9, 0.9), 0.0, "direction, too large"),
        (-1, 0.5, "direction"),
        (1, 0.5, "WRONG DIRECTION"),
        (-1, 1.0, "NO EFFECT"),
        ((2.0, 2.0), math.inf, "direction, too large"),
    ],
)
def test_a_size_is_right_within_a_factor_of_one_and_a_half(
    effects: ModuleType, published: tuple[float, float] | int, ratio: float, said: str
) -> None:
    assert effects.right(published, ratio) == said
