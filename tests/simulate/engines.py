# SPDX-License-Identifier: GPL-2.0-or-later
"""One scenario on both engines, and everything that must be the same."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from softnet.lang.native.compile import Options
from softnet.lang.python.stop import KernelStop
from softnet.scenario import Scenario
from softnet.simulate.arrivals import arrival_blocks
from softnet.simulate.native import NativeEngine
from softnet.simulate.simulation import Simulation

NULL_LINE = 16
"""The words next to NULL are each engine's own."""


@dataclass
class Outcome:
    """All that an engine leaves behind."""

    result: str
    records: list[Any]
    memory: bytes
    stop: str


def outcome(
    scenario: Scenario,
    engine: str,
    patches: Sequence[str] = (),
    options: Options | None = None,
    checks: bool = False,
) -> Outcome:
    """Run a scenario with a full trace; a stop inside the kernel is part of the outcome."""
    simulation = Simulation(scenario, engine=engine, patches=patches, trace="full", checks=checks)
    if options is not None:
        assert isinstance(simulation.engine, NativeEngine)
        # The arrivals that the first engine took already lie in memory; a second one on the same image goes on from there.
        simulation = _with_options(simulation, options)
    stop = ""
    try:
        simulation.finish()
    except KernelStop as error:
        stop = str(error)
    result = simulation.result().to_dict()
    result.pop("engine")
    memory = array("q", simulation.image.memory[NULL_LINE:]).tobytes()
    return Outcome(json.dumps(result), list(simulation.recorder.records), memory, stop)


def _with_options(simulation: Simulation, options: Options) -> Simulation:
    simulation.engine = NativeEngine(simulation.image, arrival_blocks(simulation.scenario), simulation.recorder.take, options)
    return simulation


def assert_equal(native: Outcome, reference: Outcome) -> None:
    """The first record that differs says more than two long texts do."""
    for i, (one, other) in enumerate(zip(native.records, reference.records, strict=False)):
        assert one == other, f"record {i}: native {one}, reference {other}"
    assert len(native.records) == len(reference.records)
    assert native.stop == reference.stop
    assert native.result == reference.result
    if native.memory != reference.memory:
        pairs = zip(memoryview(native.memory).cast("q"), memoryview(reference.memory).cast("q"), strict=True)
        differing = [NULL_LINE + i for i, (a, b) in enumerate(pairs) if a != b]
        raise AssertionError(f"words that differ: {differing[:20]}")
