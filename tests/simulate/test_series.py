# SPDX-License-Identifier: GPL-2.0-or-later
"""A comparison makes once what its runs share, and says what runs by themselves say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from softnet.lang.program import memo
from softnet.simulate import api, measure, simulation
from softnet.simulate.api import compare, resolve
from softnet.simulate.program import load_program
from softnet.simulate.result import Result
from softnet.simulate.simulation import Simulation

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "rps.toml"
SHORT = ["measure.duration_ms=3", "measure.warmup_ms=1"]
ARMS = ("6.9", "more:6.9,machine.cpus=5", "6.12-rt")
SEEDS = (3, 4, 5)

pytestmark = pytest.mark.usefixtures("hasty_code")


def alone(arm: str, seed: int, engine: str, settings: Sequence[str]) -> Result:
    """A run by itself, of a simulation that shares nothing."""
    kernel, _, setting = arm.rpartition(":")[2].partition(",")
    scenario = resolve(resolve(EXAMPLE, "", settings), kernel, [setting] if setting else [])
    return Simulation(scenario, seed=seed, trace="off", engine=engine).finish().result


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "trace"), [("auto", "off"), ("auto", "full"), ("reference", "off")])
def test_runs_are_those_that_share_nothing(engine: str, trace: str) -> None:
    arms, settings = (ARMS, SHORT) if engine == "auto" else (ARMS[:2], ["measure.duration_ms=0.3", "measure.warmup_ms=0.1"])
    done = compare(EXAMPLE, arms, settings=settings, seeds=SEEDS, engine=engine, trace=trace, processes=1)
    for arm, results in zip(arms, done.comparison.results.values(), strict=True):
        for seed, result in zip(SEEDS, results, strict=True):
            assert result.to_dict() == alone(arm, seed, engine, settings).to_dict(), (arm, seed)
    assert bool(done.traces) == (trace != "off")


def test_a_kernel_is_linked_once_and_a_machine_booted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, int] = {"linked": 0, "booted": 0}

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            made[name] += 1
            return function(*given, **named)

        return call

    monkeypatch.setattr(simulation, "load_program", counted("linked", simulation.load_program))
    monkeypatch.setattr(simulation, "boot", counted("booted", simulation.boot))
    compare(EXAMPLE, ["6.9", "6.12"], settings=SHORT, seeds=SEEDS, processes=1)
    assert made == {"linked": 2, "booted": 2}


class Here:
    """Worker processes that are this one: what they would be given, and when they would start."""

    groups: list[list[Any]]
    count = 0

    def __init__(self, count: int) -> None:
        Here.count, Here.groups = count, []

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def as_they_come(self, function: Callable[..., Any], groups: Iterator[Sequence[Any]]) -> Iterator[tuple[int, Any]]:
        Here.groups = [list(group) for group in groups]
        jobs = [job for group in Here.groups for job in group]
        # A later one may end before an earlier one.
        for number in reversed(range(len(jobs))):
            yield number, function(*jobs[number])


@pytest.mark.slow
def test_workers_start_where_they_pay_and_get_an_arm_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(count: int) -> Here:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(api, "Workers", none)
    monkeypatch.setattr(api.os, "sched_getaffinity", lambda _: range(2))
    few = compare(EXAMPLE, ["6.9", "6.12"], settings=SHORT, seeds=SEEDS).comparison
    monkeypatch.setattr(api, "Workers", Here)
    monkeypatch.setattr(api, "WORTH_WORKERS", 1)
    many = compare(EXAMPLE, ["6.9", "6.12"], settings=SHORT, seeds=SEEDS).comparison
    assert many.to_dict() == few.to_dict()
    # The first run, here, says how much there is to do.
    assert [[(job.label, job.setup.seed) for (job,) in group] for group in Here.groups] == [
        [("6.9", 4), ("6.9", 5)], [("6.12", 3), ("6.12", 4), ("6.12", 5)],
    ]  # fmt: skip
    # The reference engine takes longer for the same, and so pays sooner.
    Here.count = 0
    monkeypatch.setattr(api, "WORTH_WORKERS", 1_000_000)
    short = ["measure.duration_ms=0.3", "measure.warmup_ms=0.1"]
    for engine, started in (("auto", 0), ("reference", 2)):
        compare(EXAMPLE, ["6.9", "6.12"], settings=short, seeds=SEEDS, engine=engine)
        assert Here.count == started
    compare(EXAMPLE, ["6.9", "6.12"], settings=SHORT, seeds=SEEDS, processes=4)
    assert (Here.count, [len(group) for group in Here.groups]) == (4, [2, 1, 2, 1])


def test_places_of_warnings_are_looked_for_once() -> None:
    scenario = resolve(EXAMPLE, "6.9-rt", SHORT)
    program = replace(load_program(scenario), derived=memo.nothing_known())
    places = measure._warn_places(program)
    assert len(places) > 10
    site = min(places)
    first = measure.warning_sites(program, {site: 2})
    assert first == [f"WARN_ON_ONCE fired 2 times at {places[site]}"]
    # Were they looked for again, it would have to be in functions that are no longer there.
    assert measure.warning_sites(replace(program, functions={}), {site: 2}) == first
