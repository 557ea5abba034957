# SPDX-License-Identifier: GPL-2.0-or-later
"""The seed on real kernels: what commit 80d2eefcb4c8 (v6.10) changed, before and after, measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from softnet.lab.run import LabResult

if TYPE_CHECKING:
    from softnet.scenario import Scenario

ARMS = ("6.1-rt", "6.12-rt", "6.12", "6.12-threads")
_PAIRS = (("6.1-rt", "6.12-rt"), ("6.12", "6.12-threads"))


def scenario(duration_ms: int) -> Scenario:
    """TCP over loopback, sender on CPU 0, receiver on CPU 1, lo's packets steered to CPU 2."""
    from softnet.scenario import Application, Loopback, Machine, Measure, Sender
    from softnet.scenario import Scenario as Made

    return Made(
        name="seed",
        description="TCP over loopback: sent on CPU 0, received on CPU 1, lo's packets steered to CPU 2 (RPS).",
        machine=Machine(cpus=4),
        loopback=Loopback(rps_cpus=(2,)),
        application=(Application(name="receiver", kind="tcp", cpu=1, service_ns=0),),
        sender=(Sender(name="sender", cpu=0, to="receiver", interval_ns=20_000, size=1514),),
        measure=Measure(duration_ms=duration_ms, warmup_ms=min(20, duration_ms // 10)),
    )


def story(results: Sequence[LabResult]) -> list[str]:
    """One line for each pair of before and after."""
    by_arm = {result.arm: result for result in results}
    lines = []
    for before, after in _PAIRS:
        old, new = by_arm[before].counts, by_arm[after].counts
        old_ipis = old["ipis_defer_free"]["total"] + old["ipis_rps"]["total"]
        new_ipis = new["ipis_defer_free"]["total"] + new["ipis_rps"]["total"]
        lines.append(
            f"{before} -> {after}: IPIs that raise NET_RX {old_ipis} -> {new_ipis}, NET_RX raised "
            f"{old['net_rx_raises']['total']} -> {new['net_rx_raises']['total']}, wakeups of ksoftirqd "
            f"{old['ksoftirqd_wakeups']['total']} -> {new['ksoftirqd_wakeups']['total']}, of backlog_napi "
            f"{old['backlog_napi_wakeups']['total']} -> {new['backlog_napi_wakeups']['total']}."
        )
    return lines
