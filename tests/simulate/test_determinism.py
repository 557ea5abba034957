# SPDX-License-Identifier: GPL-2.0-or-later
"""The same scenario and seed give the same bytes: in another process, under another hash seed, without running ahead."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.linux.support import scenario

from softnet.simulate.api import compare, run
from softnet.simulate.simulation import Simulation

pytestmark = pytest.mark.slow
"""Many seconds together: make test runs them, make check does not."""

KERNELS = ("6.1-rt", "6.12-threads", "6.12-rt")


def busy(kernel, seed=3):
    """Cards, RPS, RFS, a sender, cyclictest and a hog on three CPUs."""
    return scenario(
        kernel,
        machine={"cpus": 3},
        kernel={"sysctl": {"rps_sock_flow_entries": 64, "skb_defer_max": 8}},
        nic=[{"name": "eth0", "queues": 2, "irq_cpus": [0, 1], "rps_cpus": [1, 2], "rps_flow_cnt": 16, "rx_usecs": 20}],
        traffic=[
            {"kind": "poisson", "rate_pps": 150_000, "flows": 12, "proto": "tcp", "train": 4},
            {"kind": "onoff", "rate_pps": 200_000, "flows": 5, "proto": "udp", "on_us": 300, "off_us": 300},
        ],
        application=[
            {"name": "web", "kind": "tcp", "cpu": 2, "service_ns": 900},
            {"name": "dns", "kind": "udp", "cpu": 1, "sched": "fifo:10", "service_ns": 300},
        ],
        sender=[{"name": "self", "cpu": 0, "to": "dns", "interval_ns": 40_000}],
        task=[
            {"kind": "cyclictest", "cpu": 0, "interval_us": 100, "sched": "fifo:80"},
            {"kind": "hog", "cpu": 1, "sched": "other"},
        ],
        event=[{"at_ms": 0.7, "set": "sysctl.skb_defer_max", "value": 5}],
        measure={"duration_ms": 1, "warmup_ms": 0.2, "series_interval_us": 100, "seed": seed},
    )


def digest(done) -> str:
    """One number for all of a run's JSON and trace."""
    text = json.dumps([done.result.to_dict(), [list(r) for r in done.trace.records], done.trace.tasks])
    return hashlib.sha256(text.encode()).hexdigest()


def digests(engine: str) -> list[str]:
    """Of each kernel's run; what the other process prints. The native engine compiles, so one kernel does."""
    kernels = KERNELS if engine == "reference" else KERNELS[-1:]
    return [digest(run(busy(kernel), trace="full", engine=engine)) for kernel in kernels]


@pytest.mark.parametrize("engine", ["reference", "native"])
def test_two_processes_and_two_hash_seeds(engine):
    here = Path(__file__)
    program = f"from simulate.test_determinism import digests; print(*digests({engine!r}), sep='\\n')"
    seen = []
    for hash_seed in ("1", "2"):
        path = os.pathsep.join([str(here.parents[1]), *sys.path])
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        seen.append(done.stdout.split())
    assert all(len(line) == 64 for line in seen[0])
    assert seen[0] == seen[1]
    assert seen[0][-1] == digest(run(busy(KERNELS[-1]), trace="full", engine=engine))


def test_another_seed_is_another_run():
    one, other = (run(busy("6.12", seed), trace="full") for seed in (3, 4))
    assert one.trace != other.trace


@pytest.mark.parametrize("kernel", KERNELS)
def test_running_ahead_changes_nothing(kernel):
    ahead = Simulation(busy(kernel), trace="full", engine="reference")
    stepped = Simulation(busy(kernel), trace="full", engine="reference", run_ahead=False)
    assert digest(ahead.finish()) == digest(stepped.finish())
    switches = [sim.image.memory[sim.image.engine_word("switches")] for sim in (ahead, stepped)]
    assert switches[1] > 1.5 * switches[0]


def test_the_number_of_processes_changes_nothing():
    arms = ["6.9-rt", "6.10-rt"]
    one, two = (compare(busy("6.12"), arms, seeds=[1, 2], trace="decisions", engine="reference", processes=n) for n in (1, 2))
    for label in one.comparison.results:
        pairs = zip(one.comparison.results[label], two.comparison.results[label], strict=True)
        assert all(json.dumps(a.to_dict()) == json.dumps(b.to_dict()) for a, b in pairs)
    assert one.traces == two.traces


@pytest.mark.parametrize("kernel", KERNELS)
def test_records_stand_in_the_order_of_time(kernel):
    for engine in ("reference", "native"):
        records = run(busy(kernel), trace="full", engine=engine).trace.records
        assert len(records) > 1000
        assert all(a.time_ns <= b.time_ns for a, b in itertools.pairwise(records))
