# SPDX-License-Identifier: GPL-2.0-or-later
"""What a Dask cluster calls in its workers: the plugin that brings what work needs, also to workers that come later, and the task.

Imported only where there is a cluster: it needs Dask.
"""

from __future__ import annotations

import pickle
from typing import Any, Final

from distributed import WorkerPlugin, get_worker

from softnet.cluster.shipped import Piece, Shipment, drop, made, take, wanted_no_more

UNDER_WAY: Final = ("executing", "long-running", "resumed")
"""The states of a task that somebody still wants: a client that is gone, however it went, has its tasks cancelled."""


class Bring(WorkerPlugin):  # type: ignore[misc]
    """Brings a shipment to each worker."""

    def __init__(self, shipment: Shipment) -> None:
        self.shipment = shipment
        self.name = f"softnet-{shipment.token}"

    def setup(self, worker: Any) -> None:
        """A worker is there. Raises SoftnetError where it cannot take it."""
        take(self.shipment)

    def teardown(self, worker: Any) -> None:
        """The client is done."""
        drop(self.shipment.token)


def work(token: str, first: int, piece: Piece) -> list[Any]:
    """The task: make the results of a piece, the first of which has this number; tell of each when it is there, and of the end."""
    worker = get_worker()
    key = worker.get_current_task()

    def tell(number: int, found: Any) -> None:
        worker.log_event(f"softnet-{token}", (first + number, pickle.dumps(found), -1))

    def stopped() -> bool:
        task = worker.state.tasks.get(key)
        return wanted_no_more(token) or task is None or task.state not in UNDER_WAY

    found = made(token, piece, tell, stopped)
    worker.log_event(f"softnet-{token}", (first, None, len(found)))
    return found
