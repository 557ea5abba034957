# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of an experiment, in whatever process: its figures, or why there are none.

A process keeps what is equal between runs: the linked kernels with their native code, the cost tables, and the arm that it
booted last, which it runs again with the next seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from softnet.errors import SoftnetError
from softnet.lang.python.stop import KernelStop
from softnet.simulate.figures import Figured
from softnet.simulate.program import load_program, scenario_costs
from softnet.simulate.simulation import Setup
from softnet.sweep.identity import kernel_digest, program_key
from softnet.sweep.measures import values_of
from softnet.sweep.store import Finished, failure_text

if TYPE_CHECKING:
    from softnet.lang.native.compile import Native
    from softnet.lang.program.program import Program
    from softnet.machine.costtable import CostTable
    from softnet.scenario import Scenario

KERNELS_MAX: Final = 32
"""Linked kernels that a process keeps."""


class Job(NamedTuple):
    """A run to make: of which arm, with which seed."""

    arm: str
    """The hash of all that determines the arm's runs but the seed."""
    kernel: str
    """The digest of its kernel: a patch may be edited while the experiment runs."""
    scenario: Scenario
    patches: tuple[str, ...]
    seed: int
    engine: str


class _Linked(NamedTuple):
    program: Program
    costs: CostTable
    code: list[Native]
    """The native code, once it is there."""


_linked: dict[str, _Linked] = {}
_booted: dict[str, Figured] = {}
"""The arm that ran last, by its hash and engine; one at most."""


def run_once(job: Job, costs: tuple[str, CostTable] | None = None) -> Finished:
    """Make the run. ``costs``: a cost table and its hash, where the scenario's own is not on this machine.

    Raises KeyboardInterrupt when it is interrupted: half of a run is none; SoftnetError if a patch has changed.
    """
    linked = _kernel(job, costs)
    key = f"{job.arm} {job.engine}"
    try:
        booted = _booted.get(key)
        if booted is None:
            setup = Setup(
                patches=job.patches, seed=job.seed, engine=job.engine, trace="off", costs=linked.costs, program=linked.program,
                code=linked.code[0] if linked.code else None,
            )  # fmt: skip
            before = next(iter(_booted.values()), None)
            _booted.clear()
            booted = before if before is not None and before.turn_to(job.scenario, setup) else Figured(job.scenario, setup)
            if booted.code is not None:
                linked.code[:] = [booted.code]
        result = booted.figures(job.seed)
    except KernelStop as stop:
        _booted.clear()
        return Finished([], failure_text(SoftnetError(f"the kernel stopped: {stop.message}", where=str(stop.where))))
    except SoftnetError as error:
        _booted.clear()
        return Finished([], failure_text(error))
    if result.partial:
        raise KeyboardInterrupt
    _booted[key] = booted
    return Finished(values_of(result), "")


def _kernel(job: Job, costs: tuple[str, CostTable] | None) -> _Linked:
    """The job's kernel, linked. Raises SoftnetError if it is not the one that was planned."""
    key = f"{job.kernel} {program_key(job.scenario, job.patches)} {costs[0] if costs else ''}"
    found = _linked.get(key)
    if found is None:
        table = costs[1] if costs else scenario_costs(job.scenario)
        found = _Linked(load_program(job.scenario, job.patches, table), table, [])
        if kernel_digest(found.program) != job.kernel:
            raise SoftnetError(
                "a patch, or softnet itself, has changed since the experiment was planned", where=", ".join(job.patches),
                hint="start it again: what is finished and has not changed is not run again",
            )  # fmt: skip
        if len(_linked) >= KERNELS_MAX:
            _linked.pop(next(iter(_linked)))
        _linked[key] = found
    return found
