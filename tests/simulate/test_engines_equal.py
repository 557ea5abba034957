# SPDX-License-Identifier: GPL-2.0-or-later
"""Both engines leave the same trace, the same result and the same words in memory."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from tests.long import LONG, sample
from tests.simulate.engines import assert_equal, outcome

from softnet.lang.native.compile import Options, available
from softnet.release import releases
from softnet.scenario import Scenario, apply_kernel, load_scenario, scenario_from_dict
from softnet.simulate import native as native_engine
from softnet.trace import EVENT_ID

pytestmark = pytest.mark.skipif(bool(available()), reason="no native engine here")

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.toml"))
QUICK = ("seed.toml",)  # what `make check` has time for
OPTIMISED = ("loopback.toml", "redis.toml")


def shortened(name: str) -> Scenario:
    """An example cut to a few milliseconds around its warm-up, so that the reference engine takes a second at most."""
    scenario = load_scenario(EXAMPLES / name)
    if scenario.event:
        return scenario
    return load_scenario(EXAMPLES / name, ["measure.warmup_ms=2", "measure.duration_ms=8"])


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in NAMES])
def test_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held to the invariants, but for the quick ones: what they find is part of the result, what they remember of memory.

    Most by hasty code: what LLVM's optimiser makes of the same kernels is held to the reference engine without checks
    (test_whole_examples, test_random_equal.py) and with them (OPTIMISED, test_lists_of_two_nodes).
    """
    scenario, checks = shortened(name), name not in QUICK
    if name not in (*QUICK, *OPTIMISED) and not LONG:
        monkeypatch.setattr(native_engine, "Options", functools.partial(Options, optimise=0))
    native = outcome(scenario, "native", checks=checks)
    assert native.records
    assert_equal(native, outcome(scenario, "reference", checks=checks))


@pytest.mark.slow
@pytest.mark.parametrize("name", sample(NAMES, ["flow-limit.toml", "isolated-cpus.toml", "seed.toml", "starved-cpu.toml"]))
def test_whole_examples(name: str) -> None:
    scenario = load_scenario(EXAMPLES / name)
    assert_equal(outcome(scenario, "native"), outcome(scenario, "reference"))


@pytest.mark.slow
def test_run_ahead_changes_nothing() -> None:
    scenario = shortened("rps.toml")
    ahead = outcome(scenario, "native")
    stepwise = outcome(scenario, "native", options=Options(run_ahead=False))
    assert stepwise.records == ahead.records
    assert stepwise.result == ahead.result


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rps.toml", "seed.toml", "loopback.toml"])
def test_the_checked_build_finds_no_overflow_and_no_wild_address(name: str) -> None:
    scenario = shortened(name)
    checked = outcome(scenario, "native", options=Options(checked=True, optimise=0))
    assert checked.stop == ""
    assert_equal(checked, outcome(scenario, "reference"))


@pytest.mark.slow
def test_locks_of_guarded_fields_are_checked_alike() -> None:
    scenario = shortened("seed.toml")
    assert_equal(outcome(scenario, "native", checks=True), outcome(scenario, "reference", checks=True))


NODE_KERNELS = [kernel for release in ("6.18", list(releases())[-1]) for kernel in releases()[release].kernels]


@pytest.mark.slow
@pytest.mark.parametrize("kernel", sample(NODE_KERNELS, NODE_KERNELS[-1:]))
def test_lists_of_two_nodes(kernel: str) -> None:
    """A card on one node, readers on both, TCP and UDP, a limit that the lists reach."""
    tables = {
        "machine": {"cpus": 4, "numa_nodes": 2},
        "kernel": {"sysctl": {"skb_defer_max": 6}},
        "nic": [{"name": "eth0", "irq_cpus": [0], "rps_cpus": [0, 2]}],
        "traffic": [
            {"kind": "poisson", "rate_pps": 200_000, "flows": 8, "proto": proto, "dst_ports": [port], "sizes": [[300, 1.0]]}
            for proto, port in (("tcp", 1), ("udp", 2))
        ],
        "application": [
            {"name": f"{kind}-{cpu}", "kind": kind, "cpu": cpu, "dst_ports": [port]}
            for kind, cpu, port in (("tcp", 1, 1), ("udp", 3, 2))
        ],
        "measure": {"duration_ms": 4},
    }  # fmt: skip
    scenario = scenario_from_dict(apply_kernel(tables, kernel), [], directory=Path())
    native = outcome(scenario, "native", checks=True)
    assert sum(record.event == EVENT_ID["skb_attempt_defer_free"] for record in native.records) > 50
    assert_equal(native, outcome(scenario, "reference", checks=True))
