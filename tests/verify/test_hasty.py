# SPDX-License-Identifier: GPL-2.0-or-later
"""A search begins with code that is built in a hurry, and says the same as with the best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from softnet.lang.native.compile import available
from softnet.verify import search as searching
from softnet.verify.arena import Arena, Limits
from softnet.verify.model import Config, Driver
from softnet.verify.search import search
from softnet.verify.standard import standard

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(available()), reason="the explorer needs native code"),
]

LIMITS = Limits(memory_bytes=1 << 29)
NO_LOCK = str(Path(__file__).parents[2] / "examples" / "patches" / "no_backlog_lock.py")


def test_a_search_that_outgrows_hasty_code_begins_anew_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    config = replace(standard("6.12")[3], owned=False)
    seen: list[int] = []

    def progress(states: int, transitions: int, frontier: int) -> bool:
        seen.append(states)
        return True

    hasty = search(config, LIMITS, progress)
    assert hasty.holds
    assert seen == sorted(seen)
    assert Arena(config, LIMITS, hasty=True).hasty, "nobody built optimised code for a small search"

    monkeypatch.setattr(searching, "HASTY_STATES", 30_000)
    seen.clear()
    outgrown = search(config, LIMITS, progress)
    assert seen != sorted(seen), "it began anew"
    assert outgrown == hasty
    assert not Arena(config, LIMITS, hasty=True).hasty, "optimised code is known now, and used from the start"
    seen.clear()
    assert search(config, LIMITS, progress) == hasty
    assert seen == sorted(seen)


def test_a_violation_is_the_same_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    drivers = (Driver("free", 1, 2), Driver("irq", 0))
    config = Config("broken", kernel="6.12-threads", drivers=drivers, patches=(NO_LOCK,))
    hasty = search(config, LIMITS)
    assert hasty.failure is not None
    assert Arena(config, LIMITS, hasty=True).hasty
    assert not Arena(config, LIMITS).hasty
    assert search(config, LIMITS) == hasty
