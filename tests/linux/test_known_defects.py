# SPDX-License-Identifier: GPL-2.0-or-later
"""What real kernels get wrong, the model gets wrong in the same way: docs/kernel.md, behaviour that surprises."""

from __future__ import annotations

import pytest
from tests.linux.support import drain_scenario, named, simulate
from tests.mutation import mutate

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.12-rt"])
def test_lowering_skb_defer_max_strands_what_is_on_the_list(drain, kernel):
    """Seen on 6.1, 6.12 and 6.12-rt in QEMU: 20 skbs deferred, the limit lowered to 16: no kick, they stay."""
    attempts = named(drain(kernel), "skb_attempt_defer_free")
    first_kick = named(drain(kernel), "kick_defer_list_purge")[0].time_ns
    at = next(r.time_ns for r in reversed(attempts) if r.c == 20 and r.time_ns < first_kick)
    what = drain_scenario(kernel, event=[{"at_ms": (at + 1000) / 1e6, "set": "sysctl.skb_defer_max", "value": 16}])
    run, _ = simulate(what)
    assert not named(run, "kick_defer_list_purge")
    assert [r.c for r in named(run, "skb_attempt_defer_free")][-1] == 20
    assert run.result.counters["not_deferred"] > 30


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.12-rt"])
def test_below_the_watermark_nothing_is_freed(kernel):
    """32 skbs on the list of a CPU that receives nothing any more stay there for good."""
    run, _ = simulate(drain_scenario(kernel, packets=32))
    held = named(run, "skb_attempt_defer_free")[-1].c
    flushed = sum(r.a for r in named(run, "skb_defer_free_flush"))
    assert held > 0
    assert flushed + held == run.result.counters["deferred"]


def test_a_call_that_finds_its_cpu_idle_wakes_ksoftirqd_for_nothing():
    """____napi_schedule() from the idle task's flush is outside of any interrupt: raise_softirq_irqoff() wakes ksoftirqd."""
    tables = {
        "machine": {"cpus": 3},
        "nic": [{"name": "eth0", "irq_cpus": [0], "gro": False, "rps_cpus": [2]}],
        "traffic": [{"kind": "constant", "rate_pps": 20_000, "flows": 8, "proto": "udp", "sizes": [[128, 1.0]]}],
        "application": [{"name": "sink", "kind": "udp", "cpu": 1, "service_ns": 300}],
        "measure": {"duration_ms": 3},
    }
    run, _ = simulate(drain_scenario("6.12", **tables))
    assert named(run, "sched_wake_idle_without_ipi")
    assert run.result.counters["ksoftirqd_wakeups"] > 40
    # Awake, it finds nothing: the idle task has run the softirq.
    for wake in named(run, "wakeup_softirqd"):
        polls = [r for r in named(run, "napi_poll") if r.cpu == wake.cpu and r.time_ns > wake.time_ns]
        assert all(r.context == 1 for r in polls)
    assert sum(row["ksoftirqd"] for row in run.result.cpu_time_ns) < sum(row["softirq"] for row in run.result.cpu_time_ns)


def test_the_idle_flush_of_a_kick_is_a_warning_on_rt(drain):
    """do_softirq_post_smp_call_flush(): what the seed's series was written against."""
    assert any("WARN_ON_ONCE" in line for line in drain("6.9-rt").result.warnings)
    assert not drain("6.10-rt").result.warnings
    assert not drain("6.12").result.warnings


def test_an_offline_target_keeps_its_backlog_scheduled(tmp_path):
    """net_rps_send_ipi() skips an offline CPU without a word: SCHED stays set, nobody will ever poll that backlog."""
    gone = mutate(tmp_path, "6.12", "net_rps_send_ipi", "cpu_online(remsd.cpu)", "remsd.cpu != 2")
    tables = {
        "machine": {"cpus": 3},
        "nic": [{"name": "eth0", "irq_cpus": [0], "gro": False, "rps_cpus": [2]}],
        "traffic": [{"kind": "constant", "rate_pps": 100_000, "flows": 8, "proto": "udp", "sizes": [[128, 1.0]]}],
        "application": [{"name": "sink", "kind": "udp", "cpu": 1, "service_ns": 300}],
        "measure": {"duration_ms": 3},
    }
    run, _ = simulate(drain_scenario("6.12", **tables), [gone])
    assert run.result.counters["delivered"] == 0
    assert run.result.conservation.queued["backlog"] > 200
