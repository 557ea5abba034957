# SPDX-License-Identifier: GPL-2.0-or-later
"""Busy polling: who polls, for how long, and what the card's interrupt does meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from tests.linux.support import named, scenario, simulate

from softnet.errors import SoftnetError
from softnet.linux.releases import RELEASES
from softnet.scenario import Scenario
from softnet.simulate.simulation import Run

pytestmark = [pytest.mark.usefixtures("hasty_code"), pytest.mark.slow]

APPLICATION = 1
"""The CPU of the task; the card interrupts CPU 0."""
PREFERS = {"prefer_busy_poll": True, "busy_poll_usecs": 60}
DEFERS = {"napi_defer_hard_irqs": 10, "gro_flush_timeout": 40_000}


def polled(kernel: str, *, sysctl: dict[str, int] | None = None, nic: dict[str, Any] | None = None,
           application: dict[str, Any] | None = None, gap_us: int = 50, **more: Any) -> Scenario:  # fmt: skip
    """A packet each ``gap_us`` for one task."""
    tables: dict[str, Any] = {
        "machine": {"cpus": 2},
        "kernel": {"sysctl": sysctl or {}},
        "nic": [{"name": "eth0", "irq_cpus": [0], "gro": False, **(nic or {})}],
        "traffic": [{"kind": "constant", "rate_pps": 1_000_000 // gap_us, "flows": 1, "proto": "udp", "sizes": [[128, 1.0]]}],
        "application": [{"name": "feed", "kind": "udp", "cpu": APPLICATION, "service_ns": 5000, **(application or {})}],
        "measure": {"duration_ms": 2},
    }
    tables.update(more)
    return scenario(kernel, **tables)


def polls_by(run: Run, cpu: int) -> int:
    """How many packets the polls on that CPU found."""
    return sum(record.b for record in named(run, "napi_poll") if record.cpu == cpu)


def interrupts(run: Run) -> int:
    """How often the card interrupted."""
    return len(named(run, "irq_handler_entry"))


class TestTheSysctl:
    @pytest.mark.parametrize("kernel", ["6.1", "6.6-rt", "6.12", "6.18", "7.3"])
    def test_the_task_takes_every_packet_but_the_first_from_the_card_itself(self, kernel: str) -> None:
        run, _ = simulate(polled(kernel, sysctl={"busy_poll": 60}))
        packets = run.result.counters["delivered"]
        assert packets >= 38
        assert polls_by(run, APPLICATION) >= packets - 2
        assert polls_by(run, 0) <= 2

    def test_without_it_the_softirq_does(self) -> None:
        run, _ = simulate(polled("6.12"))
        assert polls_by(run, APPLICATION) == 0
        assert polls_by(run, 0) >= 38

    def test_it_ends_after_its_time_and_begins_again_with_the_next_packet(self) -> None:
        """20 of C's microseconds are 20.48 us: after each packet so much polling, and one interrupt."""
        run, _ = simulate(polled("6.12", sysctl={"busy_poll": 20}, gap_us=200))
        mine = [record for record in named(run, "napi_poll") if record.cpu == APPLICATION]
        pauses = [b.time_ns - a.time_ns for a, b in itertools.pairwise(mine)]
        assert sum(pause > 100_000 for pause in pauses) == run.result.counters["delivered"] - 1
        assert polls_by(run, 0) == run.result.counters["delivered"]
        long = [b.time_ns - a.time_ns for a, b in zip(named(run, "irq_handler_entry"), mine, strict=False)]
        assert long
        first = mine[0].time_ns
        burst = [record.time_ns - first for record in mine if record.time_ns - first < 100_000]
        assert 19_000 <= burst[-1] <= 22_000

    def test_packets_come_sooner_and_the_cpu_is_never_idle(self) -> None:
        with_it, without = (simulate(polled("6.12", sysctl={"busy_poll": us}))[0].result for us in (60, 0))
        assert with_it.latency["feed"].quantile_ns(1, 2) * 2 < without.latency["feed"].quantile_ns(1, 2)
        assert with_it.cpu_time_ns[APPLICATION]["idle"] * 5 < without.cpu_time_ns[APPLICATION]["idle"]

    def test_before_6_5_preempt_rt_has_none(self) -> None:
        with pytest.raises(SoftnetError, match=r"6\.1-rt has no busy polling"):
            polled("6.1-rt", sysctl={"busy_poll": 60})


class TestOneInstanceAlone:
    def test_an_application_may_ask_for_it(self) -> None:
        run, _ = simulate(polled("6.12", application={"busy_poll_usecs": 60}))
        assert polls_by(run, APPLICATION) >= run.result.counters["delivered"] - 2

    @pytest.mark.parametrize("key", ["busy_poll_usecs", "busy_poll_budget", "prefer_busy_poll"])
    def test_not_before_6_9(self, key: str) -> None:
        with pytest.raises(SoftnetError, match=rf"{key}: this does not exist in 6.6"):
            polled("6.6", application={key: 1 if key != "prefer_busy_poll" else True})

    def test_a_poll_takes_its_budget_at_most(self) -> None:
        burst = [{"kind": "poisson", "rate_pps": 50_000, "train": 16, "flows": 1, "proto": "udp", "sizes": [[128, 1.0]]}]
        asks = {"busy_poll_usecs": 5000, "busy_poll_budget": 3, "prefer_busy_poll": True}
        run, _ = simulate(polled("6.12", nic=DEFERS, application=asks, traffic=burst))
        found = {record.b for record in named(run, "napi_poll") if record.cpu == APPLICATION}
        assert max(found) == 3


class TestTheInterrupt:
    def test_who_prefers_to_poll_keeps_it_off_between_its_polls(self) -> None:
        run, _ = simulate(polled("6.12", nic=DEFERS, application=PREFERS, gap_us=20))
        other, _ = simulate(polled("6.12", application=PREFERS, gap_us=20))
        assert run.result.counters["delivered"] == other.result.counters["delivered"]
        assert interrupts(run) <= 2 < 50 < interrupts(other)

    def test_suspended_it_stays_off_for_longer_than_the_timer_of_gro(self) -> None:
        """The task works for 60 us on each packet, and the timer of GRO is 10 us."""
        short = {"napi_defer_hard_irqs": 1, "gro_flush_timeout": 10_000}
        slow = PREFERS | {"service_ns": 60_000}
        plain, _ = simulate(polled("6.18", nic=short, application=slow, gap_us=70))
        held, _ = simulate(polled("6.18", nic=short | {"irq_suspend_timeout": 1_000_000}, application=slow, gap_us=70))
        assert polls_by(held, 0) <= 2
        assert interrupts(held) <= 2 < 10 < interrupts(plain)

    def test_not_before_6_13(self) -> None:
        with pytest.raises(SoftnetError, match=r"irq_suspend_timeout: this does not exist in 6.12"):
            polled("6.12", nic={"irq_suspend_timeout": 1_000_000})

    def test_nobody_who_waits_in_vain_leaves_it_off(self) -> None:
        """The traffic stops for longer than every timeout: what comes then comes by interrupt."""
        pause = [
            {"kind": "constant", "rate_pps": 50_000, "flows": 1, "proto": "udp", "start_ms": start, "stop_ms": start + 0.2}
            for start in (0.1, 1.5)
        ]
        run, _ = simulate(polled("6.18", nic=DEFERS | {"irq_suspend_timeout": 300_000}, application=PREFERS, traffic=pause))
        assert run.result.counters["delivered"] == 20
        assert {record.time_ns > 1_400_000 for record in named(run, "irq_handler_entry")} == {False, True}


def flushes_by_polling(run: Run) -> int:
    """How many skbs the polling task's CPU took off its defer list."""
    return sum(record.a for record in named(run, "skb_defer_free_flush") if record.cpu == APPLICATION)


@pytest.mark.parametrize(
    ("module", "kernel", "there", "missing"),
    [
        ("busy_poll_defer_flush", "6.9", lambda n: n > 10, lambda n: n == 0),
        ("epoll_busy_poll", "6.9", lambda n: n > 10, lambda n: n == 0),
    ],
)
def test_what_the_modules_of_6_9_change(
    module: str, kernel: str, there: Callable[[int], bool], missing: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader on CPU 0 defers to the CPU of a task that polls, where NET_RX never runs."""
    traffic = [
        {"kind": "constant", "rate_pps": 20_000, "flows": 1, "proto": proto, "dst_ports": [port], "sizes": [[128, 1.0]]}
        for proto, port in (("udp", 9), ("tcp", 80))
    ]
    applications = [
        {"name": "feed", "kind": "udp", "cpu": APPLICATION, "dst_ports": [9], "busy_poll_usecs": 60},
        {"name": "web", "kind": "tcp", "cpu": 0, "dst_ports": [80]},
    ]
    tables: dict[str, Any] = {
        "machine": {"cpus": 2},
        "nic": [{"name": "eth0", "irq_cpus": [0], "gro": False}],
        "traffic": traffic,
        "application": applications,
        "measure": {"duration_ms": 1},
    }
    assert there(flushes_by_polling(simulate(scenario(kernel, **tables))[0]))
    less = tuple(name for name in RELEASES[kernel].patches if name != module)
    monkeypatch.setitem(RELEASES, kernel, RELEASES[kernel]._replace(patches=less))
    assert missing(flushes_by_polling(simulate(scenario(kernel, **tables))[0]))
