# SPDX-License-Identifier: GPL-2.0-or-later
"""Searches in processes of their own come out as one after the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from softnet.lang.native.compile import available
from softnet.verify.model import Config, Driver
from softnet.verify.parallel import search_all
from softnet.verify.search import Limits, search
from softnet.verify.standard import standard
from softnet.verify.verdict import Verdict, Why

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]

LIMITS = Limits(states=2_000_000, memory_bytes=256 << 20)
NO_LOCK = str(Path(__file__).parents[2] / "examples" / "patches" / "no_backlog_lock.py")


def test_the_same_outcomes_in_the_same_order() -> None:
    broken = Config("broken", kernel="6.12-threads", drivers=(Driver("free", 1, 2), Driver("irq", 0)), patches=(NO_LOCK,))
    configs = [standard("6.12-threads")[1], broken, replace(standard("6.12-threads")[0], name="again")]
    found = [outcome for outcome, _ in search_all(configs, LIMITS, 600, 2)]
    assert found == [search(config, LIMITS) for config in configs]
    assert [o.failure is None for o in found] == [True, False, True]


def test_who_closes_early_does_not_wait_for_the_rest() -> None:
    long = replace(standard("6.12-threads", 3)[4], name="long")
    running = search_all([standard("6.12-threads")[0], long, long], LIMITS, 600, 2)
    outcome, _ = next(running)
    assert outcome.holds
    running.close()
    assert list(running) == []


def test_the_time_limit_is_each_searchs_own() -> None:
    ((outcome, seconds),) = search_all([standard("6.12-threads", 3)[4]], LIMITS, 0, 2)
    assert (outcome.verdict, outcome.why) == (Verdict.INCONCLUSIVE, Why.TIME_LIMIT)
    assert seconds < 60
