# SPDX-License-Identifier: GPL-2.0-or-later
"""The scenario's traffic as an engine takes it: rows of words in time order, in the columns of softnet.machine.nic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from softnet.machine import nic
from softnet.scenario.traffic import arrivals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from softnet.scenario import Scenario
    from softnet.simulate.reference import ArrivalRows

COLUMNS: Final = {
    nic.ARRIVAL_TIME: "time_ns",
    nic.ARRIVAL_QUEUE: "nic_queue",
    nic.ARRIVAL_HASH: "hash",
    nic.ARRIVAL_HASH_TYPE: "hash_type",
    nic.ARRIVAL_FLOW_HASH: "flow_hash",
    nic.ARRIVAL_LEN: "len_bytes",
    nic.ARRIVAL_SOCK: "sock",
    nic.ARRIVAL_PROTO: "proto",
    nic.ARRIVAL_FLOW: "flow",
    nic.ARRIVAL_FLAGS: "flags",
    nic.ARRIVAL_SEQ_OK: "seq_ok",
    nic.ARRIVAL_PAYLOAD: "payload_bytes",
}
"""Column of a row -> the field of a chunk of arrivals; behind them stands ARRIVAL_NUMBER, the packet's number from 1."""


def arrival_blocks(scenario: Scenario) -> Iterator[NDArray[np.int64]]:
    """Chunks of arrivals, for the native engine."""
    import numpy as np

    number = 1
    for chunk in arrivals(scenario, scenario.measure.seed):
        count = len(chunk.time_ns)
        columns = [getattr(chunk, COLUMNS[column]) for column in range(nic.ARRIVAL_NUMBER)]
        columns.append(np.arange(number, number + count))
        number += count
        # Rows of the transposed block: the engine's own copy turns it, and this one does not.
        yield np.array(columns, dtype=np.int64).T


def arrival_rows(scenario: Scenario) -> Iterator[ArrivalRows]:
    """The same as lists of tuples, for the reference engine."""
    for block in arrival_blocks(scenario):
        yield [tuple(row) for row in block.tolist()]
