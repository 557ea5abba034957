# SPDX-License-Identifier: GPL-2.0-or-later
"""What only one CPU touches is no stop: the same verdicts and the same terminal states, from fewer states.

SOFTNET_LONG=1 draws more configurations and takes every mutation.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from tests.long import LONG
from tests.verify.matrix import Row, rows

from softnet.lang.native.compile import available
from softnet.verify import ownership
from softnet.verify.arena import Arena, Limits
from softnet.verify.codegen.runtime import FAILED
from softnet.verify.inside import words
from softnet.verify.model import Config, Driver, applies
from softnet.verify.search import search
from softnet.verify.standard import standard, to_text

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]

LIMITS = Limits(states=2_000_000, memory_bytes=512 << 20, storage="compact")
VIOLATED = (words.VX_VIOLATION, words.VX_MACHINE, FAILED)


def end_of(config: Config, *, learn: bool = True) -> tuple[int, Arena, int]:
    """A search that is not told by a failed run by chance, and makes nothing of what it finds: its code, and its attempts."""
    touched = ownership.Touched()
    while True:
        machine = Arena(config, LIMITS, hasty=True)
        machine.settle()
        if machine.owned and learn and not touched.attempts:
            ownership.learn(machine, touched)
            if touched.failed:
                ownership.note(machine, touched)
                machine = Arena(config, LIMITS, hasty=True)
                machine.settle()
        touched.attempts += 1
        if machine.owned:
            machine.own(*ownership.owners(machine, touched))
        code = machine.start()
        while code == words.VX_MORE:
            if machine.outgrew():
                machine.optimise()
            code = machine.explore(100_000)
        if code != words.VX_DISOWNED:
            return code, machine, touched.attempts
        ownership.note(machine, touched)


def compare(config: Config) -> tuple[Arena, Arena]:
    """Both searches; where they hold they end in the same states, where not both find something."""
    code, owned, _ = end_of(config)
    plain_code, plain, _ = end_of(replace(config, owned=False))
    if plain_code in VIOLATED:
        assert code in VIOLATED
    else:
        assert code == plain_code == words.VX_DONE
        assert owned.get("terminals") == plain.get("terminals")
        assert owned.get("ends") == plain.get("ends")
        assert owned.get("states") <= plain.get("states")
    return owned, plain


@pytest.mark.parametrize(("kernel", "number"), [("6.12", 3), ("6.12-threads", 4), ("6.12-rt", 2)])
def test_the_same_ends_from_fewer_states(kernel: str, number: int) -> None:
    owned, plain = compare(standard(kernel)[number])
    assert owned.get("states") < plain.get("states")


def test_at_three_cpus_a_producer_is_a_tenth() -> None:
    owned, plain = compare(standard("6.12", 3)[0])
    assert 10 * owned.get("states") < plain.get("states")


def drawn(seed: int) -> Config:
    """A small configuration by chance."""
    rng = random.Random(seed)
    cpus, kernel = rng.choice([2, 2, 3]), rng.choice(["6.12", "6.12-threads", "6.12-rt"])
    kinds = ["free", "netif_rx", "rps"] + ["irq"] * (kernel != "6.12-rt")
    drivers = []
    for _ in range(2):
        kind = rng.choice(kinds)
        drivers.append(Driver(kind, rng.randrange(cpus), rng.choice([1, 1, 2]), rng.randrange(cpus), rng.randrange(cpus)))
    return Config(
        "drawn", kernel=kernel, cpus=cpus, rps=True, defer_max=rng.choice([1, 2]), budget=rng.choice([1, 300]),
        dev_weight=rng.choice([1, 64]), resched=kernel != "6.12-rt" and rng.random() < 0.5, ticks=rng.choice([0, 0, 1]),
        drivers=tuple(drivers),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(100 if LONG else 3))
def test_the_same_ends_by_chance(seed: int) -> None:
    config = drawn(seed)
    compare(config)


SAFETY = [row for row in rows() if applies(row.config())][:: 1 if LONG else 9]
"""Each is a kernel to compile."""


@pytest.mark.parametrize("row", SAFETY, ids=[f"{r.property}-{r.mutation}".replace(" ", "_") for r in SAFETY])
def test_the_reduced_search_itself_finds_every_mutation(row: Row) -> None:
    code, machine, _ = end_of(replace(row.config(), properties=(row.property,)))
    if row.property == "lock order":
        assert machine.lock_cycle() is not None
    else:
        assert code in VIOLATED
        assert machine.failure(code).name == row.property


def test_a_wrong_assumption_is_noticed_and_dropped() -> None:
    # Nothing is learnt before: at first no word is written by anybody, in the search's opinion.
    config = standard("6.12")[0]
    code, machine, attempts = end_of(config, learn=False)
    assert attempts > 1
    assert code == words.VX_DONE
    assert machine.get("terminals") == end_of(config)[1].get("terminals")


def test_a_counterexample_is_the_shortest_of_the_plain_search() -> None:
    patch = str(Path(__file__).parents[2] / "examples" / "patches" / "no_backlog_lock.py")
    config = Config("t", kernel="6.12-threads", drivers=(Driver("free", 1, 2), Driver("irq", 0)), patches=(patch,),
                    properties=("phantom SCHED",))  # fmt: skip
    outcome, plain = search(config, LIMITS), search(replace(config, owned=False), LIMITS)
    assert outcome.actions == plain.actions
    assert "owned" not in to_text(outcome.config)


def test_a_large_search_assumes_owners_and_goes_on_from_a_file(tmp_path: Path) -> None:
    config = standard("6.12")[4]
    # Without races: what is still open at an end would count as a part of it, and fewer stops leave more accesses open.
    owned, plain = (search(replace(config, owned=owned, races=False), LIMITS) for owned in (True, False))
    assert owned.holds
    assert plain.holds
    assert owned.terminals == plain.terminals
    assert owned.states < plain.states
    whole = search(config, LIMITS)
    assert whole.holds
    file = tmp_path / "search"
    first = search(config, replace(LIMITS, states=120_000), save=file)
    assert first.verdict == "inconclusive"
    assert search(config, LIMITS, resume=file) == whole


def test_where_the_search_looks_into_other_cpus_nothing_is_assumed() -> None:
    plain = Config("t", drivers=(Driver("free", 1),))
    assert applies(plain)
    for other in (
        replace(plain, owned=False),
        replace(plain, reduce=False),
        replace(plain, liveness=True),
        replace(plain, drivers=(Driver("hotplug", 0, 1, 0, 1),)),
    ):
        assert not applies(other)
