# SPDX-License-Identifier: GPL-2.0-or-later
"""Every invariant has a mutation of the kernel, in a patch file, that its check and no other one stops, in both engines alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.linux.support import drain_scenario, loopback_scenario, patch_file, scenario
from tests.long import sample
from tests.mutation import mutate

from softnet.release import releases
from softnet.simulate.invariants import KNOWN, STATEMENTS, InvariantError
from softnet.simulate.simulation import Simulation
from softnet.trace import EVENT_ID

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hasty_code")]
"""Many seconds together: make test runs them, make check does not."""

KERNELS = tuple(kernel for release in releases().values() if release.patches or release.rt_patches for kernel in release.kernels)
"""Of every release with a text of its own."""


HALT = {"boot_args": ["idle=halt"]}
"""A CPU that idles by hlt is reached by interrupts only."""


def strict(what, patches=(), engine="auto"):
    return Simulation(what, patches=patches, checks="strict", engine=engine).finish()


def broken(what, *patches):
    """The invariant at which a strictly checked run stops: both engines at the same instant, in the same words."""
    told = []
    for engine in ("native", "reference"):
        with pytest.raises(InvariantError) as caught:
            strict(what, patches, engine)
        told.append(str(caught.value))
    assert told[0] == told[1]
    error = caught.value
    assert "ns on CPU" in error.where
    assert error.found
    number = error.message.split()[1]
    assert error.expected == STATEMENTS[number]
    return number


def rps_scenario(kernel, **more):
    """Packets of CPU 0's card are processed on CPU 1."""
    return scenario(
        kernel,
        machine={"cpus": 2},
        nic=[{"name": "eth0", "irq_cpus": [0], "rps_cpus": [1], "gro": False}],
        traffic=[{"kind": "constant", "rate_pps": 100_000, "flows": 8, "proto": "udp"}],
        application=[{"name": "sink", "kind": "udp", "cpu": 1}],
        measure={"duration_ms": 1},
        **more,
    )


EVERYWHERE = [(kernel, make) for make in (rps_scenario, drain_scenario, loopback_scenario) for kernel in KERNELS]


@pytest.mark.parametrize(("kernel", "make"), sample(EVERYWHERE, EVERYWHERE[: len(KERNELS)] + EVERYWHERE[len(KERNELS) :: 3]))
def test_the_kernel_holds_to_all(kernel, make):
    run = strict(make(kernel), engine="reference")
    assert all(w.startswith(("known finding I13", "WARN_ON_ONCE")) for w in run.result.warnings)


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("kernel", ["6.1", "6.12-rt"])
def test_checks_do_not_change_the_run(kernel, engine):
    """Contended locks are among the records, and their addresses."""
    what = contended_scenario(kernel)
    plain = Simulation(what, engine=engine, trace="full").finish()
    checked = Simulation(what, checks="strict", engine=engine, trace="full").finish()
    assert plain.result.to_dict() == checked.result.to_dict()
    assert plain.trace == checked.trace
    assert EVENT_ID["lock_contended"] in {r.event for r in plain.trace.records}
    untraced = Simulation(what, checks=True, engine=engine, trace="off").finish()
    assert untraced.trace.records == ()
    assert untraced.result.to_dict() == plain.result.to_dict()


def contended_scenario(kernel):
    """Three CPUs that free the skbs of one."""
    fast = [{"name": "reader", "kind": "tcp", "cpus": [1, 2, 3], "service_ns": 0}]
    return drain_scenario(kernel, packets=100, cpus=4, application=fast)


def test_the_native_engine_checks():
    what = drain_scenario("6.12", packets=10)
    sim = Simulation(what, checks=True)
    assert sim.engine_name == "native"
    sim.finish()
    assert sim.image.word("ck_env", 0, "switches") > 20


def test_i1_an_skb_put_back_twice(tmp_path):
    line = "    napi_skb_cache_put(skb)\n"
    patch = mutate(tmp_path, "6.12", "napi_consume_skb", line, 2 * line)
    assert broken(drain_scenario("6.12"), patch) == "I1"


def test_i1_an_skb_that_nobody_frees(tmp_path):
    patch = mutate(tmp_path, "6.12", "napi_consume_skb", "    skb_release_all(skb)\n    napi_skb_cache_put(skb)\n", "")
    assert broken(drain_scenario("6.12", packets=60), patch) == "I1"


def test_i2_an_skb_on_another_cpus_list(tmp_path):
    patch = mutate(
        tmp_path,
        "6.12",
        "skb_attempt_defer_free",
        "per_cpu(softnet_data, cpu)",
        "per_cpu(softnet_data, nr_cpu_ids() - 1)",
    )
    assert broken(drain_scenario("6.12-threads", cpus=3), patch) == "I2"


def test_i3_sched_that_nobody_owns(tmp_path):
    patch = mutate(tmp_path, "6.12", "enqueue_to_backlog", "napi_schedule_rps(sd)", "barrier()")
    assert broken(loopback_scenario("6.12"), patch) == "I3"


def test_i3_sched_that_is_never_given_back(tmp_path):
    patch = mutate(tmp_path, "6.12", "process_backlog_retire_sched", "napi.state &= NAPIF_STATE_THREADED", "barrier()")
    assert broken(loopback_scenario("6.12"), patch) == "I3"


def test_i3_two_owners(tmp_path):
    """The kick schedules whoever has SCHED already."""
    old = "if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):"
    new = "if __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state) or nr_cpu_ids() > 0:"
    at_once = mutate(tmp_path, "6.12", "kick_defer_list_purge", old, new)
    storm = mutate(tmp_path, "6.12", "skb_attempt_defer_free", "sd.defer_count == defer_max >> 1", "sd.defer_count >= 0")
    assert broken(drain_scenario("6.12-threads"), at_once, storm) == "I3"


def test_i4_a_backlog_polled_elsewhere(tmp_path):
    text = '''@kfunc
def napi_schedule_rps(sd: softnet_data) -> None:
    """Poll it here, whoever's it is."""
    ____napi_schedule(this_cpu_ptr(softnet_data), sd.backlog)
'''
    assert broken(rps_scenario("6.9"), patch_file(tmp_path, "here", text)) == "I4"


def test_i5_packets_without_sched(tmp_path):
    old = "if not __test_and_set_bit(NAPI_STATE_SCHED, sd.backlog.state):"
    patch = mutate(tmp_path, "6.12", "enqueue_to_backlog", old, "if nr_cpu_ids() == 0:")
    assert broken(loopback_scenario("6.12"), patch) == "I5"


@pytest.mark.parametrize("kernel", ["6.12", "6.12-rt"])
def test_i6_a_kick_that_never_comes(tmp_path, kernel):
    patch = mutate(tmp_path, "6.12", "skb_attempt_defer_free", "== defer_max >> 1", "== defer_max")
    assert broken(drain_scenario(kernel), patch) == "I6"


def test_i6_a_thread_that_does_not_flush(tmp_path):
    patch = mutate(tmp_path, "6.12", "napi_threaded_poll_loop", "skb_defer_free_flush(sd)", "barrier()")
    assert broken(drain_scenario("6.12-rt"), patch) == "I6"


def test_i7_a_list_without_a_limit(tmp_path):
    patch = mutate(
        tmp_path,
        "6.12",
        "skb_attempt_defer_free",
        "READ_ONCE(sd.defer_count) >= defer_max",
        "nr_cpu_ids() == 0",
    )
    fast = [{"name": "reader", "kind": "tcp", "cpu": 1, "service_ns": 0}]
    assert broken(drain_scenario("6.12", defer_max=1, application=fast), patch) == "I7"


def test_i8_a_flag_that_stays(tmp_path):
    patch = mutate(tmp_path, "6.12", "trigger_rx_softirq", "smp_store_release(sd.defer_ipi_scheduled, 0)", "barrier()")
    assert broken(drain_scenario("6.12"), patch) == "I8"


def test_i9_a_call_queued_twice(tmp_path):
    patches = [
        mutate(
            tmp_path,
            "6.12",
            "smp_call_function_single_async",
            "csd.u_flags & CSD_FLAG_LOCK",
            "nr_cpu_ids() == 0",
        ),
        mutate(
            tmp_path,
            "6.12",
            "kick_defer_list_purge",
            "not cmpxchg(sd.defer_ipi_scheduled, 0, 1)",
            "nr_cpu_ids() > 0",
        ),
        mutate(
            tmp_path,
            "6.12",
            "skb_attempt_defer_free",
            "sd.defer_count == defer_max >> 1",
            "sd.defer_count >= 0",
        ),
    ]
    fast = [{"name": "reader", "kind": "tcp", "cpus": [1, 2, 3], "service_ns": 0}]
    assert broken(drain_scenario("6.12", cpus=4, application=fast, kernel_table=HALT), *patches) == "I9"


def test_i10_a_count_that_stays(tmp_path):
    patch = mutate(tmp_path, "6.12", "skb_defer_free_flush", "sd.defer_count = 0", "sd.defer_count = count")
    assert broken(drain_scenario("6.12"), patch) == "I10"


FLUSH = """
napi.state &= NAPIF_STATE_THREADED
skb_defer_free_flush(container_of(napi, softnet_data, "backlog"))
"""
LOOK = """
spin_lock(sd.defer_lock)
spin_unlock(sd.defer_lock)
__raise_softirq_irqoff(NET_RX_SOFTIRQ)
"""


def look_in_the_interrupt(folder, kernel):
    """The defer list's interrupt looks at the list itself instead of leaving that to NET_RX."""
    return mutate(folder, kernel, "trigger_rx_softirq", "__raise_softirq_irqoff(NET_RX_SOFTIRQ)", LOOK)


def test_i11_two_orders(tmp_path):
    inside = "    if kick:\n        kick_defer_list_purge(sd, cpu)\n"
    unlock = "    spin_unlock_bh(sd.defer_lock)\n"
    patch = mutate(tmp_path, "6.12", "skb_attempt_defer_free", f"{unlock}\n{inside}", inside + unlock)
    flush = mutate(tmp_path, "6.12-threads", "process_backlog_retire_sched", "napi.state &= NAPIF_STATE_THREADED", FLUSH)
    assert broken(drain_scenario("6.12-threads"), patch, flush) == "I11"


def test_i11_a_sleeping_lock_in_a_hard_interrupt(tmp_path):
    flush = look_in_the_interrupt(tmp_path, "6.9-rt")
    assert broken(drain_scenario("6.9-rt"), flush) == "I11"


def test_i11_a_lock_of_interrupts_taken_with_interrupts_on(tmp_path):
    """defer_lock is taken with bottom halves off only since 6.4: no hard interrupt may want it."""
    flush = look_in_the_interrupt(tmp_path, "6.9")
    assert broken(drain_scenario("6.9", kernel_table=HALT), flush) == "I11"
    assert strict(drain_scenario("6.1", kernel_table=HALT), [flush]).result.warnings == []


def test_i12_a_packet_lost_on_the_way(tmp_path):
    patch = mutate(
        tmp_path,
        "6.12",
        "enqueue_to_backlog",
        "__skb_queue_tail(sd.input_pkt_queue, skb)",
        "__kfree_skb(skb)",
    )
    assert broken(loopback_scenario("6.12"), patch) == "I12"


def test_i13_a_kick_by_ipi_on_rt(tmp_path):
    patch = mutate(tmp_path, "6.12", "kick_defer_list_purge", "if use_backlog_threads():", "if nr_cpu_ids() == 0:")
    assert broken(drain_scenario("6.12-rt"), patch) == "I13"


@pytest.mark.parametrize("kernel", ["6.9-rt"])
def test_i13_is_a_known_finding_before_the_threads(kernel):
    warnings = strict(drain_scenario(kernel)).result.warnings
    found = [w for w in warnings if w.startswith("known finding I13")]
    assert len(found) == 1
    assert KNOWN["I13"] in found[0]
    assert "times, first at" in found[0]


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.12-rt"])
def test_c4_is_a_known_finding(kernel):
    """20 skbs wait below the watermark of 32; with skb_defer_max 16 they are above it, and stay."""
    what = drain_scenario(
        kernel,
        packets=20,
        event=[{"at_ms": 0.5, "set": "sysctl.skb_defer_max", "value": 16}],
        measure={"duration_ms": 2},
    )
    run = strict(what)
    assert run.result.series["defer_count/0"][-1] > 8
    assert [w for w in run.result.warnings if w.startswith("known finding C4 (I6)")]


def test_a_violation_is_a_warning_when_not_strict(tmp_path):
    patch = mutate(tmp_path, "6.12", "skb_attempt_defer_free", "== defer_max >> 1", "== defer_max")
    run = Simulation(drain_scenario("6.12"), patches=[patch], checks=True).finish()
    assert [w for w in run.result.warnings if w.startswith(f"invariant I6 does not hold ({STATEMENTS['I6']}); once at ")]


def coalescing_scenario(kernel, budget):
    """Every deferred skb kicks; a sender on its CPU keeps the backlog there with the softirq now and then."""
    return drain_scenario(
        kernel,
        cpus=3,
        defer_max=1,
        kernel_table={"sysctl": {"skb_defer_max": 1, "netdev_budget": budget}},
        application=[
            {"name": "reader", "kind": "tcp", "cpu": 1, "service_ns": 15_000},
            {"name": "sink", "kind": "udp", "cpu": 2, "dst_ports": [9]},
        ],
        sender=[{"cpu": 0, "to": "sink", "interval_ns": gap} for gap in (217_000, 233_100)],
    )


@pytest.mark.parametrize("kernel", ["6.10-rt", "6.12-rt", "6.12-threads"])
def test_c1_is_a_known_finding(kernel):
    """A kick meets SCHED that the softirq holds; its run ends on the budget, so the flush at the loop's head never comes."""
    found = strict(coalescing_scenario(kernel, budget=1)).result.warnings
    assert [w for w in found if w.startswith("known finding C1 (I6)")]
    assert strict(coalescing_scenario(kernel, budget=300)).result.warnings == []


def test_c1_is_not_there_with_the_ipi():
    assert strict(coalescing_scenario("6.12", budget=1)).result.warnings == []


def test_c5_is_a_known_finding():
    """CPU 1 goes offline after it was scheduled and before its RPS IPI is sent."""
    what = rps_scenario("6.12")
    first = Simulation(what, engine="reference", trace="full").finish().trace.records
    event = EVENT_ID["napi_schedule_rps"]
    at = next(r.time_ns for r in first if r.event == event and r.a == 1)
    sim = Simulation(what, checks="strict", trace="full")
    sim.advance(at + 1)
    sim.image.ref("cpu_hw", 1).online = 0
    run = sim.finish()
    assert not [r for r in run.trace.records if r.event == EVENT_ID["net_rps_send_ipi"]]
    assert [w for w in run.result.warnings if w.startswith("known finding C5 (I3)")]


def test_the_document_says_what_the_checks_say():
    text = (Path(__file__).parents[2] / "docs" / "invariants.md").read_text()
    for name, statement in STATEMENTS.items():
        assert f"| {name} | {statement} |" in text
    for name, finding in KNOWN.items():
        assert f"- **{name}**: {finding}." in text


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.12-rt", "6.12-threads"])
def test_a_cpu_that_goes_and_comes_back(kernel):
    """dev_cpu_dead() moves the packets of an RPS target, and nothing of it breaks an invariant."""
    run = strict(
        scenario(
            kernel,
            machine={"cpus": 3},
            nic=[{"name": "eth0", "irq_cpus": [0], "rps_cpus": [1, 2]}],
            traffic=[{"kind": "poisson", "rate_pps": 150_000, "flows": 40, "proto": "tcp"}],
            application=[{"name": "server", "kind": "tcp", "cpu": 1}],
            event=[{"at_ms": at, "set": "cpu.2.online", "value": value} for at, value in ((1, 0), (2, 1))],
            measure={"duration_ms": 3},
        )
    )
    assert run.result.counters["delivered"] > 300
    assert run.result.conservation.balance == 0
    assert run.result.warnings == []
