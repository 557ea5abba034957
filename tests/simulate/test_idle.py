# SPDX-License-Identifier: GPL-2.0-or-later
"""Idle states: both engines agree, longer gaps never mean shallower states, and what switches states off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.linux.support import scenario
from tests.simulate.engines import assert_equal, outcome

from softnet.scenario import Scenario
from softnet.simulate.result import Result
from softnet.simulate.simulation import Simulation

ICE = "icelake-server"
ORDER = ("POLL", "C1", "C1E", "C6")


def gaps(kernel: str, gap_us: float, idle: Any, packets: int = 40, args: tuple[str, ...] = (), **more: Any) -> Scenario:
    """A packet after each gap, from a card on CPU 0 to an application on CPU 1; the first half is warm-up."""
    ms = gap_us * packets / 1000
    tables: dict[str, Any] = {
        "machine": {"cpus": 2, **({"idle": idle} if idle else {})},
        "kernel": {"boot_args": list(args)},
        "nic": [{"name": "eth0", "irq_cpus": [0]}],
        "traffic": [{"kind": "constant", "rate_pps": round(1e6 / gap_us), "proto": "udp", "sizes": [[128, 1]]}],
        "application": [{"name": "app", "kind": "udp", "cpu": 1}],
        "measure": {"duration_ms": ms, "warmup_ms": ms / 2},
    }
    return scenario(kernel, **(tables | more))


def run(what: Scenario) -> Result:
    return Simulation(what, engine="reference").finish().result


def p50(result: Result) -> int:
    return result.latency["app"].summary()["p50_ns"]


def used(result: Result, cpu: int = 1) -> str:
    """The state that the CPU entered most often, the deepest of several."""
    return max(reversed(result.idle), key=lambda name: result.idle[name]["entered"][cpu])


IDLES: dict[str, Any] = {
    "menu": ICE,
    "teo": {"table": "epyc-rome", "governor": "teo"},
    "haltpoll": "haltpoll",
    "limited": {"table": "skylake-server", "governor": "teo", "latency_limit_us": 0, "disable": ["C1E"]},
}


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_code")
@pytest.mark.parametrize("kernel", ["6.1", "6.12-rt", "7.3"])
def test_both_engines_idle_alike(kernel: str) -> None:
    """Gaps by chance, so that polling times out and ticks strike; memory, events and results to the byte."""
    for idle in IDLES.values():
        traffic = [{"kind": "poisson", "rate_pps": 8_000, "proto": "udp", "sizes": [[128, 1]], "stop_ms": 6}]
        hog = [{"kind": "hog", "cpu": 1, "duty": 0.3, "period_us": 700}]
        what = gaps(kernel, 100, idle, traffic=traffic, task=hog, measure={"duration_ms": 12, "warmup_ms": 1})
        assert_equal(outcome(what, "native"), outcome(what, "reference"))


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_code")
def test_both_engines_spin_alike_instead_of_idling() -> None:
    what = gaps("6.12", 100, None, args=("idle=poll",))
    assert_equal(outcome(what, "native"), outcome(what, "reference"))


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_code")
@pytest.mark.parametrize("governor", ["menu", "teo"])
@pytest.mark.parametrize("kernel", ["6.12", "6.18"])
def test_longer_gaps_never_choose_a_shallower_state(kernel: str, governor: str) -> None:
    """Steady traffic; the application's CPU, which leaves its idle loop for each packet."""
    deepest = -1
    for gap_us in (10, 50, 200, 1000, 5000, 50_000):
        what = gaps(kernel, gap_us, {"table": ICE, "governor": governor}, packets=max(120, 30_000 // gap_us))
        found = ORDER.index(used(Simulation(what).finish().result))
        assert found >= deepest, gap_us
        deepest = found
    assert deepest == ORDER.index("C6")


def test_a_deep_state_costs_what_it_takes_to_leave_it() -> None:
    """Card and application wake from C6, 170 us each; without states from nothing in particular."""
    deep, none = run(gaps("6.12", 20_000, ICE)), run(gaps("6.12", 20_000, None))
    assert used(deep) == used(deep, 0) == "C6"
    assert 335_000 < p50(deep) - p50(none) < 345_000
    assert not none.idle
    assert "idle" not in none.to_dict()
    half = [{"name": "C6", "exit_latency_us": 170, "target_residency_us": 600, "wake_us": 85}]
    assert 165_000 < p50(run(gaps("6.12", 20_000, {"states": half}))) - p50(none) < 175_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("idle", "args", "state"),
    [
        ({"table": ICE, "latency_limit_us": 10}, (), "C1E"),
        ({"table": ICE, "latency_limit_us": 0}, (), "POLL"),
        ({"table": ICE, "disable": ["C6"]}, (), "C1E"),
        (ICE, ("cpuidle.off=1",), None),
        (ICE, ("idle=halt",), None),
        (ICE, ("idle=poll",), None),
    ],
)
def test_what_switches_deep_states_off(idle: Any, args: tuple[str, ...], state: str | None) -> None:
    result = run(gaps("6.12", 20_000, idle, args=args))
    assert p50(result) < 20_000
    assert (used(result) if state else None) == state
    assert bool(result.idle) == bool(state)


def test_spinning_is_the_quickest_way_to_wake_and_keeps_the_tick() -> None:
    spin = run(gaps("6.12", 20_000, None, args=("idle=poll",)))
    halt = run(gaps("6.12", 20_000, None, args=("idle=halt",)))
    mwait = run(gaps("6.12", 20_000, None))
    assert p50(spin) < p50(mwait) < p50(halt)
    assert spin.counters["ipis"] == mwait.counters["ipis"] == 0 < halt.counters["ipis"]
    # 400 ms and two CPUs at 250 Hz, besides the card's interrupts.
    assert 190 <= spin.counters["hard_interrupts"] - mwait.counters["hard_interrupts"] <= 210


def test_an_io_port_s_state_takes_an_interrupt_to_leave() -> None:
    """EPYC's C2; its C1 is mwait's."""
    assert run(gaps("6.12", 20_000, "epyc-rome")).counters["ipis"] > 0
    assert run(gaps("6.12", 20_000, {"table": "epyc-rome", "disable": ["C2"]})).counters["ipis"] == 0


def test_a_guest_that_polls_before_it_halts_is_woken_without_an_interrupt_after_short_gaps() -> None:
    assert used(run(gaps("6.12", 40, "haltpoll", packets=100))) == "POLL"
    assert used(run(gaps("6.12", 2000, "haltpoll"))) == "haltpoll_idle"


def test_sending_an_interrupt_may_cost_its_sender(tmp_path: Path) -> None:
    """A row that no shipped table has; the way until the interrupt is there is another."""
    table = tmp_path / "guest.toml"
    row = 'ns = 4000\nprovenance = "measured"\nsource = "an exit to the hypervisor"\n'
    table.write_text(f'base = "default"\n[machine.ipi_send]\n{row}', encoding="utf-8")
    cheap = run(gaps("6.12", 1000, None, args=("idle=halt",)))
    dear = run(gaps("6.12", 1000, None, args=("idle=halt",), machine={"cpus": 2, "costs": str(table)}))
    sent = cheap.counters["ipis"]
    assert sent == dear.counters["ipis"] == 20
    assert abs(p50(dear) - p50(cheap)) < 1000
    busy = [r.duration_ns - r.warmup_ns - r.cpu_time_ns[0]["idle"] for r in (cheap, dear)]
    assert sent * 4000 <= busy[1] - busy[0] < sent * 4100
