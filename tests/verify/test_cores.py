# SPDX-License-Identifier: GPL-2.0-or-later
"""One search by several threads says what one says: states, transitions, ends, depth, what properties met; and the verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from softnet.cli import run_cli
from softnet.verify import arena, cores
from softnet.verify.api import VerifyOptions, configurations
from softnet.verify.model import Config
from softnet.verify.search import Limits, Outcome, _search, search
from softnet.verify.verdict import Why

PATCHES = Path(__file__).resolve().parents[2] / "examples" / "patches"
COMPACT = Limits(storage="compact", memory_bytes=256 << 20, states=100_000)


def config_of(kernel: str, *drivers: str, **given: tuple[str, ...]) -> Config:
    (config,) = configurations([kernel], VerifyOptions(drivers=drivers, storage="compact", **given))  # type: ignore[arg-type]
    return config


def figures(outcome: Outcome) -> tuple[object, ...]:
    return (
        outcome.verdict, outcome.why, outcome.states, outcome.transitions, outcome.terminals, outcome.depth, outcome.frontier,
        outcome.premises, outcome.stuck_with_skbs, outcome.actions, outcome.failure,
    )  # fmt: skip


@pytest.mark.slow
def test_threads_find_the_states_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a table of fingerprints that grows meanwhile, and slices after which all look up."""
    config = config_of("6.12", "free:1:2", "irq:0")
    monkeypatch.setattr(arena, "PRINTS_BITS", 8)
    monkeypatch.setattr(cores, "SLICE_STATES", 100)
    for owned in (False, True):
        wanted = _search(replace(config, owned=owned), COMPACT, None, None, None)
        assert wanted.states > 500
        for count in (2, 3):
            found = _search(replace(config, owned=owned), replace(COMPACT, cores=count), None, None, None)
            assert figures(found) == figures(wanted)


def test_a_violation_is_the_one_that_one_thread_finds() -> None:
    patches, settings = (str(PATCHES / "threaded_poll_forgets_rps.py"),), ("threaded=1", "rps=1", "rps_cpus=2")
    config = replace(config_of("6.12", "nic:0:1", patches=patches, settings=settings), owned=False)
    wanted, found = search(config, COMPACT), search(config, replace(COMPACT, cores=2))
    assert wanted.failure is not None
    assert figures(found) == figures(wanted)


def test_a_search_that_is_stopped_says_why() -> None:
    config = replace(config_of("6.12", "free:1:2", "irq:0"), owned=False)
    full = search(config, replace(COMPACT, cores=2, states=3000))
    assert (full.why, full.holds) == (Why.SPACE_LIMIT, False)
    calls: list[int] = []
    stopped = search(config, replace(COMPACT, cores=2), lambda *figures: bool(calls.append(figures[0])))
    assert (stopped.why, len(calls)) == (Why.TIME_LIMIT, 1)


def test_a_thread_that_fails_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: cores._Part) -> int:
        if self.number == 1:
            raise MemoryError("no more")
        return explore(self)

    explore = cores._Part.explore
    monkeypatch.setattr(cores._Part, "explore", broken)
    with pytest.raises(MemoryError, match="no more"):
        search(replace(config_of("6.12", "free:1:2"), owned=False), replace(COMPACT, cores=2))


@pytest.mark.parametrize("words", [[], ["--storage=compact", "--jobs=2"], ["--storage=compact", "--liveness"]])
def test_what_threads_cannot_do_is_one_message(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["verify", "--kernel=6.12", "--driver=free:1:2", "--cores=2", *words]) == 2
    assert "--cores: several threads search with hash compaction" in capsys.readouterr().err
