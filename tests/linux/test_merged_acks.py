# SPDX-License-Identifier: GPL-2.0-or-later
"""What counts as delivered does not depend on who merged what: data is data, an acknowledgement an acknowledgement."""

from __future__ import annotations

import pytest
from tests.linux.support import scenario

from softnet.simulate.simulation import Simulation


@pytest.mark.slow
@pytest.mark.parametrize("service_ns", [0, 20_000])
def test_merging_neither_delivers_acknowledgements_nor_loses_data(service_ns: int) -> None:
    """With GRO on and off, and with a reader so slow that its socket's backlog merges: the same data, the same ACKs."""
    found = set()
    for gro in (True, False):
        what = scenario(
            "6.12",
            machine={"cpus": 2},
            nic=[{"name": "eth0", "irq_cpus": [0], "gro": gro, "ring": 1024}],
            traffic=[
                {
                    "nic": "eth0", "kind": "poisson", "rate_pps": 400_000, "flows": 3, "proto": "tcp", "train": 8,
                    "sizes": [[66, 1], [1514, 1]], "start_ms": 0.1, "stop_ms": 1.1,
                }
            ],
            application=[{"name": "reader", "kind": "tcp", "cpu": 1, "service_ns": service_ns, "rcvbuf": 60_000_000}],
            measure={"duration_ms": 30},
        )  # fmt: skip
        where = Simulation(what, engine="reference", checks=True).finish().result.conservation
        assert where.balance == 0
        assert not sum(where.queued.values())
        assert not sum(where.dropped.values())
        found.add((where.delivered, where.acks))
    assert len(found) == 1
    delivered, acks = found.pop()
    assert delivered
    assert acks
