# SPDX-License-Identifier: GPL-2.0-or-later
"""One search by several threads says what one says: states, transitions, ends, depth, what properties met; and the verdict."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from softnet.cli import run_cli
from softnet.verify import arena, cores
from softnet.verify import search as module
from softnet.verify.api import VerifyOptions, configurations
from softnet.verify.model import Config
from softnet.verify.search import Limits, Outcome, _search, search
from softnet.verify.verdict import Why

pytestmark = pytest.mark.slow

PATCHES = Path(__file__).resolve().parents[2] / "examples" / "patches"
COMPACT = Limits(storage="compact", memory_bytes=256 << 20, states=100_000)
TWO = replace(COMPACT, cores=2)


def config_of(kernel: str, *drivers: str, **given: tuple[str, ...]) -> Config:
    (config,) = configurations([kernel], VerifyOptions(drivers=drivers, storage="compact", **given))  # type: ignore[arg-type]
    return replace(config, owned=False)


def figures(outcome: Outcome) -> tuple[object, ...]:
    return (
        outcome.verdict, outcome.why, outcome.states, outcome.transitions, outcome.terminals, outcome.depth, outcome.frontier,
        outcome.premises, outcome.stuck_with_skbs, outcome.actions, outcome.failure,
    )  # fmt: skip


def same(config: Config, limits: Limits, *counts: int) -> Outcome:
    wanted = _search(config, replace(limits, cores=1), None, None, None)
    for count in counts:
        assert figures(_search(config, replace(limits, cores=count), None, None, None)) == figures(wanted)
    return wanted


@pytest.mark.parametrize("owned", [False, True])
def test_threads_find_the_states_of_one(monkeypatch: pytest.MonkeyPatch, owned: bool) -> None:
    """With a table of fingerprints that grows meanwhile, slices of a few states, and more threads than processors."""
    monkeypatch.setattr(arena, "PRINTS_BITS", 8)
    monkeypatch.setattr(cores, "SLICE_STATES", 100)
    monkeypatch.setattr(cores, "CHUNK_STATES", 4)
    assert same(replace(config_of("6.12", "free:1:2", "irq:0"), owned=owned), COMPACT, 2, 3).states > 500


@pytest.mark.parametrize(("kernel", "drivers"), [("6.12-rt", ("free:1:2",)), ("6.12-threads", ("nic:0:1",))])
def test_threads_search_every_kind_of_kernel(kernel: str, drivers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "CHUNK_STATES", 2)
    assert same(config_of(kernel, *drivers), COMPACT, 2).states > 30


def test_more_threads_than_states() -> None:
    """Most levels have one state, which some thread expands that has not seen the one before."""
    assert 2 < same(config_of("6.12", "nic:0:1", settings=("resched=0",)), COMPACT, 8).states < 500


def test_what_is_dropped_when_the_assumptions_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without runs by chance nothing is known of who touches what, so the search begins anew often."""
    monkeypatch.setattr("softnet.verify.ownership.WALKS", 0)
    monkeypatch.setattr("softnet.verify.ownership.RESTARTS_MAX", 3)
    config = replace(config_of("6.12", "free:1:1"), owned=True)
    assert same(config, COMPACT, 2).holds


def test_a_violation_is_the_one_that_one_thread_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    patches, settings = (str(PATCHES / "threaded_poll_forgets_rps.py"),), ("threaded=1", "rps=1", "rps_cpus=2")
    config = config_of("6.12", "nic:0:1", patches=patches, settings=settings)
    wanted = same(config, COMPACT, 2)
    assert wanted.failure is not None
    # If the search for the shortest schedule is stopped, it is still said that there is one.
    over: list[object] = []

    def watched(*given: Any) -> Outcome | str:
        over.append(found := together(*given))
        return found

    together = module._together
    monkeypatch.setattr(module, "SLICE_STATES", 10)
    monkeypatch.setattr(module, "_together", watched)
    stopped = _search(config, TWO, lambda *figures: not over, None, None)
    assert (stopped.why, stopped.known_violation) == (Why.TIME_LIMIT, wanted.failure.name)


def test_limits_are_those_of_one_thread() -> None:
    config = config_of("6.12", "free:1:2")
    states = _search(config, COMPACT, None, None, None).states
    assert same(config, replace(COMPACT, states=states), 2).holds
    for limits in (replace(TWO, states=states - 1), replace(TWO, states=states // 2)):
        found = _search(config, limits, None, None, None)
        assert (found.why, found.holds) == (Why.SPACE_LIMIT, False)
    small = _search(config_of("6.12", "free:1:2", "irq:0"), replace(TWO, memory_bytes=1 << 16), None, None, None)
    assert small.why is Why.SPACE_LIMIT


def test_a_search_that_is_stopped_says_why() -> None:
    calls: list[int] = []

    def out_of_time(*figures: int) -> bool:
        calls.append(figures[0])
        return False

    def ctrl_c(*figures: int) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return True

    config = config_of("6.12", "free:1:2", "irq:0")
    assert search(config, TWO, out_of_time).why is Why.TIME_LIMIT
    assert len(calls) == 1
    assert search(config, TWO, ctrl_c).why is Why.INTERRUPTED


@pytest.mark.parametrize("which", [0, 1])
def test_a_thread_that_fails_ends_the_search(monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    """In its third call: each thread is asked at least once a level, whether or not others leave it anything to do."""
    calls = []

    def call(self: arena.Arena, what: int, *argument: Any) -> int:
        if what == cores.EXPLORE and self.get("part") == which:
            calls.append(which)
            if len(calls) == 3:
                raise MemoryError("no more")
        return real(self, what, *argument)

    real = arena.Arena.call
    monkeypatch.setattr(arena.Arena, "call", call)
    with pytest.raises(MemoryError, match="no more"):
        search(config_of("6.12", "free:1:2"), TWO)


@pytest.mark.parametrize("words", [[], ["--storage=compact", "--jobs=2"], ["--storage=compact", "--liveness"]])
def test_what_threads_cannot_do_is_one_message(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["verify", "--kernel=6.12", "--driver=free:1:2", "--cores=2", *words]) == 2
    assert "--cores: several threads search with hash compaction" in capsys.readouterr().err


def test_the_command_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for count in ("1", "2"):
        words = ["--kernel=6.12", "--driver=free:1:2", "--storage=compact", f"--cores={count}", "--quiet"]
        assert run_cli(["verify", *words]) == 0
        said.append([line.rsplit(None, 1)[0] for line in capsys.readouterr().out.splitlines() if "holds" in line])
    assert said[0]
    assert said[0] == said[1]
