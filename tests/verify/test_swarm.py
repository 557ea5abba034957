# SPDX-License-Identifier: GPL-2.0-or-later
"""A swarm finds what a bounded search does not, with the same counterexample whoever runs it, and says of nothing that it holds."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.long import sample
from tests.report.golden import held_to_golden
from tests.verify.mutations import patch

from softnet.cli import run_cli
from softnet.lang.native.compile import available
from softnet.report.verify import SearchTable, outcomes_as_json, property_table, why_text
from softnet.verify.api import Verification, replay_schedule, searches
from softnet.verify.arena import EVERYTHING, Sample
from softnet.verify.cover import Cover, cover_of
from softnet.verify.model import Config, Driver
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.standard import from_text
from softnet.verify.verdict import Verdict, Why

native = pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
SMALL = Config("small", kernel="6.12-threads", drivers=(Driver("free", 1, 1),), defer_max=1)
C8 = from_text("kernel=6.12-rt,rps=1,resched=0,cpus=3,driver=rps:0:1:2,driver=hotplug:1:1:2")
TWO_STATES = [
    ("enqueue_looks_at_the_weight", "kernel=6.12,rps=1,driver=rps:0:2:1", "data race"),
    ("defer_under_backlog", "kernel=6.12,rps=1,driver=free:1:2,driver=netif_rx:0:1", "lock order"),
]
MEMBER = Limits(states=80_000, memory_bytes=64 << 20)


def swarm(config: Config, limits: Limits, members: int, seed: int = 0) -> Outcome:
    ((outcome, _),) = searches([config], limits, max_seconds=600, swarm=members, seed=seed, strict=True)
    return outcome


@native
@pytest.mark.slow
def test_a_swarm_finds_what_a_bounded_search_does_not() -> None:
    """C8, which breadth first needs 9.4 million states."""
    wide = search(C8, replace(MEMBER, states=2 * MEMBER.states, storage="compact"))
    alone = swarm(C8, MEMBER, 1, seed=1)
    assert (wide.verdict, alone.verdict) == (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE)
    assert (alone.states, alone.why) == (MEMBER.states, Why.BOUNDED)

    found = swarm(C8, MEMBER, 2, seed=1)
    assert found.failure is not None
    assert found.failure.name == "lost work"
    assert found.swarm is not None
    assert found.swarm.members == 2, "the second found it"
    assert MEMBER.states <= found.swarm.at_least <= found.swarm.distinct <= 2 * MEMBER.states
    # It is the second member's own: who else searches, and where, changes nothing.
    assert search(C8, replace(MEMBER, storage="bitstate", seed=2)).actions == found.actions
    replayed = replay_schedule(C8, found.actions, engine="both")
    assert len(replayed.schedule.steps) == len(found.actions)
    assert replayed.remarks[0].startswith("violated where nothing can happen any more: lost work:")
    assert replayed.remarks[1].startswith("both engines agree after each of")


@native
@pytest.mark.slow
def test_what_is_met_is_really_there_and_counted_once() -> None:
    whole = search(SMALL)
    outcome = swarm(SMALL, MEMBER, 3)
    assert whole.verdict is Verdict.HOLDS
    assert outcome.verdict is Verdict.INCONCLUSIVE
    # Each member met all of so few states, and each state once.
    assert outcome.states == 3 * whole.states
    assert outcome.swarm == Cover(3, 0, whole.states, whole.states)
    assert outcome.terminals >= whole.terminals
    again = [search(SMALL, replace(MEMBER, storage="bitstate", seed=seed)) for seed in (5, 5, 6)]
    assert again[0] == again[1]
    assert again[0].transitions != again[2].transitions, "another seed is another order"

    verification = Verification([(outcome, 1.0)])
    assert verification.verdict is Verdict.INCONCLUSIVE
    assert "exhausted" not in property_table(verification)
    assert "holds" not in property_table(verification)
    assert SearchTable([SMALL], 200).row(outcome, 1.0).endswith(f"({why_text(outcome)})")
    assert why_text(outcome) == (
        f"a swarm finds, and proves nothing; 3 members met about {whole.states} different states, of an unknown number"
    )
    assert outcomes_as_json(verification)[0]["swarm"] == {
        "members": 3, "seed": 0, "distinct": whole.states, "at_least": whole.states,
    }  # fmt: skip


@native
@pytest.mark.slow
@pytest.mark.parametrize(("mutation", "configuration", "property_"), sample(TWO_STATES, TWO_STATES[1:]))
def test_what_other_states_have_part_in_is_found_by_a_path_that_replays(mutation: str, configuration: str, property_: str) -> None:
    """Two actions of one state race; locks are taken in a circle by steps of different schedules, the last of which is shown."""
    config = replace(from_text(configuration, (patch(mutation, "6.12"),)), properties=(property_,))
    outcome = swarm(config, MEMBER, 2)
    assert outcome.failure is not None
    assert outcome.failure.name == property_
    schedule = replay_schedule(config, outcome.actions).schedule
    assert len(schedule.steps) == len(outcome.actions)
    assert schedule.failure is None or schedule.failure.name == property_
    assert (schedule.failure is None) == (property_ == "lock order")


def test_what_was_covered_is_estimated_from_samples() -> None:
    """Of 50,000 states, members that meet some of them by chance: what they met is counted to 3 %."""
    chance = random.Random(1)
    hashes = [chance.randrange(EVERYTHING) for _ in range(50_000)]
    met = [chance.sample(hashes, 20_000) for _ in range(4)]
    below = EVERYTHING // 8
    samples = [Sample(below, tuple(sorted(h for h in one if h < below))) for one in met]
    # A sample that was thinned once more is of the same states.
    samples[1] = Sample(below // 2, tuple(h for h in samples[1].hashes if h < below // 2))
    cover = cover_of(samples, [20_000] * 4, 7)
    assert cover.members == 4
    assert cover.seed == 7
    assert cover.at_least == 20_000
    assert cover.distinct == pytest.approx(len(set().union(*met)), rel=0.03)


def test_what_all_of_few_states_are_is_counted() -> None:
    assert cover_of([Sample(EVERYTHING, (1, 2, 3)), Sample(EVERYTHING, (3, 4))], [3, 2], 0) == Cover(2, 0, 4, 3)


BAD = {
    "swarm-of-all": ["--swarm", "4"],
    "swarm-and-liveness": ["--swarm", "4", "--kernel", "6.12", "--driver", "free:1", "--liveness"],
    "swarm-and-storage": ["--swarm", "4", "--kernel", "6.12", "--driver", "free:1", "--storage", "compact"],
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_swarm_cannot_do_is_one_message(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["verify", *BAD[case]]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    held_to_golden("verify_errors", case, printed.err)
