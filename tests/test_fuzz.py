# SPDX-License-Identifier: GPL-2.0-or-later
"""A short run of bench/fuzz.py: every reader and every option's text takes mutated bytes or says what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fuzzing import TARGETS
from tests.mutating import Target, run

INPUTS = 300


@pytest.mark.slow
@pytest.mark.parametrize("target", [target for target in TARGETS if target.costly == 1], ids=lambda target: target.name)
def test_mutated_bytes_are_taken_or_refused(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    tally = run(target, 0, INPUTS)
    assert tally.failures == []
    assert tally.taken, "nothing behind the first check was reached"


@pytest.mark.slow
@pytest.mark.parametrize("target", [target for target in TARGETS if target.costly > 1], ids=lambda target: target.name)
def test_bytes_that_take_longer_are_taken_or_refused(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    tally = run(target, 0, max(4 * INPUTS // target.costly, 20))
    assert tally.failures == []
    assert tally.taken, "nothing behind the first check was reached"
