# SPDX-License-Identifier: GPL-2.0-or-later
"""Liveness: what only it finds, that shipped kernels come to rest, and the fairness that excludes runs of no machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from softnet.lang.native.compile import available
from softnet.report.columns import render
from softnet.report.verify import verdict_text
from softnet.verify.model import Config, Driver
from softnet.verify.replay.schedule import decode, encode, repeats_of, replay
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.verdict import Why

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]

PATCHES = Path(__file__).parents[2] / "examples" / "patches"
SMALL = Limits(states=2_000_000, memory_bytes=512 << 20)


def explore(kernel: str, *drivers: Driver, mutation: str = "", **more: object) -> Outcome:
    """Search one configuration, liveness and all."""
    patches = (str(PATCHES / f"{mutation}.py"),) if mutation else ()
    config = replace(Config("test", kernel=kernel, drivers=drivers, patches=patches, liveness=True), **more)  # type: ignore[arg-type]
    return search(config, SMALL)


def found(outcome: Outcome) -> str:
    """The violated property, or the verdict."""
    return outcome.failure.name if outcome.failure is not None else verdict_text(outcome)


def test_a_thread_that_never_polls_is_seen_by_liveness_only() -> None:
    drivers, mutation = (Driver("free", 1, 2),), "thread_waits_for_ever"
    safety = explore("6.12-threads", *drivers, mutation=mutation, liveness=False)
    assert (safety.verdict, safety.terminals) == ("inconclusive", 0)
    assert safety.why is Why.NO_END
    outcome = explore("6.12-threads", *drivers, mutation=mutation)
    assert found(outcome) == "kick without a flush"
    assert outcome.repeats > 0
    once = replay(outcome.config, outcome.actions)
    again = replay(outcome.config, [*outcome.actions, *outcome.actions[-outcome.repeats :]])
    assert once.ends == again.ends
    assert "steps for ever" in render(once, 110, repeats=outcome.repeats)
    text = encode(outcome.actions, outcome.repeats)
    assert (decode(text), repeats_of(text)) == (outcome.actions, outcome.repeats)


@pytest.mark.parametrize("name", ["livelock", "kick without a flush"])
def test_one_property_may_be_asked_for(name: str) -> None:
    # A flush is owed in every fair run for ever here, which never rests either: each is found when it alone is asked.
    outcome = explore("6.12-threads", Driver("free", 1, 2), mutation="thread_waits_for_ever", properties=(name,))
    assert found(outcome) == name


@pytest.mark.parametrize(("kernel", "device"), [("6.1", "irq"), ("6.12", "nic"), ("6.12-threads", "irq"), ("6.12-rt", "netif_rx")])
def test_shipped_kernels_come_to_rest(kernel: str, device: str) -> None:
    assert found(explore(kernel, Driver("free", 1, 2), Driver(device, 0))) == "holds (exhausted)"


def test_a_users_eventually(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from softnet.verify import eventually\n\n@eventually('the list of an idle CPU is never empty again')\n"
        "def flushed(cpu: int) -> bool:\n    return table(softnet_data, cpu).defer_count == 0\n"
    )
    files = {"property_files": (str(file),)}
    assert found(explore("6.12", Driver("free", 1, 1), **files)) == "flushed"
    assert found(explore("6.12", Driver("free", 1, 1), Driver("irq", 0), defer_max=1, **files)) == "holds (exhausted)"
