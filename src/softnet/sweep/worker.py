# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of an experiment, in whatever process: its figures, or why there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.errors import SoftnetError
from softnet.lang.python.stop import KernelStop
from softnet.simulate.simulation import Setup, Simulation
from softnet.sweep.measures import values_of
from softnet.sweep.store import Finished, failure_text

if TYPE_CHECKING:
    from softnet.scenario import Scenario


def run_once(scenario: Scenario, patches: tuple[str, ...], seed: int, engine: str) -> Finished:
    """Run a scenario with a seed. Raises KeyboardInterrupt when it is interrupted: half of a run is none."""
    try:
        result = Simulation(scenario, Setup(patches=patches, seed=seed, engine=engine, trace="off")).finish().result
    except KernelStop as stop:
        return Finished([], failure_text(SoftnetError(f"the kernel stopped: {stop.message}", where=str(stop.where))))
    except SoftnetError as error:
        return Finished([], failure_text(error))
    if result.partial:
        raise KeyboardInterrupt
    return Finished(values_of(result), "")
