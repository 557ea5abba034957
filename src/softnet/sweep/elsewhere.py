# SPDX-License-Identifier: GPL-2.0-or-later
"""The runs of an experiment on a cluster (softnet.cluster): pieces are an arm with some of its seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from softnet.cluster.client import Cluster
from softnet.cluster.wanted import Wanted

if TYPE_CHECKING:
    from softnet.errors import SoftnetError
    from softnet.sweep.plan import SweepArm
    from softnet.sweep.shipped import Packer, Runs
    from softnet.sweep.store import Finished

PIECE_MAX: Final = 16
"""Runs of an arm that go to a worker together."""
KEPT: Final = "what is finished is kept: start it again, here or on a cluster, and it goes on"


def _packer(arms: Sequence[SweepArm]) -> Packer:
    from softnet.sweep.shipped import Packer

    packer = Packer()
    for arm in arms:
        packer.add(arm)
    return packer


class ClusterRunner:
    """Runs jobs on a cluster. It is connected, and its workers are looked at, when the block begins."""

    def __init__(self, wanted: Wanted, arms: Sequence[SweepArm], engine: str) -> None:
        self.engine = engine
        self.packer = _packer(arms)
        self.cluster = Cluster(wanted, self.packer.shipment, native=engine != "reference", kept=KEPT)

    def __enter__(self) -> ClusterRunner:
        self.cluster.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.__exit__()

    def run(self, jobs: Sequence[tuple[SweepArm, int]]) -> Iterator[tuple[int, Finished | SoftnetError]]:
        """What came of each job, with its number, in the order in which they end. Raises SoftnetError when the scheduler is gone.

        What a worker had not told when it died is run again by others; a piece that kills several workers is given up.
        """
        new = [self.packer.add(arm) for arm in {job[0].digest: job[0] for job in jobs}.values()]
        if any(new):
            self.cluster.ship()  # a search came to another kernel
        return self.cluster.run(self._pieces(jobs))

    def _pieces(self, jobs: Sequence[tuple[SweepArm, int]]) -> Iterator[tuple[int, Runs]]:
        """The number of the first run of each piece, and the piece."""
        from softnet.sweep.shipped import Runs

        size = max(1, min(PIECE_MAX, len(jobs) // (4 * self.cluster.workers)))
        number = 0
        for _, group in itertools.groupby(jobs, key=lambda job: job[0].number):
            of_arm = list(group)
            for at in range(0, len(of_arm), size):
                part = of_arm[at : at + size]
                arm = part[0][0]
                costs = self.packer.costs(arm.scenario)
                seeds = tuple(seed for _, seed in part)
                yield number, Runs(arm.digest, arm.kernel, costs, arm.scenario, arm.patches, seeds, self.engine)
                number += len(part)
