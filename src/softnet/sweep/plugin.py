# SPDX-License-Identifier: GPL-2.0-or-later
"""What a Dask cluster calls in its workers: the plugin that brings what runs need, also to workers that come later, and the task.

Imported only where there is a cluster: it needs Dask.
"""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin, get_worker

from softnet.sweep.shipped import Piece, Shipment, drop, run_piece, take
from softnet.sweep.store import Finished


class Bring(WorkerPlugin):  # type: ignore[misc]
    """Brings a shipment to each worker."""

    def __init__(self, shipment: Shipment) -> None:
        self.shipment = shipment
        self.name = f"softnet-{shipment.token}"

    def setup(self, worker: Any) -> None:
        """A worker is there. Raises SoftnetError where it cannot take it."""
        take(self.shipment)

    def teardown(self, worker: Any) -> None:
        """The experiment is over."""
        drop(self.shipment.token)


def work(first: int, piece: Piece) -> list[Finished]:
    """The task: make the runs of a piece, the first of which has this number, and tell of each when it ends."""
    worker = get_worker()

    def tell(number: int, done: Finished) -> None:
        worker.log_event(f"softnet-{piece.token}", (first + number, done.values, done.failed))

    return run_piece(piece, tell)
