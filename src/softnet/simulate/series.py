# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs of the same arm, one seed after the other: kernel, costs, native code and the booted machine are made once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from softnet.simulate.repeated import Repeated
from softnet.simulate.simulation import Run, Setup, Simulation

if TYPE_CHECKING:
    from softnet.scenario import Scenario


class Job(NamedTuple):
    """One run: of which arm, by its number in the comparison, with which setup."""

    number: int
    label: str
    scenario: Scenario
    setup: Setup


class Series:
    """Keeps what the arm that ran last has made. A series belongs to one comparison: a patch may be edited after it."""

    def __init__(self) -> None:
        self._number = -1
        self._first: Simulation | None = None
        self._booted: Repeated | None = None

    def run(self, job: Job) -> Run:
        """The run that a Simulation of this scenario and setup gives. Raises what that raises."""
        if job.number != self._number:
            self._number, self._first, self._booted = job.number, None, None
        if self._booted is not None and self._repeats(job.setup):
            assert job.setup.seed is not None
            return self._booted.again(job.setup.seed)
        setup = job.setup
        if self._first is not None:
            setup = replace(setup, program=self._first.program, costs=self._first.costs, code=self._first.code)
        if not self._repeats(setup):
            simulation = Simulation(job.scenario, setup)
        else:
            simulation = self._booted = Repeated(job.scenario, setup)
        self._first = simulation
        return simulation.finish()

    @staticmethod
    def _repeats(setup: Setup) -> bool:
        """Whether a machine can be put back after such a run: nobody watches it."""
        return setup.trace == "off" and not setup.checks and setup.seed is not None


_here = Series()


def run_in_worker(job: Job) -> Run:
    """The same in a worker process, which lives as long as one comparison and gets an arm's runs one after the other."""
    return _here.run(job)
