# SPDX-License-Identifier: GPL-2.0-or-later
"""A reduction loses no verdict on shipped functions that were changed by chance (more of them: bench/programs.py --mutations)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.verify.random_mutations import compare, mutated

from softnet.lang.native.compile import available

SEEDS = range(6)


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
def test_reduced_and_unreduced_searches_agree(tmp_path: Path) -> None:
    found = [difference for seed in SEEDS if (difference := compare(seed, tmp_path)) is not None]
    assert [f"{d.seed}: {d.about}" for d in found if d.wrong] == []
    # Mutations that change nothing would prove nothing, nor would searches that end nowhere.
    assert any(d.reduced.failure is not None for d in found)
    assert any(d.reduced.holds for d in found)
    assert all(d.decided for d in found)


def test_a_seed_is_a_mutation() -> None:
    assert mutated(3) == mutated(3)
    assert len({mutated(seed)[0] for seed in range(40)}) > 20
