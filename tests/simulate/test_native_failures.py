# SPDX-License-Identifier: GPL-2.0-or-later
"""A mistake in a user's function stops a native run with its line; nothing hangs, nothing is written where it should not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from softnet.errors import SoftnetError
from softnet.lang import ir
from softnet.lang.native.compile import available
from softnet.lang.python.stop import KernelStop
from softnet.scenario import Scenario, apply_kernel, scenario_from_dict
from softnet.simulate import native
from softnet.simulate.explain import lowered
from softnet.simulate.simulation import Simulation

pytestmark = pytest.mark.skipif(bool(available()), reason="no native engine here")

PATCH = Path(__file__).parent / "mistakes_patch.py"


def scenario(budget: int, duration_ms: int = 1) -> Scenario:
    raw = {
        "name": "mistakes",
        "machine": {"cpus": 2},
        "kernel": {"sysctl": {"netdev_budget": budget}},
        "nic": [{"name": "eth0", "irq_cpus": [0]}],
        "traffic": [{"kind": "constant", "rate_pps": 100_000, "flows": 1, "proto": "udp", "dst_ports": [53]}],
        "application": [{"name": "dns", "kind": "udp", "cpu": 1, "dst_ports": [53]}],
        "measure": {"duration_ms": duration_ms, "warmup_ms": 0},
    }
    return scenario_from_dict(apply_kernel(raw, "6.12"))


def line_of(text: str) -> int:
    lines = PATCH.read_text().splitlines()
    found = [number for number, line in enumerate(lines, 1) if text in line]
    assert len(found) == 1
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("budget", "text", "function", "message"),
    [
        (1001, "BUG_ON(skb.len > 0)", "ip_local_deliver", "BUG_ON: the condition holds"),
        (1002, "table(softnet_data, which)", "ip_local_deliver", "index 1002 is outside 0..1"),
        (1003, "skb.mine.value", "ip_local_deliver", "mistakes.value of a NULL reference"),
        (1004, "while n >= 0", "count_up", "a loop turned 4194304 times without letting time pass"),
        (1005, "big * (which - 1000)", "ip_local_deliver", "the result of '*' does not fit in 64 bits"),
        (1006, "def descend", "descend", "recursion too deep: the context's stack is full"),
        (1007, "big // (which - 1007)", "ip_local_deliver", "'//' by zero"),
        (1008, "return 1 << which", "ip_local_deliver", "'<<' by 1008: a shift count is from 0 to 62"),
        (1009, "skb.mine.next = None", "ip_local_deliver", "mistakes.next of a NULL reference"),
        (1010, "return big + big", "ip_local_deliver", "the result of '+' does not fit in 64 bits"),
        (1012, "atomic_inc(c.history", "ip_local_deliver", "index 1012 is outside 0..7"),
        (1013, "cmpxchg(c.history", "ip_local_deliver", "index -1 is outside 0..7"),
        (1014, "set_bit(which", "ip_local_deliver", "'<<' by 1014: a shift count is from 0 to 62"),
        (1011, "% (which - 1011)", "ip_local_deliver", "'%' by zero"),
    ],
)
def test_a_mistake_stops_the_run_at_its_line(budget: int, text: str, function: str, message: str) -> None:
    simulation = Simulation(scenario(budget), engine="native", patches=[str(PATCH)])
    with pytest.raises(KernelStop) as caught:
        simulation.finish()
    assert str(caught.value) == f"{PATCH}:{line_of(text)}: in {function}(): {message}"
    with pytest.raises(KernelStop):
        simulation.advance(10**9)


@pytest.mark.slow
def test_null_given_to_a_function_that_never_gets_it_from_the_kernel_stops_there() -> None:
    """The kernel alone tests nothing in skb_unref(), whose callers have all used the packet; with this patch it must."""
    place = kernel_function("skb_unref")
    assert not any(isinstance(i, ir.Offset) and i.checked for b in place.blocks for i in b.body)
    stops = []
    for engine in ("native", "reference"):
        simulation = Simulation(scenario(1015), engine=engine, patches=[str(PATCH)])
        with pytest.raises(KernelStop) as caught:
            simulation.finish()
        stops.append(str(caught.value).replace("sk_buff.", ""))
    first = next(i for b in place.blocks for i in b.body if isinstance(i, ir.Offset))
    assert stops[0] == f"{place.file}:{first.at.line}: in skb_unref(): users of a NULL reference"
    assert stops[1] == stops[0]


def kernel_function(name: str) -> ir.Function:
    return lowered("6.12", [])[0].functions[name]


LATER = pytest.mark.slow
SAME = [
    1001,
    1002,
    1012,
    *(pytest.param(n, marks=LATER) for n in (1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1013, 1014)),
]


@pytest.mark.parametrize("budget", SAME)
def test_the_reference_engine_says_the_same(budget: int) -> None:
    stops = []
    for engine in ("native", "reference"):
        simulation = Simulation(scenario(budget), engine=engine, patches=[str(PATCH)])
        with pytest.raises(KernelStop) as caught:
            simulation.finish()
        stops.append(str(caught.value).replace("mistakes.", ""))
    assert stops[0] == stops[1]


@pytest.mark.slow
def test_a_loop_without_end_stops_in_the_reference_engine_too() -> None:
    simulation = Simulation(scenario(1004), engine="reference", patches=[str(PATCH)])
    with pytest.raises(KernelStop, match=rf"{PATCH}:{line_of('while n >= 0')}: in count_up\(\): a loop turned 4194304 times"):
        simulation.finish()


def test_no_mistake_no_stop() -> None:
    simulation = Simulation(scenario(300), engine="native", patches=[str(PATCH)])
    simulation.finish()


def test_an_interrupt_is_heard_in_the_middle_and_leaves_a_partial_result() -> None:
    simulation = Simulation(scenario(300, duration_ms=100_000), engine="native")
    engine = simulation.engine
    assert isinstance(engine, native.NativeEngine)
    run = engine._run
    slices = 0

    def interrupted(base: int) -> int:
        nonlocal slices
        slices += 1
        code = run(base)
        if slices == 3:
            # What Python's signal handler does to the main thread when it gets control back.
            raise KeyboardInterrupt
        return int(code)

    engine._run = interrupted  # type: ignore[assignment]
    simulation.finish()
    assert simulation.partial
    assert simulation.result().to_dict()


def test_two_machines_run_at_once_in_threads() -> None:
    alone = Simulation(scenario(300), engine="native").finish().result.to_dict()
    results: list[dict[str, object]] = []
    threads = [
        threading.Thread(target=lambda: results.append(Simulation(scenario(300), engine="native").finish().result.to_dict()))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [alone, alone]


def test_the_choice_of_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOFTNET_ENGINE", raising=False)
    assert native.choose_engine("auto") == ("native", "")
    assert native.choose_engine("reference") == ("reference", "")
    monkeypatch.setenv("SOFTNET_ENGINE", "reference")
    assert native.choose_engine("auto") == ("reference", "")
    monkeypatch.setenv("SOFTNET_ENGINE", "fast")
    with pytest.raises(SoftnetError, match="unknown engine"):
        native.choose_engine("auto")


def test_without_llvmlite_the_reference_engine_serves_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOFTNET_ENGINE", raising=False)
    monkeypatch.setattr(native, "available", lambda: "llvmlite is not installed")
    assert native.choose_engine("auto") == (
        "reference",
        "the reference engine serves: llvmlite is not installed",
    )
    with pytest.raises(SoftnetError, match="no native engine"):
        native.choose_engine("native")


def test_an_idle_machine_runs_as_long_as_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sample stops the machine, whose loop turns once: 4,194,304 of them were taken for a loop without end."""
    monkeypatch.setattr(native, "FUEL", 500)
    tables = {"machine": {"cpus": 1}, "measure": {"duration_ms": 5, "series_interval_us": 1}}
    done = Simulation(scenario_from_dict(tables), engine="native").finish()
    assert len(done.result.series["time_ns"]) == 5000
