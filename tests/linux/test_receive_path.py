# SPDX-License-Identifier: GPL-2.0-or-later
"""The receive path beyond the defer list: NAPI, budget, backlog, steering, ksoftirqd, sockets, memory."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.linux.support import (
    Run,
    drain_scenario,
    event_name,
    loopback_scenario,
    named,
    scenario,
    simulate,
)
from tests.mutation import mutate

from softnet.lang.python.stop import KernelStop

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hasty_code")]
"""Many seconds together: make test runs them, make check does not."""


def udp_load(kernel: str, rate_pps: int, ms: float = 4, **more: Any) -> Run:
    """Constant UDP on one queue of CPU 0, read on CPU 1."""
    nic = {"name": "eth0", "irq_cpus": [0], **more.pop("nic", {})}
    traffic = {"kind": "constant", "rate_pps": rate_pps, "flows": 16, "proto": "udp", "sizes": [[128, 1.0]], "start_ms": 0.1}
    traffic.update(more.pop("traffic", {}))
    tables = {
        "machine": {"cpus": 3},
        "kernel": more.pop("kernel_table", {}),
        "nic": [nic],
        "traffic": [traffic],
        "application": [{"name": "sink", "kind": "udp", "cpu": 1, "service_ns": 300, "rcvbuf": 4_000_000}],
        "measure": {"duration_ms": ms},
        **more,
    }
    patches = tables.pop("patches", ())
    return simulate(scenario(kernel, **tables), patches)[0]


def softirq_rounds(run: Run) -> list[int]:
    """How many NAPI polls each run of net_rx_action on CPU 0 made, where it did any."""
    out, polls = [], 0
    for record in named(run, "napi_poll", "net_rx_action"):
        if record.cpu == 0:
            if event_name(record) == "napi_poll":
                polls += 1
            else:
                out.append(polls)
                polls = 0
    return out


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_the_budget_ends_a_run_of_net_rx_action(kernel):
    """Four queues at full load, polls of 64: with a budget of 128 a run makes two polls and counts a time_squeeze.

    One queue alone never spends the budget: a NAPI that is not done goes to the repoll list, and the run ends there.
    """
    queues = {"nic": {"ring": 4096, "gro": False, "queues": 4, "irq_cpus": [0, 0, 0, 0]}, "traffic": {"flows": 64}}
    tight = udp_load(kernel, 6_000_000, 0.8, kernel_table={"sysctl": {"netdev_budget": 128}}, **queues)
    assert tight.result.counters["time_squeeze"] > 3
    # The first run begins as the first frames come: its polls are not full, so it may make one more.
    assert max(softirq_rounds(tight)[1:]) == 2
    loose = udp_load(kernel, 6_000_000, 0.8, kernel_table={"sysctl": {"netdev_budget": 3000}}, **queues)
    assert max(softirq_rounds(loose)) == 4
    one = udp_load(kernel, 6_000_000, 0.8, kernel_table={"sysctl": {"netdev_budget": 128}}, nic={"ring": 4096, "gro": False})
    assert max(softirq_rounds(one)) == 1
    assert one.result.counters["time_squeeze"] == 0


def test_a_full_poll_is_repolled_without_a_new_interrupt():
    run = udp_load("6.12", 3_000_000, 1, nic={"ring": 4096, "gro": False})
    polls = [r for r in named(run, "napi_poll") if r.b == r.c]
    assert len(polls) > 5
    assert len(named(run, "nic_irq")) < len(named(run, "napi_poll"))


def test_an_interrupt_during_the_poll_sets_missed(tmp_path):
    """A driver that leaves its interrupt on is interrupted while it polls: MISSED brings one poll more, not a lost packet."""
    no_mask = mutate(tmp_path, "6.12", "softnet_msix_clean_rings", "nic_irq_disable(dev_id.queue)", "barrier()")
    run = udp_load("6.12", 700_000, 2, patches=(no_mask,), nic={"gro": False})
    missed = [r for r in named(run, "napi_complete_done") if r.c == 0]
    assert missed
    assert run.result.conservation.balance == 0
    careless = mutate(tmp_path, "6.12", "napi_schedule_prep", "* NAPIF_STATE_MISSED", "* 0")
    run = udp_load("6.12", 700_000, 2, patches=(no_mask, careless), nic={"gro": False})
    assert not [r for r in named(run, "napi_complete_done") if r.c == 0]


def test_deferred_hard_interrupts_poll_by_timer():
    timer = {"napi_defer_hard_irqs": 2, "gro_flush_timeout": 50_000}
    with_timer, without = udp_load("6.12", 100_000, nic=timer), udp_load("6.12", 100_000)
    assert len(named(with_timer, "nic_irq")) * 5 < len(named(without, "nic_irq"))
    assert with_timer.result.counters["delivered"] > 300


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.12-threads", "6.12-rt"])
def test_the_backlog_drops_what_exceeds_its_limit(kernel):
    """The queue holds netdev_max_backlog + 1 packets: the test is for more, not for as many."""
    limit = {"kernel_table": {"sysctl": {"netdev_max_backlog": 20}}}
    run = udp_load(kernel, 6_000_000, 0.5, nic={"rps_cpus": [2], "gro": False, "ring": 2048}, **limit)
    assert run.result.conservation.dropped.get("CPU_BACKLOG", 0) > 0
    assert max(r.c for r in named(run, "enqueue_to_backlog")) == 21
    assert run.result.conservation.balance == 0


def test_the_flow_limit_drops_the_flow_that_fills_the_queue():
    """From half of the limit on: one flow alone is kept there, many flows fill the queue."""
    table = {"sysctl": {"netdev_max_backlog": 300, "flow_limit_cpu_bitmap": [0]}}
    load = {"kernel_table": table, "nic": {"rps_cpus": [2], "gro": False, "ring": 2048}}
    one, many = (udp_load("6.12", 6_000_000, 0.6, traffic={"flows": n}, **load) for n in (1, 2000))
    assert one.result.conservation.dropped.get("CPU_BACKLOG", 0) > 0
    assert 150 <= max(r.c for r in named(one, "enqueue_to_backlog")) < 300
    assert max(r.c for r in named(many, "enqueue_to_backlog")) == 301


@pytest.mark.parametrize(("kernel", "ipis"), [("6.1", True), ("6.12", True), ("6.12-threads", False), ("6.12-rt", False)])
def test_rps_reaches_the_other_cpu_by_ipi_or_by_thread(kernel, ipis):
    run = udp_load(kernel, 100_000, nic={"rps_cpus": [2], "gro": False})
    assert bool(named(run, "net_rps_send_ipi")) == ipis
    assert bool(named(run, "backlog_napi_wake")) == (not ipis)
    assert {r.cpu for r in named(run, "netif_receive_skb")} == {2}


def test_rfs_follows_the_reader():
    """TCP flows are steered to the CPU where they are read, once the reader has read."""
    tables = {
        "traffic": {"proto": "tcp", "sizes": [[600, 1.0]], "flows": 8},
        "application": [{"name": "sink", "kind": "tcp", "cpu": 1, "service_ns": 300}],
        "nic": {"rps_cpus": [2], "rps_flow_cnt": 512, "gro": False},
        "kernel_table": {"sysctl": {"rps_sock_flow_entries": 1024}},
    }
    run = udp_load("6.12", 100_000, **tables)
    cpus = [r.cpu for r in named(run, "netif_receive_skb")]
    assert 2 in cpus[:10]
    assert set(cpus[-50:]) == {1}


@pytest.mark.parametrize("kernel", ["6.1", "6.9"])
def test_a_runnable_ksoftirqd_has_all_softirqs_until_6_5(kernel):
    """ksoftirqd waits behind a hog, NET_RX is pending, a timer interrupts every 100 us: 6.1 processes nothing at its
    exit; since d15121be7485 (6.5) every interrupt does.
    """
    tasks = [
        {"kind": "hog", "cpu": 0, "nice": -15},
        {"kind": "cyclictest", "cpu": 0, "interval_us": 100, "work_ns": 0},
    ]
    # Not from the start: there ksoftirqd is as new as the hog, and has to run once before it sleeps.
    run = udp_load(kernel, 6_000_000, 7, nic={"ring": 512, "gro": False}, traffic={"start_ms": 1}, task=tasks)
    woken = next(r.time_ns for r in named(run, "wakeup_softirqd") if r.cpu == 0)
    polls = [woken] + [r.time_ns for r in named(run, "napi_poll") if r.cpu == 0 and r.time_ns > woken]
    longest = max(b - a for a, b in itertools.pairwise(polls))
    assert longest > 1_000_000 if kernel == "6.1" else longest < 300_000


def test_threadirqs_hands_softirqs_to_ksoftirqd():
    run = udp_load("6.12", 50_000, kernel_table={"boot_args": ["threadirqs"]})
    plain = udp_load("6.12", 50_000)
    assert run.result.counters["context_switches"] > plain.result.counters["context_switches"]
    assert run.result.counters["delivered"] > 150


def test_a_task_that_owns_the_socket_has_segments_on_its_backlog():
    """Segments that come while the reader holds the socket are queued behind it and lose nothing."""
    run, _ = simulate(
        scenario(
            "6.12",
            machine={"cpus": 2},
            nic=[{"irq_cpus": [0], "gro": False, "ring": 1024}],
            traffic=[{"kind": "constant", "rate_pps": 500_000, "flows": 1, "proto": "tcp", "sizes": [[1514, 1.0]]}],
            application=[{"name": "bulk", "kind": "tcp", "cpu": 1, "service_ns": 100, "rcvbuf": 6_000_000}],
            measure={"duration_ms": 3},
        ),
        [],
    )
    assert run.result.conservation.balance == 0
    assert run.result.counters["delivered"] > 1000


@pytest.mark.parametrize("flavour", ["6.12", "6.12-rt"])
def test_a_full_socket_drops_by_its_reason(flavour):
    slow = {"name": "slow", "kind": "udp", "cpu": 1, "service_ns": 50_000, "rcvbuf": 20_000}
    udp = udp_load(flavour, 200_000, application=[slow])
    assert set(udp.result.conservation.dropped) == {"SOCKET_RCVBUFF"}
    nobody = udp_load(flavour, 50_000, application=[{"name": "other", "kind": "tcp", "cpu": 1}])
    assert set(nobody.result.conservation.dropped) == {"NO_SOCKET"}
    assert nobody.result.counters["delivered"] == 0


def test_gro_merges_segments_of_a_flow_only_in_order():
    tables = {
        "traffic": {"proto": "tcp", "sizes": [[1514, 1.0]], "flows": 1, "train": 64},
        "application": [{"name": "sink", "kind": "tcp", "cpu": 1, "service_ns": 300}],
    }
    on = udp_load("6.12", 1_500_000, 1, **tables)
    off = udp_load("6.12", 1_500_000, 1, nic={"gro": False}, **tables)
    assert len(named(on, "netif_receive_skb")) * 2 < len(named(off, "netif_receive_skb"))
    assert all(r.b <= 65536 for r in named(on, "netif_receive_skb"))


def test_a_double_free_stops_the_run(tmp_path):
    twice = mutate(tmp_path, "6.12", "skb_consume_udp", "__kfree_skb(skb)", "__kfree_skb(skb)\n__kfree_skb(skb)")
    with pytest.raises(KernelStop, match="BUG_ON"):
        simulate(loopback_scenario("6.12"), [twice])


def test_adding_a_napi_twice_stops_the_run(tmp_path):
    """lib/list_debug.c's test: two owners of a NAPI corrupt the poll list, and the run says so."""
    line = "____napi_schedule(this_cpu_ptr(softnet_data), n)"
    both = mutate(tmp_path, "6.12-rt", "__napi_schedule", line, f"{line}\n{line}")
    with pytest.raises(KernelStop):
        simulate(loopback_scenario("6.12-rt"), [both])


@pytest.mark.parametrize("kernel", ["6.1", "6.1-rt", "6.9", "6.10-rt", "6.12", "6.12-threads", "6.12-rt"])
def test_the_same_run_twice_is_the_same(kernel):
    first, second = simulate(drain_scenario(kernel, packets=60))[0], simulate(drain_scenario(kernel, packets=60))[0]
    assert first.trace.records == second.trace.records
