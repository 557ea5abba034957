# SPDX-License-Identifier: GPL-2.0-or-later
"""The calls: ``sweep`` runs an experiment, ``load`` and ``query`` read its results."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softnet.errors import SoftnetError
from softnet.processes import Workers, can_work
from softnet.sweep.experiment import Asked
from softnet.sweep.plan import Planned, SweepArm, plan
from softnet.sweep.store import Finished, Journal, write_results
from softnet.sweep.worker import Job, run_once

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int, int, int], None]
"""Called with (runs done, runs in all, runs that were there already)."""


@dataclass
class Swept:
    """An experiment that has run, or was interrupted."""

    planned: Planned
    seeds: tuple[int, ...]
    table: Any = None
    """The Arrow table of the finished runs."""
    reused: int = 0
    lost: list[tuple[SweepArm, int, str]] = field(default_factory=list)
    """Runs whose processes died twice: arm, seed, how. They are not kept, and are tried anew the next time."""
    partial: bool = False
    until_missed: bool = False
    """The seeds ended before the intervals were as narrow as asked."""


def sweep(
    asked: Asked,
    out: Path,
    *,
    processes: int | None = None,
    engine: str = "auto",
    yes: bool = False,
    progress: Progress | None = None,
) -> Swept:
    """Run what of an experiment has not been run yet, and write the results into the folder ``out``.

    The results do not depend on ``processes`` (default: the CPUs there are). Ctrl-C keeps what is finished and marks the
    outcome partial. Raises SoftnetError for a bad experiment, before anything runs.
    """
    planned = plan(asked, yes=yes)
    # What is missing is missed before the work is done.
    from softnet.sweep.store import arrow

    arrow()
    swept = Swept(planned, planned.seeds)
    wanted = frozenset(arm.run_id(seed) for arm in planned.arms for seed in planned.max_seeds)
    with Journal(out, [m.column for m in planned.measures]) as journal:
        journal.load(wanted)
        swept.reused = len(journal.done)
        try:
            with _Runner(processes, engine) as runner:
                _run_seeds(swept, journal, runner, progress)
        except KeyboardInterrupt:
            swept.partial = True
        swept.table = write_results(out, planned, swept.seeds, journal.done)
    return swept


def _run_seeds(swept: Swept, journal: Journal, runner: _Runner, progress: Progress | None) -> None:
    """The seeds that were asked for, and more while an interval is too wide."""
    planned = swept.planned
    while True:
        _run_missing(swept, journal, runner, progress)
        if planned.until is None:
            return
        from softnet.sweep.analysis import narrow_enough

        if narrow_enough(planned, swept.seeds, journal.done):
            return
        if len(swept.seeds) >= len(planned.max_seeds):
            swept.until_missed = True
            return
        more = len(swept.seeds) + max(len(swept.seeds) // 2, 1)
        swept.seeds = planned.max_seeds[: min(more, len(planned.max_seeds))]


def _run_missing(swept: Swept, journal: Journal, runner: _Runner, progress: Progress | None) -> None:
    """Run what is not in the journal. Equal runs of several arms run once."""
    # Arm by arm: a process boots an arm once and runs it with one seed after the other.
    missing: dict[str, tuple[SweepArm, int]] = {}
    total = 0
    for arm in swept.planned.arms:
        for seed in swept.seeds:
            total += 1
            run_id = arm.run_id(seed)
            if run_id not in journal.done:
                missing.setdefault(run_id, (arm, seed))
    ids = list(missing)
    there = total - len(ids)
    if progress is not None:
        progress(there, total, there)
    for done, (number, found) in enumerate(runner.run(list(missing.values())), start=1):
        if isinstance(found, SoftnetError):
            swept.lost.append((*missing[ids[number]], found.found))
        else:
            journal.add(ids[number], found)
        if progress is not None:
            progress(there + done, total, there)


class _Runner:
    """Runs jobs, here or in worker processes that stay for the next jobs."""

    def __init__(self, processes: int | None, engine: str) -> None:
        self.engine = engine
        self.count = processes if processes is not None else len(os.sched_getaffinity(0))
        self._workers: Workers | None = None

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *_: object) -> None:
        if self._workers is not None:
            self._workers.close()

    def run(self, jobs: Sequence[tuple[SweepArm, int]]) -> Iterator[tuple[int, Finished | SoftnetError]]:
        """What came of each job, with its number, in the order in which they end."""
        made = (Job(arm.digest, arm.kernel, arm.scenario, arm.patches, seed, self.engine) for arm, seed in jobs)
        if self.count <= 1 or not can_work():
            for number, job in enumerate(made):
                yield number, run_once(job)
            return
        if self._workers is None and jobs:
            self._workers = Workers(min(self.count, len(jobs)))
        if self._workers is not None:
            groups = (list(group) for _, group in itertools.groupby(made, key=lambda job: job.arm))
            yield from self._workers.as_they_come(run_once, ([(job,) for job in group] for group in groups))


def load(folder: str | Path) -> pd.DataFrame:
    """The results of an experiment: a row for each run. Raises SoftnetError."""
    from softnet.simulate.result import _pandas
    from softnet.sweep.reading import read_table

    _pandas()
    frame: pd.DataFrame = read_table(Path(folder)).to_pandas()
    return frame
