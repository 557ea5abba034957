# SPDX-License-Identifier: GPL-2.0-or-later
"""A setting that changes while the traffic runs is written on CPU 0, and takes no time."""

from __future__ import annotations

import pytest
from tests.linux.support import drain_scenario

from softnet.image import readout
from softnet.image.changes import apply_change
from softnet.machine.cache import LINE_WRITER_SHIFT
from softnet.scenario import Change
from softnet.simulate.simulation import Simulation

pytestmark = pytest.mark.slow
"""Seconds of the reference engine: make test runs them, make check does not."""


@pytest.mark.parametrize("until_ns", [120_000, 124_700, 164_500, 204_000])
def test_the_writer_is_cpu_0_whoever_was_dispatched_last(until_ns):
    sim = Simulation(drain_scenario("6.12", packets=60, cpus=3), engine="reference")
    image, memory = sim.image, sim.image.memory
    sim.advance(until_ns)
    address = readout.address(image, "net_hotdata", 0, "sysctl_skb_defer_max")
    words = [image.engine_word(n) for n in ("now", "cpu", "lim", "running", "line_transfers", "line_only")]
    words += [readout.address(image, "cpu_hw", cpu, "line_transfers") for cpu in range(3)]
    before = [memory[w] for w in words]
    apply_change(image, sim.scenario, Change(until_ns, "sysctl", 0, "skb_defer_max", 16))
    assert memory[address] == 16
    assert memory[image.regions.directory + (address >> 4)] >> LINE_WRITER_SHIFT == 1
    assert [memory[w] for w in words] == before


def test_the_cpus_that_are_dispatched_last_differ():
    """Else the test above would show nothing."""
    sim = Simulation(drain_scenario("6.12", packets=60, cpus=3), engine="reference")
    seen = set()
    for until_ns in (120_000, 124_700, 164_500, 204_000):
        sim.advance(until_ns)
        seen.add(sim.image.memory[sim.image.engine_word("cpu")])
    assert len(seen) > 1
