# SPDX-License-Identifier: GPL-2.0-or-later
"""Random scenarios on both engines: random machines, kernels, patches, traffic, and settings and CPUs that change.

200 of them; with SOFTNET_LONG=1 a thousand.

A kernel is compiled once for each combination of release, configuration and patches, so a shard draws its scenarios for
two of them; shards are tests of their own, for workers to share.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from tests.long import LONG, sample
from tests.scenario.strategies import scenario_dicts
from tests.simulate.engines import assert_equal, outcome
from tests.simulate.random_patches import patch_text

from softnet.lang.native.compile import available
from softnet.release import releases
from softnet.scenario import scenario_from_dict
from softnet.simulate import native as native_engine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(available()), reason="no native engine here"),
]

EXAMPLE_PATCHES = Path(__file__).parents[2] / "examples" / "patches"
SHARDS = 20
BUILDS_PER_SHARD = 2
SCENARIOS_PER_SHARD = 50 if LONG else 25
QUICK = (0, 5, 9, 13)
"""The shards of every run: each release in both flavours, with and without patches, and all that are held to the invariants."""
CHECKED = (3, 14, 20, 33)
"""Builds whose runs are held to the invariants: 6.12, 6.10-rt, 6.1-rt and 6.18, the last with a random patch."""
PREEMPT = ("none", "voluntary", "full", "lazy")


@dataclass(frozen=True)
class Build:
    """What is compiled: a kernel, its configuration, and patches on top."""

    kernel: dict[str, Any]
    shipped: tuple[str, ...]
    fuzz: int | None
    """The seed of a random patch."""
    checks: bool
    """Whether its runs are held to the invariants; both engines must find the same."""


def build(number: int) -> Build:
    """The ``number``-th build: every release in both flavours, then the same again otherwise configured and patched."""
    chance = random.Random(number)
    release = ("6.1", "6.18", "6.10", "6.12")[number % 4]
    kernel: dict[str, Any] = {"release": release, "flavour": ("plain", "rt")[number // 4 % 2]}
    kernel["hz"] = chance.choice((100, 250, 1000))
    if kernel["flavour"] == "plain":
        kernel["preempt"] = PREEMPT[(number // 8) % 4] if release == "6.12" else PREEMPT[(number // 8) % 3]
    if number % 5 == 4:
        kernel["config"] = {chance.choice(("RPS", "NET_FLOW_LIMIT")): False}
    shipped = ()
    if release == "6.12" and number // 8 % 2:
        shipped = (chance.choice(("kick_at_max.py", "defer_watermark.py", "flush_after_break.py")),)
    return Build(kernel, shipped, number if number >= 8 and number % 2 else None, number in CHECKED)


@st.composite
def cases(draw: st.DrawFn, shard: int) -> tuple[int, dict[str, Any]]:
    """A build and a scenario for it, of a few hundred packets."""
    number = shard + SHARDS * draw(st.integers(0, BUILDS_PER_SHARD - 1))
    kernel = build(number).kernel
    raw = draw(scenario_dicts(duration_ms=1, live=True))
    wanted = raw["kernel"]
    wanted["boot_args"] = [
        arg for arg in wanted["boot_args"] if arg != "thread_backlog_napi" or releases()[kernel["release"]].has("backlog_threads")
    ]
    wanted["sysctl"]["netdev_max_backlog"] = draw(st.sampled_from([0, 4, 64, 300]))
    wanted["sysctl"].pop("netdev_budget_usecs", None)
    wanted.pop("preempt", None)
    wanted.update(kernel)
    if draw(st.booleans()):
        make_busy(draw, raw)
    if "config" in kernel:
        wanted["sysctl"].pop("flow_limit_cpu_bitmap", None)
        wanted["sysctl"].pop("flow_limit_table_len", None)
    if not kernel.get("config", {}).get("RPS", True):
        without_rps(raw)
    raw["measure"]["series_interval_us"] = 200
    return number, raw


def make_busy(draw: st.DrawFn, raw: dict[str, Any]) -> None:
    """Traffic that reaches an application on another CPU than the card's, with small budgets, lists and rings: kicks and drops."""
    cpus = raw["machine"]["cpus"]
    proto = draw(st.sampled_from(["tcp", "tcp", "udp"]))
    nic = raw["nic"][0]
    nic["irq_cpus"] = [0] * nic["queues"]
    nic["ring"] = draw(st.sampled_from([2, 16, 256]))
    raw["application"] = [
        {
            "name": "busy",
            "kind": proto,
            "cpus": [cpus - 1],
            "service_ns": draw(st.sampled_from([200, 3_000, 20_000])),
        }
    ]
    raw["sender"] = []
    raw["traffic"] = [
        {
            "kind": "poisson", "nic": nic["name"], "rate_pps": draw(st.sampled_from([200_000, 500_000])), "proto": proto,
            "flows": draw(st.integers(1, 8)), "train": draw(st.integers(1, 8)),
        },
        *raw["traffic"][:1],
    ]  # fmt: skip
    raw["kernel"]["sysctl"]["skb_defer_max"] = draw(st.sampled_from([1, 2, 4, 16]))
    raw["kernel"]["sysctl"]["netdev_budget"] = draw(st.sampled_from([2, 8, 300]))


def without_rps(raw: dict[str, Any]) -> None:
    """A kernel without CONFIG_RPS has none of its settings."""
    for nic in raw["nic"]:
        nic.pop("rps_cpus", None)
        nic.pop("rps_flow_cnt", None)
    raw["kernel"]["sysctl"].pop("rps_sock_flow_entries", None)
    raw["event"] = [event for event in raw["event"] if "rps_cpus" not in event["set"]]


@pytest.mark.parametrize("shard", sample(range(SHARDS), QUICK))
def test_random_scenarios(shard: int, tmp_path: Path) -> None:
    """A shard of them: the same records, result, memory and, where the kernel stops, the same stop.

    LLVM optimises the first build of a shard; with SOFTNET_LONG=1 all.
    """

    @seed(shard)
    @settings(max_examples=SCENARIOS_PER_SHARD, database=None, phases=[Phase.generate, Phase.shrink])
    @given(cases(shard))
    def equal(case: tuple[int, dict[str, Any]]) -> None:
        number, raw = case
        made = build(number)
        patches = [str(EXAMPLE_PATCHES / name) for name in made.shipped]
        if made.fuzz is not None:
            file = tmp_path / f"fuzz_{made.fuzz}.py"
            if not file.exists():
                file.write_text(patch_text(made.fuzz))
            patches.append(str(file))
        scenario = scenario_from_dict(raw, directory=Path())
        reference = outcome(scenario, "reference", patches, checks=made.checks)
        with pytest.MonkeyPatch.context() as patch:
            if number >= SHARDS and not LONG:
                patch.setattr(native_engine, "Options", functools.partial(native_engine.Options, optimise=0))
            assert_equal(outcome(scenario, "native", patches, checks=made.checks), reference)

    equal()
