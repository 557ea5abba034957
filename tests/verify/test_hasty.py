# SPDX-License-Identifier: GPL-2.0-or-later
"""A search begins with code that is built in a hurry, and says the same as with the best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from softnet.lang.native.compile import available
from softnet.lang.program import cache
from softnet.verify import arena
from softnet.verify import search as searching
from softnet.verify.arena import Arena, Limits
from softnet.verify.model import Config, Driver
from softnet.verify.search import Outcome, search
from softnet.verify.standard import standard
from softnet.verify.verdict import Verdict, Why

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(available()), reason="the explorer needs native code"),
]

LIMITS = Limits(memory_bytes=1 << 29)
OPTIMISE = Arena.optimise
NO_LOCK = str(Path(__file__).parents[2] / "examples" / "patches" / "no_backlog_lock.py")


def test_a_search_that_outgrows_hasty_code_goes_on_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    config = replace(standard("6.12")[3], owned=False)
    better: list[int] = []

    def optimise(machine: Arena) -> None:
        better.append(machine.get("states"))
        OPTIMISE(machine)
        assert not machine.hasty

    monkeypatch.setattr(Arena, "optimise", optimise)
    for storage in ("exact", "compact"):
        limits = replace(LIMITS, storage=storage)
        with monkeypatch.context() as patch:
            # As if nobody had built optimised code yet.
            patch.setattr(cache, "known", lambda key: False)
            hasty, states = searched(config, limits)
            assert hasty.holds
            assert not better
            patch.setattr(arena, "HASTY_STATES", 30_000)
            outgrown, states_then = searched(config, limits)
        assert 30_000 <= better.pop() < hasty.states
        assert states_then == states, "it went on where it was"
        assert outgrown == hasty
    assert not Arena(config, LIMITS, hasty=True).hasty, "optimised code is known now, and used from the start"
    assert searched(config, limits) == (hasty, states)
    assert not better


def searched(config: Config, limits: Limits) -> tuple[Outcome, list[int]]:
    """The outcome, and how many states there were after each slice."""
    seen: list[int] = []

    def progress(states: int, transitions: int, frontier: int) -> bool:
        seen.append(states)
        return True

    return search(config, limits, progress), seen


def test_ctrl_c_while_optimised_code_is_built_says_how_far_the_search_came(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(machine: Arena) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Arena, "optimise", interrupted)
    monkeypatch.setattr(arena, "HASTY_STATES", 1)
    monkeypatch.setattr(searching, "SLICE_STATES", 100)
    outcome = search(Config("small", kernel="6.12", drivers=(Driver("free", 1, 2),)), LIMITS)
    assert (outcome.verdict, outcome.why) == (Verdict.INCONCLUSIVE, Why.INTERRUPTED)
    assert outcome.states >= 100


def test_a_violation_is_the_same_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    drivers = (Driver("free", 1, 2), Driver("irq", 0))
    config = Config("broken", kernel="6.12-threads", drivers=drivers, patches=(NO_LOCK,))
    hasty = search(config, LIMITS)
    assert hasty.failure is not None
    assert Arena(config, LIMITS, hasty=True).hasty
    assert not Arena(config, LIMITS).hasty
    assert search(config, LIMITS) == hasty
