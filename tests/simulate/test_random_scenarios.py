# SPDX-License-Identifier: GPL-2.0-or-later
"""Random machines, kernels, cards, traffic and tasks: nothing is lost, and every invariant holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.linux.support import drain_scenario, named, simulate
from tests.scenario.strategies import scenario_dicts

from softnet.release import releases
from softnet.scenario import scenario_from_dict
from softnet.simulate.simulation import Run, Simulation

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hasty_code")]
"""Many seconds together: make test runs them, make check does not."""

EXAMPLES = settings.default.max_examples if settings.default is not None else 100
DURATION_MS = 2

LOCK_KERNELS = tuple(
    kernel for release in releases().values() if release.patches or release.rt_patches for kernel in release.kernels
)


@st.composite
def stressed(draw: st.DrawFn) -> dict[str, Any]:
    """A random scenario turned towards the defer lists: CPUs that only free what others allocated, small watermarks."""
    raw = draw(scenario_dicts(duration_ms=DURATION_MS))
    cpus = raw["machine"]["cpus"]
    sysctl = raw["kernel"]["sysctl"]
    if draw(st.booleans()):
        sysctl["skb_defer_max"] = draw(st.integers(1, 20))
        raw["event"] = [{**event, "value": event["value"] % 24} for event in raw["event"]]
    if draw(st.booleans()):
        sysctl["netdev_budget"] = draw(st.integers(1, 20))
    if raw["kernel"]["flavour"] == "plain" and draw(st.booleans()):
        raw["kernel"]["preempt"] = draw(st.sampled_from(["none", "voluntary", "full", "lazy"]))
    if draw(st.booleans()):
        raw["kernel"]["boot_args"] = [*raw["kernel"]["boot_args"], "idle=halt"]
    for nic in raw["nic"]:
        nic["irq_cpus"] = [draw(st.integers(0, max(cpus // 2, 1) - 1)) for _ in range(nic["queues"])]
        nic["ring"] = draw(st.sampled_from([1, 2, 64, 256]))
    for app in raw["application"]:
        app["cpu"] = draw(st.integers(cpus // 2, cpus - 1))
    return raw


def check(run: Run) -> None:
    """Nothing is lost; and what the checks may say is a known finding, or a WARN that the kernel has as well."""
    assert run.result.conservation.balance == 0
    for warning in run.result.warnings:
        assert warning.startswith(("known finding", "WARN_ON_ONCE")), warning


@settings(max_examples=max(EXAMPLES * 3 // 10, 30))
@given(scenario_dicts(duration_ms=DURATION_MS))
def test_random_scenarios(raw):
    check(Simulation(scenario_from_dict(raw, directory=Path()), checks="strict").finish())


@settings(max_examples=max(EXAMPLES * 3 // 10, 30))
@given(stressed())
def test_random_scenarios_that_defer(raw):
    check(Simulation(scenario_from_dict(raw, directory=Path()), checks="strict").finish())


@settings(max_examples=max(EXAMPLES // 10, 10))
@given(
    st.sampled_from(LOCK_KERNELS),
    st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 128])),
    st.integers(0, 2_000),
)
def test_the_kick_comes_at_half_and_one_more(kernel, defer_max, service_ns):
    """The (skb_defer_max // 2 + 1)-th skb kicks, for 64 the 33rd; none before does, and none after it until a flush."""
    application = [{"name": "reader", "kind": "tcp", "cpu": 1, "service_ns": 10_000 + service_ns}]
    run, _ = simulate(drain_scenario(kernel, packets=2 * defer_max + 10, defer_max=defer_max, application=application))
    lengths: list[int] = []
    kicked = []
    for record in named(run, "skb_attempt_defer_free", "kick_defer_list_purge", "kick_coalesced"):
        if record.c:
            lengths.append(record.c)
        else:
            kicked.append((len(lengths) - 1, lengths[-1]))
    at = defer_max // 2 + 1
    assert kicked == [(i, length) for i, length in enumerate(lengths) if length == at]
    assert kicked
    assert max(lengths) <= defer_max
