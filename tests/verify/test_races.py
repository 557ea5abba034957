# SPDX-License-Identifier: GPL-2.0-or-later
"""Data races and touches after the free: what must be found, by which words, and what must not.

The programs of tests/verify/programs hold the same search against an explorer that finds races by looking at what comes next.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.linux.support import patch_file
from tests.verify.mutations import patch

from softnet.lang.native.compile import available
from softnet.verify.api import replay_schedule
from softnet.verify.model import RACE, asks_races
from softnet.verify.promela import export
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.standard import from_text, to_text
from softnet.verify.verdict import Verdict, Why

CASES = Path(__file__).parent / "cases"
SMALL = Limits(states=1_000_000, memory_bytes=256 << 20)
TWO_TASKS = "kernel=6.12,resched=0,driver=call:0:1,driver=call:1:2"
native = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]

SHARED_BY_TASKS = """
from softnet.lang import Struct, array, embed, guarded, percpu, private, shared


class mine(Struct):
    lock: spinlock_t = embed(line=0)
    word: int = private(line=1)
    flag: int = shared(line=2)
    many: int = array(960, private(line=3))


@kfunc
def verify_task(number: int) -> None:
    m = table(mine, 0)
"""

EARLY = """
    flags = local_irq_save()
    if number == 1:
        m.word = 1
    elif m.word != 2:
        m.flag = 1
    atomic_inc(m.flag)
    local_irq_restore(flags)
"""
MARKED = """
    if number == 1:
        WRITE_ONCE(m.word, 1)
    elif READ_ONCE(m.word) == 1:
        m.flag = 1
"""
HALF_MARKED = """
    if number == 1:
        m.word = 1
    elif READ_ONCE(m.word) == 1:
        m.flag = 1
"""
HANDED_OVER = """
    if number == 1:
        m.word = 1
        smp_store_release(m.flag, 1)
    elif smp_load_acquire(m.flag) == 1:
        m.word = 2
"""
LOCKED = """
    spin_lock(m.lock)
    m.word += number
    spin_unlock(m.lock)
"""
MORE_THAN_IS_KEPT = """
    spin_lock(m.lock)
    atomic_inc(m.flag)
    for i in range(960):
        m.many[i] = number
    spin_unlock(m.lock)
"""


def tasks(folder: Path, body: str, **more: object) -> Outcome:
    """Two tasks on two CPUs, told apart by their number, do that."""
    file = patch_file(folder, "tasks", SHARED_BY_TASKS + body.lstrip("\n"))
    return search(replace(from_text(TWO_TASKS, (file,)), **more), SMALL)  # type: ignore[arg-type]


def case(name: str, configuration: str, **more: object) -> Outcome:
    """A file of tests/verify/cases."""
    return search(replace(from_text(configuration, (str(CASES / name),)), **more), SMALL)  # type: ignore[arg-type]


class TestFound:
    """What takes a search."""

    pytestmark = native

    def test_a_list_that_two_cpus_write_without_a_lock(self) -> None:
        failure = case("x_remote_link.py", "kernel=6.12,rps=1,driver=rps:1:1:0,driver=nic:0:2").failure
        assert failure is not None
        assert failure.name == RACE
        assert failure.text.startswith("softnet_data[0].poll_list.prev: rps/1 writes it in __list_add() (")
        assert "an interrupt of CPU0 writes it in __list_add() (" in failure.text
        assert failure.text.endswith("; nothing orders the two")

    def test_an_skb_that_is_read_after_it_was_handed_over(self) -> None:
        text = "kernel=6.12,defer_max=1,driver=free:1:2,driver=irq:0"
        failure = case("s_uaf_push_freed.py", text).failure
        assert failure is not None
        assert failure.name == RACE
        assert failure.text.startswith("sk_buff[0].alloc_cpu: free/1 reads it in skb_attempt_defer_free() (")
        # Without races the touch itself is found, where it is one.
        failure = case("s_uaf_push_freed.py", text, without=(RACE,)).failure
        assert failure is not None
        assert failure.name == "freed"

    def test_an_skb_that_is_written_after_it_was_freed(self) -> None:
        failure = case("s_uaf_write.py", "kernel=6.12,driver=free:1:2").failure
        assert failure is not None
        assert failure.name == "freed"
        assert failure.text.startswith("sk_buff.next of an skb that is free in skb_defer_free_flush(); swapper/0 freed it in step ")
        assert "(skb_release_data(), " in failure.text

    def test_two_steps_that_begin_with_the_accesses(self, tmp_path: Path) -> None:
        outcome = tasks(tmp_path, EARLY)
        assert outcome.failure is not None
        assert outcome.failure.name == RACE
        assert "nothing orders the two" in outcome.failure.text

    def test_a_marked_access_races_with_a_plain_one_only(self, tmp_path: Path) -> None:
        assert tasks(tmp_path, MARKED).verdict is Verdict.HOLDS
        failure = tasks(tmp_path, HALF_MARKED).failure
        assert failure is not None
        assert failure.name == RACE

    @pytest.mark.parametrize("body", [HANDED_OVER, LOCKED], ids=["handed_over", "locked"])
    def test_what_is_ordered_is_none(self, body: str, tmp_path: Path) -> None:
        assert tasks(tmp_path, body).verdict is Verdict.HOLDS

    def test_a_step_that_touches_more_than_is_kept_is_not_said_to_hold(self, tmp_path: Path) -> None:
        outcome = tasks(tmp_path, MORE_THAN_IS_KEPT)
        assert (outcome.verdict, outcome.why) == (Verdict.INCONCLUSIVE, Why.TOO_MANY_OPEN)
        assert tasks(tmp_path, MORE_THAN_IS_KEPT, without=(RACE,)).verdict is Verdict.HOLDS


class TestAsked:
    """A data race is a property among others."""

    pytestmark = native

    def test_a_property_that_is_asked_alone_is_not_hidden_by_a_race(self) -> None:
        text = "kernel=6.12,cpus=3,defer_max=1,driver=free:1,driver=free:2,driver=irq:0"
        config = from_text(text, (patch("plain_ipi_flag", "6.12"),))
        for asked, found in (((), RACE), (("csd queued twice",), "csd queued twice"), ((RACE,), RACE)):
            failure = search(replace(config, properties=asked), SMALL).failure
            assert failure is not None
            assert failure.name == found

    def test_a_model_for_spin_looks_for_none(self, tmp_path: Path) -> None:
        config = from_text("kernel=6.12,driver=free:1:2,driver=irq:0")
        written = export(config, tmp_path / "model.pml", SMALL)
        plain, whole = (search(replace(config, races=races, owned=False), SMALL) for races in (False, True))
        assert written.states == plain.states <= whole.states
        assert "vx_plain" not in (tmp_path / "model.h").read_text()

    def test_liveness_is_asked_besides(self) -> None:
        assert search(from_text("kernel=6.12,liveness=1,driver=free:1:2,driver=irq:0"), SMALL).verdict is Verdict.HOLDS


class TestReplayed:
    """A schedule shows its race again."""

    pytestmark = native

    def test_with_both_places(self) -> None:
        outcome = case("x_remote_link.py", "kernel=6.12,rps=1,driver=rps:1:1:0,driver=nic:0:2")
        assert replay_schedule(outcome.config, outcome.actions).schedule.failure == outcome.failure
        assert replay_schedule(outcome.config, outcome.actions, engine="both").schedule.failure == outcome.failure

    def test_one_that_steps_have_which_are_not_both_in_the_schedule(self, tmp_path: Path) -> None:
        outcome = tasks(tmp_path, EARLY)
        assert replay_schedule(outcome.config, outcome.actions).schedule.failure == outcome.failure
        assert replay_schedule(outcome.config, outcome.actions, engine="both").schedule.failure == outcome.failure
        # The step before it has none.
        assert replay_schedule(outcome.config, outcome.actions[:-1]).schedule.failure is None


def test_what_is_asked() -> None:
    config = from_text("kernel=6.12,driver=free:1:2")
    assert asks_races(config)
    assert asks_races(replace(config, properties=("deadlock", RACE)))
    assert not asks_races(replace(config, properties=("deadlock",)))
    assert not asks_races(replace(config, without=(RACE,)))
    assert not asks_races(replace(config, races=False))
    assert to_text(config) == "kernel=6.12,driver=free:1:2:0"
    assert "races=0" in to_text(replace(config, races=False))
