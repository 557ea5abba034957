# SPDX-License-Identifier: GPL-2.0-or-later
"""The pass that drops interaction points and prices of lines: it finds some in the kernel, and its mistakes would be noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.simulate.engines import Outcome, outcome

from softnet.lang import ir
from softnet.lang.native.compile import Options, available
from softnet.lang.passes.dataflow import Flow, Summary
from softnet.lang.passes.redundant import drop_redundant
from softnet.machine.state import engine_state
from softnet.scenario import Scenario, load_scenario
from softnet.simulate.explain import lowered

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hasty_code")]
native = pytest.mark.skipif(bool(available()), reason="no native engine here")

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def scenario() -> Scenario:
    return load_scenario(EXAMPLES / "rps.toml", ["measure.warmup_ms=1", "measure.duration_ms=3"])


def left(module: ir.Module) -> tuple[int, int]:
    """How many interaction points and prices of lines there are."""
    body = [i for f in module.functions.values() for block in f.blocks for i in block.body]
    prices = [i for i in body if isinstance(i, ir.Call) and i.function in ("line_read", "line_write")]
    return sum(isinstance(i, ir.Point) for i in body), len(prices)


@pytest.mark.parametrize("kernel", ["6.1", "6.12-rt"])
def test_a_sixth_of_the_points_and_a_quarter_of_the_prices_go(kernel: str) -> None:
    module = lowered(kernel, [])[0]
    points, prices = left(module)
    drop_redundant(module)
    fewer_points, fewer_prices = left(module)
    assert fewer_points <= points * 7 // 8
    assert fewer_prices <= prices * 3 // 4


def test_counted_points_are_all_points() -> None:
    """What bench/engines.py calls an event is one that the model has, whether native code asks there or not."""
    module, plain = lowered("6.12", [])[0], lowered("6.12", [])[0]
    points, _ = left(module)
    drop_redundant(module, counted=True)
    fewer, _ = left(module)
    counters = sum(
        isinstance(i, ir.Store) and i.place.field == "run.points"
        for f in module.functions.values()
        for block in f.blocks
        for i in block.body
    )
    assert fewer + counters == points
    drop_redundant(plain)
    assert left(plain)[0] == fewer


def bounds_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine_state, "lim", replace(vars(engine_state)["lim"], decides_turn=False))


def lines_are_kept_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Flow, "suspended", lambda self: None)


def calls_do_not_suspend(patch: pytest.MonkeyPatch) -> None:
    summary = Flow.summary

    def quiet(self: Flow) -> Summary:
        found = summary(self)
        return Summary(found.settled, False, found.held)

    patch.setattr(Flow, "summary", quiet)


MISTAKES = (bounds_stay, lines_are_kept_for_ever, calls_do_not_suspend)


@pytest.fixture(scope="module")
def reference() -> Outcome:
    return outcome(scenario(), "reference")


@native
@pytest.mark.parametrize("mistake", MISTAKES, ids=[m.__name__ for m in MISTAKES])
def test_a_mistake_is_noticed(
    mistake: Callable[[pytest.MonkeyPatch], None],
    reference: Outcome,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """By the engines' difference, and by the checked build, which checks what the pass takes for granted.

    The mistake is in the form, before LLVM's optimiser: hasty code has it, too.
    """
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    mistake(monkeypatch)
    checked = outcome(scenario(), "native", options=Options(checked=True, optimise=0))
    differs = outcome(scenario(), "native").memory != reference.memory
    assert "the compiler took" in checked.stop
    assert differs
