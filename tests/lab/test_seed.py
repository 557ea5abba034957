# SPDX-License-Identifier: GPL-2.0-or-later
"""The seed, model beside kernel: what the model says of the load that every arm is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from softnet.lab.play.arm import THREADS_ARG, GuestArm
from softnet.lab.play.run import LabResult
from softnet.lab.studies import seed
from softnet.lab.tracing.counts import COUNTERS
from softnet.lab.tracing.records import LabTrace
from softnet.lab.vm.kernels import Kernel
from softnet.lab.vm.qemu import Ran
from softnet.report.lab_seed import beside_table
from softnet.report.table import Paper


def _arm(folder: Path, name: str) -> GuestArm:
    base = folder / name
    base.mkdir()
    (base / "config").write_text("CONFIG_PREEMPT_RT=y\n" if name.endswith("-rt") else "")
    release = "6.1.0-56-amd64" if name.startswith("6.1-") else "6.12.9-amd64"
    boot_args = (THREADS_ARG,) if name.endswith("-threads") else ()
    return GuestArm(name, boot_args=boot_args, image=Kernel(name, release, base / "vmlinuz", None, {}))


@pytest.mark.slow
def test_every_burst_is_kicked_for_by_the_way_that_the_kernel_has(tmp_path: Path) -> None:
    told = {name: seed.model_counters(_arm(tmp_path, name), seed.scenario(500), "default") for name in seed.ARMS}
    for counters in told.values():
        assert counters["delivered"] > 250
        # One kick for each of the five bursts: the list passes half its limit once the card is silent.
        assert counters["kicks"] == 5
    assert told["6.12"]["trigger_rx_softirq"] == told["6.1-rt"]["trigger_rx_softirq"] == 5
    for name in ("6.12-rt", "6.12-threads"):
        assert told[name]["trigger_rx_softirq"] == told[name]["rps_ipis"] == 0
        assert told[name]["backlog_napi_wakeups"] >= 300
    assert told["6.1-rt"]["ksoftirqd_wakeups"] >= 300
    assert told["6.12-rt"]["ksoftirqd_wakeups"] == 0


def _load(name: str, release: str, **totals: int) -> LabResult:
    counts = {counter: {"total": totals.get(counter, 0), "by_cpu": {}} for counter in COUNTERS}
    return LabResult(
        arm=name, release=release, ran=Ran("tcg", "multi", "9"), boot_args=(), trace=LabTrace({"release": release}), counts=counts,
        softnet_stat={}, work={}, refused={}, lost={}, complaints=[], threads_set=[], seconds=0.0,
    )  # fmt: skip


def test_model_and_kernel_stand_side_by_side() -> None:
    names = ("deferred", "kicks", "trigger_rx_softirq", "rps_ipis", "net_rx_raises", "ksoftirqd_wakeups",
             "backlog_napi_wakeups", "process_backlog_polls")  # fmt: skip
    model = dict.fromkeys(names, 0) | {"kicks": 6, "net_rx_raises": 30}
    old = _load("6.1-rt", "6.1.0-56-rt-amd64", works_defer_free=4, net_rx_raises=40, kicks=0)
    new = _load("6.12-rt", "6.12.9-rt-amd64", kicks=6)
    results = [seed.SeedResult(load, load, dict(model)) for load in (old, new)]
    rows = {line.rsplit(maxsplit=6)[0].strip(): line.split()[-6:] for line in beside_table(results, Paper())[1:]}
    # Before v6.10 the kick is inlined: what it sent is counted, on Debian's 6.1-rt work items.
    assert rows["kicks"] == ["4", "6", "1.50", "6", "6", "1.00"]
    assert rows["NET_RX raised"] == ["40", "30", "0.75", "0", "30", "-"]
    assert rows["ksoftirqd wakeups"] == ["0", "0", "1.00", "0", "0", "1.00"]
