# SPDX-License-Identifier: GPL-2.0-or-later
"""Hash compaction finds what exact storage finds; a search that stopped goes on to the same end."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from tests.long import sample

from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.report.verify import exhausted, verdict_text
from softnet.verify.arena import Arena, Limits
from softnet.verify.inside import words
from softnet.verify.model import Config, Driver
from softnet.verify.replay.schedule import replay
from softnet.verify.search import Outcome, search
from softnet.verify.standard import standard
from softnet.verify.verdict import Verdict, Why, omission

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]

NO_LOCK = Path(__file__).parents[2] / "examples" / "patches" / "no_backlog_lock.py"
EXACT = Limits(states=2_000_000, memory_bytes=512 << 20)
COMPACT = replace(EXACT, storage="compact")
FREE2 = (Driver("free", 1, 2),)
IRQ = Driver("irq", 0)


def figures(outcome: Outcome) -> tuple[int, int, int, int]:
    """What both storages count."""
    return outcome.states, outcome.transitions, outcome.depth, outcome.terminals


@pytest.mark.parametrize(("kernel", "number"), [("6.12", 1), ("6.12", 3), ("6.12-threads", 4), ("6.12-rt", 1)])
def test_both_storages_count_the_same(kernel: str, number: int) -> None:
    config = standard(kernel)[number]
    exact, compact = search(config, EXACT), search(config, COMPACT)
    assert figures(exact) == figures(compact)
    assert verdict_text(exact) == "holds (exhausted)"
    assert verdict_text(compact) == exhausted(omission(compact.states))
    assert compact.bytes_used < exact.bytes_used


DRIVERS = {
    "a card and a free": (Driver("nic", 0), Driver("free", 1)),
    "an interrupt on the other CPU": (Driver("free", 1), Driver("irq", 1)),
    "two packets on one CPU": (Driver("netif_rx", 0, 2),),
    "a packet on each": (Driver("netif_rx", 0), Driver("netif_rx", 1)),
    "frees of each other's": (Driver("free", 0, 1, 1), Driver("free", 1, 1, 0)),
    "a free and a packet for the other": (Driver("free", 1), Driver("rps", 0, 1, 0, 1)),
}


@pytest.mark.parametrize("drivers", sample(list(DRIVERS), list(DRIVERS)[::2]))
@pytest.mark.parametrize("kernel", ["6.12", "6.12-threads"])
def test_reduction_changes_no_verdict_and_no_terminal_state(kernel: str, drivers: str) -> None:
    config = Config("t", kernel=kernel, drivers=DRIVERS[drivers], rps=True, defer_max=1, budget=2, dev_weight=1, resched=False)
    reduced, full = search(config, COMPACT), search(replace(config, reduce=False), COMPACT)
    if full.verdict is Verdict.INCONCLUSIVE:
        # More states than COMPACT has room for: nothing is known but that none of the two found a violation.
        assert (full.failure, reduced.failure) == (None, None)
        return
    assert full.holds == reduced.holds
    assert (full.failure is None) == (reduced.failure is None)
    if full.failure is None:
        assert full.holds
        assert full.terminals == reduced.terminals
        assert full.states > reduced.states


@pytest.mark.parametrize("property_", ["phantom SCHED", "two owners"])
def test_compaction_finds_a_shortest_counterexample_that_replays(property_: str) -> None:
    config = Config("t", kernel="6.12-threads", drivers=(*FREE2, IRQ), patches=(str(NO_LOCK),), properties=(property_,))
    exact, compact = search(config, EXACT), search(config, COMPACT)
    assert exact.failure == compact.failure
    assert len(exact.actions) == len(compact.actions)
    assert len(replay(config, compact.actions).steps) == len(compact.actions)


def test_a_long_table_of_fingerprints_is_a_short_one_doubled() -> None:
    config = standard("6.12")[4]
    machine = Arena(config, COMPACT, hasty=True)
    machine.settle()
    bits = machine.prints_bits
    code = machine.start()
    while code == words.VX_MORE:
        code = machine.explore(10_000)
    assert code == words.VX_DONE
    assert machine.prints_bits > bits
    assert int((machine.regions["prints"] != 0).sum()) == machine.get("states")


def test_a_state_takes_less_than_forty_bytes() -> None:
    outcome = search(standard("6.12")[4], COMPACT)
    assert outcome.states > 100_000
    assert outcome.bytes_used / outcome.states < 40


def test_what_compaction_may_omit() -> None:
    assert omission(100_000_000) == pytest.approx(2.7e-4, rel=0.01)
    assert exhausted(omission(100_000_000)) == "holds (exhausted, hash compaction: P(omission) < 3e-4)"
    assert exhausted(0.0) == "holds (exhausted)"


@pytest.mark.parametrize("limits", [EXACT, COMPACT], ids=["exact", "compact"])
def test_a_stopped_search_goes_on(limits: Limits, tmp_path: Path) -> None:
    config = Config("t", kernel="6.12", drivers=(*FREE2, Driver("irq", 0, 2)), budget=1, dev_weight=1, owned=False)
    whole = search(config, limits)
    file = tmp_path / "search"
    first = search(config, replace(limits, states=5_000), save=file)
    assert (first.verdict, first.why) == (Verdict.INCONCLUSIVE, Why.SPACE_LIMIT)
    second = search(config, limits, lambda *figures: False, resume=file, save=file)
    assert second.verdict == "inconclusive"
    assert second.states > first.states
    assert search(config, limits, resume=file) == whole
    assert [p.name for p in tmp_path.iterdir()] == ["search"]


def test_an_interrupted_search_is_saved_between_two_states(tmp_path: Path) -> None:
    config = replace(standard("6.12-threads")[3], owned=False)
    file = tmp_path / "search"

    def interrupt(*figures: int) -> bool:
        signal.raise_signal(signal.SIGINT)
        return True

    handler = signal.getsignal(signal.SIGINT)
    stopped = search(config, COMPACT, interrupt, save=file)
    assert (stopped.verdict, stopped.why) == (Verdict.INCONCLUSIVE, Why.INTERRUPTED)
    assert signal.getsignal(signal.SIGINT) is handler
    assert search(config, COMPACT, resume=file) == search(config, COMPACT)


@pytest.mark.parametrize("storage", ["exact", "compact"])
def test_little_memory_ends_a_search_cleanly(storage: str) -> None:
    outcome = search(standard("6.12")[5], Limits(memory_bytes=8 << 20, storage=storage))
    assert (outcome.verdict, outcome.why) == (Verdict.INCONCLUSIVE, Why.SPACE_LIMIT)
    assert outcome.states > 10_000


@pytest.mark.parametrize("limits", [EXACT, COMPACT], ids=["exact", "compact"])
def test_a_resumed_search_finds_the_same_counterexample(limits: Limits, tmp_path: Path) -> None:
    config = Config(
        "t", kernel="6.12-threads", drivers=(*FREE2, IRQ), patches=(str(NO_LOCK),), properties=("phantom SCHED",), owned=False
    )
    file = tmp_path / "search"
    search(config, replace(limits, states=1_000), save=file)
    assert search(config, limits, resume=file).actions == search(config, limits).actions


def test_a_search_saved_without_a_property_says_how_to_go_on(tmp_path: Path) -> None:
    config = Config("t", kernel="6.12", drivers=(*FREE2, IRQ), without=("lost kick", "data race"))
    file = tmp_path / "search"
    search(config, replace(COMPACT, states=1_000), save=file)
    with pytest.raises(SoftnetError) as caught:
        search(replace(config, without=()), COMPACT, resume=file)
    assert caught.value.hint.endswith("add --without 'data race' --without 'lost kick'")
    assert search(replace(config, without=("data race", "lost kick")), COMPACT, resume=file).verdict is Verdict.HOLDS


def test_a_saved_search_is_of_one_kernel_and_configuration(tmp_path: Path) -> None:
    config = Config("t", kernel="6.12", drivers=(*FREE2, IRQ))
    file = tmp_path / "search"
    search(config, replace(COMPACT, states=1_000), save=file)
    for other, limits in (
        (replace(config, kernel="6.12-threads"), COMPACT),
        (replace(config, drivers=FREE2), COMPACT),
        (replace(config, properties=("lost kick",)), COMPACT),
        (replace(config, without=("lost kick",)), COMPACT),
        (config, EXACT),
    ):
        with pytest.raises(SoftnetError, match="another kernel"):
            search(other, limits, resume=file)
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    with pytest.raises(SoftnetError, match="not a saved search"):
        search(config, COMPACT, resume=file)
    for at in (len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(SoftnetError, match="damaged, or was written by another"):
            search(config, COMPACT, resume=file)
    with pytest.raises(SoftnetError, match="cannot be read"):
        search(config, COMPACT, resume=tmp_path / "none")
    with pytest.raises(SoftnetError, match="cannot be saved"):
        search(config, replace(COMPACT, states=1_000), save=tmp_path / "none" / "search")
