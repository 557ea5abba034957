# SPDX-License-Identifier: GPL-2.0-or-later
"""Which wakeups go by the other CPU's wake list (TTWU_QUEUE), in which order things happen, and this machine's own kernel."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.linux.support import event_name, loopback_scenario, named, scenario, simulate

from softnet.errors import SoftnetError

WAKER = ["sched_waking", "csd_queue_cpu"]
WOKEN = ["csd_function_entry", "sched_wakeup", "csd_function_exit"]
HLT = {"kernel_table": {"boot_args": ["idle=halt"]}}
BUSY = {"task": [{"kind": "hog", "cpu": 1}], "measure": {"duration_ms": 7}}
SHOWN = {*WAKER, *WOKEN, "sched_wake_idle_without_ipi", "ipi_send_cpu"}


def orders(kernel: str, **more: Any) -> tuple[list[str], list[str]]:
    """Of a wakeup of the application on CPU 1 by CPU 0 in the middle of the run: what each CPU does, up to the switch to it."""
    sender = {"cpu": 0, "to": "sink", "interval_ns": 150_000, "size": 200}
    run, sim = simulate(loopback_scenario(kernel, **{"measure": {"duration_ms": 0.5}, "sender": [sender], **more}))
    (pid,) = [task.pid for task in sim.image.tasks if task.comm == "sink"]
    at = next(i for i, r in enumerate(run.trace.records) if event_name(r) == "sched_waking" and r.a == pid and r.time_ns > 100_000)
    of_cpu: tuple[list[str], list[str]] = ([], [])
    for record in run.trace.records[at:]:
        name = event_name(record)
        if name == "sched_switch" and record.b == pid:
            break
        if name in SHOWN and (name != "sched_wakeup" or record.a == pid):
            of_cpu[record.cpu].append(name)
    return of_cpu


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.3"])
def test_the_woken_cpu_takes_the_task_on_its_queue(kernel):
    """kernel/sched/core.c ttwu_queue_cond(): the CPU idles. It polls, so that it needs no interrupt."""
    waker, woken = orders(kernel)
    assert waker == [*WAKER, "sched_wake_idle_without_ipi"]
    assert woken == WOKEN


@pytest.mark.slow
def test_a_halted_cpu_gets_a_function_call_and_no_reschedule():
    """arch/x86/kernel/smp.c: the vector is CALL_FUNCTION_SINGLE."""
    waker, woken = orders("6.12", **HLT)
    assert (waker, woken) == ([*WAKER, "ipi_send_cpu"], WOKEN)
    counters = simulate(loopback_scenario("6.12", **HLT))[0].result.counters
    assert counters["ipis_call_function"] > 0
    assert counters["ipis_reschedule"] == 0


def test_not_on_preempt_rt():
    """kernel/sched/features.h: TTWU_QUEUE is false."""
    waker, woken = orders("6.12-rt", **HLT)
    assert (waker, woken) == (["sched_waking", "ipi_send_cpu", "sched_wakeup"], [])


@pytest.mark.slow
@pytest.mark.parametrize(("llcs", "listed"), [([], False), ([[0, 1]], False), ([[0], [1]], True), ([[1]], True)])
def test_a_busy_cpu_only_if_it_shares_no_cache(llcs, listed):
    """cpus_share_cache(): else the waker takes the other's queue itself."""
    waker, woken = orders("6.12", machine={"cpus": 2, "llcs": llcs}, **BUSY)
    assert (waker[:2] == WAKER) == listed
    assert ("sched_wakeup" in woken) == listed


@pytest.mark.slow
def test_nodes_share_no_cache():
    """Where the scenario names no caches, a node's CPUs share one."""
    waker, _ = orders("6.12", machine={"cpus": 2, "numa_nodes": 2}, **BUSY)
    assert waker[:2] == WAKER


def test_the_second_wakeup_needs_no_interrupt_of_its_own():
    """__smp_call_single_queue(): only who finds the queue empty sends one."""
    frames = {"kind": "constant", "rate_pps": 1_000_000, "flows": 1, "proto": "udp", "sizes": [[128, 1.0]]}
    tables: dict[str, Any] = {
        "kernel": {"boot_args": ["idle=halt"]},
        "machine": {"cpus": 2},
        "nic": [{"name": "eth0", "irq_cpus": [0], "gro": False, "rx_usecs": 20}],
        "traffic": [{**frames, "dst_ports": [port], "start_ms": 0.1, "stop_ms": 0.103} for port in (9, 10)],
        "application": [{"name": f"reader{port}", "kind": "udp", "cpu": 1, "dst_ports": [port]} for port in (9, 10)],
        "measure": {"duration_ms": 0.3},
    }
    run, _ = simulate(scenario("6.12", **tables))
    queued, woken = named(run, "csd_queue_cpu"), [r for r in named(run, "sched_wakeup") if r.cpu == 1]
    sent, calls = [r for r in named(run, "ipi_send_cpu") if r.a == 1], named(run, "csd_function_entry")
    assert (len(queued), len(woken), len(sent), len(calls)) == (2, 2, 1, 1)


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        ({"cpus": 4, "llcs": [[0, 1], [1, 2]]}, "a CPU with two last-level caches"),
        ({"cpus": 4, "llcs": [[0, 9]]}, "no such CPU"),
        ({"cpus": 4, "llcs": [[]]}, "a cache that no CPU uses"),
        ({"cpus": 4, "llcs": [[0, 3]], "numa_nodes": 2}, "a last-level cache of several NUMA nodes"),
    ],
)
def test_caches_that_no_machine_has(machine, says):
    with pytest.raises(SoftnetError, match=says):
        loopback_scenario("6.12", machine=machine)


def _bench() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "wakelist.py"
    spec = importlib.util.spec_from_file_location("softnet_bench_wakelist", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


IN_GUESTS = (
    "w sched_waking", "w csd_queue_cpu", "w ipi_send_cpu", "r call_function_single_entry", "r csd_function_entry",
    "r sched_wakeup", "r csd_function_exit", "r call_function_single_exit", "r sched_switch",
)  # fmt: skip
"""What ``recorded()`` of bench/wakelist.py saw in guests of Debian's 6.12.117 (149 of 150 wakeups) and 6.18.15 (150 of 150) under
QEMU's emulation, 2026-11-30, their CPU 1 idling by hlt; w: the waker's CPU, r: the reader's."""


@pytest.mark.parametrize("kernel", ["6.12", "6.18"])
def test_the_order_is_that_of_real_kernels(kernel):
    assert set(_bench().modelled(kernel)) == {IN_GUESTS}


@pytest.mark.slow
@pytest.mark.parametrize("idle", [True, False])
def test_this_machines_kernel_does_the_same_in_the_same_order(idle):
    """One of the two orders that this kernel shows most often is the model's, where the reader's CPU idles and where not."""
    bench = _bench()
    if bench.unable():
        pytest.skip(bench.unable())
    seen = Counter(order for was_idle, order in bench.recorded(1500) if was_idle == idle)
    if idle:
        # The CPU that idled when it last switched may have a task by now, which has not come onto it: then there is no wake list.
        seen = Counter({order: count for order, count in seen.items() if "w csd_queue_cpu" in order})
    if sum(seen.values()) < 20:
        pytest.skip(
            f"this machine was too {'busy' if idle else 'idle'}, or has TTWU_QUEUE off: {sum(seen.values())} of 1500 wakeups"
        )
    most = {order for order, _ in seen.most_common(2)}
    assert most & set(bench.modelled("6.18", task=[] if idle else [{"kind": "hog", "cpu": 1}]))
