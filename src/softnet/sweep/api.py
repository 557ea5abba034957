# SPDX-License-Identifier: GPL-2.0-or-later
"""The calls: ``sweep`` runs an experiment, ``load`` and ``query`` read its results."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from softnet.cluster.wanted import wanted_cluster
from softnet.errors import SoftnetError
from softnet.processes import Workers, can_work
from softnet.sweep.course import Course, Progress, Runner
from softnet.sweep.course import Swept as Swept
from softnet.sweep.design import SEARCH
from softnet.sweep.elsewhere import ClusterRunner
from softnet.sweep.experiment import Asked
from softnet.sweep.plan import SweepArm, plan
from softnet.sweep.remote import Publisher, Store, here
from softnet.sweep.store import JOURNAL, Finished, Journal, write_results
from softnet.sweep.worker import Job, run_once

if TYPE_CHECKING:
    import pandas as pd


def sweep(
    asked: Asked,
    out: Path,
    *,
    processes: int | None = None,
    engine: str = "auto",
    yes: bool = False,
    progress: Progress | None = None,
    cluster: str = "",
    store: str = "",
) -> Swept:
    """Run what of an experiment has not been run yet, and write the results into the folder ``out``.

    The results do not depend on ``processes`` (default: the CPUs there are), nor on the ``cluster`` (``tcp://HOST:PORT`` of a Dask
    scheduler, ``local:N``, ``slurm:N``, ``kubernetes:N``) that makes the runs instead. Ctrl-C keeps what is finished and marks
    the outcome partial. With ``store``, an address of fsspec's, runs that stand there are taken up, and the files of the folder
    written there, too. Raises SoftnetError for a bad experiment, cluster or store, before anything runs; and when the cluster's
    scheduler is lost: what is finished is kept.
    """
    kept = Store(store) if store else None
    where = wanted_cluster(cluster) if cluster else None
    planned = plan(asked, yes=yes)
    # What is missing is missed before the work is done.
    from softnet.sweep.store import arrow

    arrow()
    if kept is not None:
        kept.check()
    swept = Swept(planned, planned.seeds)
    # What a search will try is not known before it has begun.
    known = planned.asked.experiment.design != SEARCH
    wanted = frozenset(arm.run_id(seed) for arm in planned.arms for seed in planned.max_seeds) if known else None
    runner: Runner = _Runner(processes, engine) if where is None else ClusterRunner(where, planned.arms, engine)
    with runner, Journal(out, [m.column for m in planned.measures]) as journal:
        journal.load(wanted)
        if kept is not None:
            journal.merge(kept.read(JOURNAL) or b"", wanted)
            journal.added = Publisher(kept, journal)
        del wanted  # as large as all that is kept of the runs
        swept.reused = len(journal) if known else 0
        try:
            Course(swept, journal, runner, progress).go()
        except KeyboardInterrupt:
            swept.partial = True
        finally:
            # Also when the scheduler is lost: what is finished can be looked at.
            swept.finished = write_results(out, swept.planned, swept.seeds, journal, swept.dropped)
            if kept is not None:
                kept.publish(out)
    return swept


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
    """The results of an experiment, in a folder or at an address: a row for each run. Raises SoftnetError."""
    from softnet.simulate.result import _pandas
    from softnet.sweep.reading import read_table

    _pandas()
    with here(folder) as place:
        frame: pd.DataFrame = read_table(place).to_pandas()
    return frame
