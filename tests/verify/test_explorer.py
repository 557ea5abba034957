# SPDX-License-Identifier: GPL-2.0-or-later
"""The explorer: what the seed proves, what each mutation breaks, and that reductions change no verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.long import sample
from tests.verify.mutations import EXAMPLES, patch

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.report.columns import render
from softnet.report.verify import verdict_text
from softnet.verify.model import Config, Driver, Event
from softnet.verify.replay.schedule import decode, encode, replay
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.standard import driver_of, from_text, to_text
from softnet.verify.verdict import Verdict, Why

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]

NO_LOCK = EXAMPLES / "no_backlog_lock.py"
SMALL = Limits(states=2_000_000, memory_bytes=512 << 20)
FREE2 = (Driver("free", 1, 2),)
IRQ = Driver("irq", 0)


def explore(kernel: str, drivers: tuple[Driver, ...], mutation: str = "", **more: object) -> Outcome:
    """Search one configuration, with a mutation or an example patch if one is named."""
    patches = (patch(mutation, kernel),) if mutation else ()
    config = replace(Config("test", kernel=kernel, drivers=drivers, patches=patches), **more)  # type: ignore[arg-type]
    return search(config, SMALL)


def found(outcome: Outcome) -> str:
    """The violated property, or the verdict."""
    return outcome.failure.name if outcome.failure is not None else verdict_text(outcome)


@pytest.mark.parametrize("kernel", ["6.1", "6.10", "6.10-threads", "6.12", "6.12-threads", "6.12-rt"])
@pytest.mark.parametrize("rps", [False, True])
def test_shipped_kernels_hold(kernel: str, rps: bool) -> None:
    device = Driver("netif_rx" if kernel.endswith("-rt") else "irq", 0)
    outcome = explore(kernel, (*FREE2, device), rps=rps)
    assert found(outcome) == "holds (exhausted)"
    assert outcome.frontier == 0
    assert outcome.terminals > 0


@pytest.mark.parametrize("kernel", ["6.12", "6.12-threads", "6.12-rt"])
def test_three_cpus_hold(kernel: str) -> None:
    assert found(explore(kernel, (Driver("free", 1), Driver("free", 2)), cpus=3)) == "holds (exhausted)"


@pytest.mark.parametrize(
    ("kernel", "drivers", "mutation", "more", "expected"),
    [
        ("6.12-threads", (*FREE2, IRQ), "no_backlog_lock", {}, "two owners"),
        ("6.10-threads", (*FREE2, IRQ), "no_backlog_lock", {}, "two owners"),
        ("6.12-threads", (*FREE2, IRQ), "no_backlog_lock", {"properties": ("phantom SCHED",)}, "phantom SCHED"),
        ("6.12", FREE2, "kick_at_max", {}, "lost kick"),
        ("6.12", (*FREE2, IRQ), "kick_at_or_above", {}, "holds (exhausted)"),
        ("6.12", (Driver("free", 1, 1),), "kick_before_push", {"defer_max": 1}, "lost kick"),
        ("6.12", (Driver("free", 1, 1), Driver("free", 2, 1)), "kick_before_push", {"cpus": 3}, "lost kick"),
        ("6.12", (Driver("free", 1), Driver("free", 2), IRQ), "plain_ipi_flag", {"cpus": 3, "defer_max": 1}, "data race"),
        ("6.12", (Driver("free", 1, 4), IRQ), "flag_cleared_after_flush", {}, "flag without a call"),
        (
            "6.12-rt",
            (*FREE2, Driver("netif_rx", 0, 2)),
            "should_run_tests_sched",
            {"budget": 1, "dev_weight": 1},
            "linked without SCHED",
        ),
        ("6.12-threads", (*FREE2, Driver("netif_rx", 0)), "no_local_shortcut", {}, "holds (exhausted)"),
        ("6.12-threads", (*FREE2, IRQ), "sched_cleared_unlocked", {}, "queued without SCHED"),
        ("6.12", FREE2, "flush_unlocked", {}, "guard"),
    ],
)
def test_mutations(kernel: str, drivers: tuple[Driver, ...], mutation: str, more: dict[str, object], expected: str) -> None:
    assert found(explore(kernel, drivers, mutation, **more)) == expected


def test_without_the_lock_the_backlog_is_linked_twice() -> None:
    outcome = explore(
        "6.12-threads", (*FREE2, Driver("irq", 0, 2)), "no_backlog_lock", budget=1, dev_weight=1, properties=("conservation",)
    )
    assert outcome.failure is not None
    assert outcome.failure.text == "BUG_ON in __list_add()"
    schedule = replay(outcome.config, outcome.actions)
    assert schedule.failure == outcome.failure


def test_phantom_sched_in_columns() -> None:
    outcome = explore("6.12-threads", (*FREE2, IRQ), "no_backlog_lock", properties=("phantom SCHED",))
    schedule = replay(outcome.config, outcome.actions)
    text = render(schedule, 110)
    assert max(map(len, text.splitlines())) <= 110
    assert "CPU0 backlog.state = SCHED|THREADED" in text
    assert "wakes backlog_napi/0" in text
    assert schedule.ends[0].startswith("CPU0: backlog.state SCHED|THREADED, on no poll list")


@pytest.mark.parametrize("more", [{"budget": 1, "dev_weight": 2}, {"ticks": 1}])
@pytest.mark.parametrize(
    ("kernel", "device"), sample([("6.12-threads", "irq"), ("6.12-rt", "netif_rx")], [("6.12-threads", "irq")])
)
def test_candidate_c1_a_kick_coalesces_onto_the_last_poll(kernel: str, device: str, more: dict[str, object]) -> None:
    # The poll ends net_rx_action() on budget or time with empty lists: no flush follows the kick that saw SCHED.
    drivers = (*FREE2, Driver(device, 0))
    assert found(explore(kernel, drivers, **more)) == "lost kick"
    assert found(explore(kernel, drivers, "flush_after_break", **more)) == "holds (exhausted)"


@pytest.mark.parametrize(("kernel", "device"), [("6.1", "irq"), ("6.1-rt", "netif_rx"), ("6.12", "irq")])
def test_candidate_c1_needs_the_threads(kernel: str, device: str) -> None:
    assert found(explore(kernel, (*FREE2, Driver(device, 0)), ticks=1, properties=("lost kick",))) == "holds (exhausted)"


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.12-threads"])
def test_candidate_c4_a_lowered_limit_kicks_nobody(kernel: str) -> None:
    drivers = (Driver("free", 1, 4),)
    assert found(explore(kernel, drivers, defer_max=8, events=(Event("skb_defer_max", 4),))) == "lost kick"
    assert found(explore(kernel, drivers, defer_max=8)) == "holds (exhausted)"


@pytest.mark.parametrize("kernel", ["6.12", "6.12-threads", "6.12-rt"])
def test_reduction_changes_no_verdict(kernel: str) -> None:
    full = explore(kernel, FREE2, reduce=False)
    reduced = explore(kernel, FREE2)
    assert found(full) == found(reduced) == "holds (exhausted)"
    assert full.terminals == reduced.terminals
    assert full.states > reduced.states


def test_reduction_loses_no_counterexample() -> None:
    drivers = (Driver("free", 1, 1), IRQ)
    for properties in ((), ("phantom SCHED",), ("lost kick",)):
        verdicts = {
            found(explore("6.12-threads", drivers, "no_backlog_lock", defer_max=1, properties=properties, reduce=reduce))
            != ("holds (exhausted)")
            for reduce in (True, False)
        }
        assert len(verdicts) == 1


def test_a_search_is_repeatable() -> None:
    drivers = (*FREE2, Driver("netif_rx", 0))
    assert explore("6.12", drivers) == explore("6.12", drivers)


def test_an_unfinished_search_is_inconclusive() -> None:
    config = Config("test", kernel="6.12", drivers=(*FREE2, IRQ))
    outcome = search(config, Limits(states=1000, memory_bytes=256 << 20))
    assert outcome.verdict == "inconclusive"
    assert outcome.why is Why.SPACE_LIMIT
    stopped = search(replace(config, drivers=(*FREE2, Driver("irq", 0, 3))), SMALL, lambda *figures: False)
    assert (stopped.verdict, stopped.why) == (Verdict.INCONCLUSIVE, Why.TIME_LIMIT)


def test_exit_statuses_and_replay(capsys: pytest.CaptureFixture[str]) -> None:
    # run_cli() catches what click turns into an exit; a status set by sys.exit() passes through it.
    def status(*argv: str) -> int:
        try:
            return run_cli(list(argv))
        except SystemExit as left:
            return int(left.code or 0)

    common = ("verify", "--kernel", "6.12-threads", "--driver", "free:1:2", "--json")
    assert status(*common) == 0
    assert json.loads(capsys.readouterr().out)[0]["verdict"] == "holds (exhausted)"
    patch = str(NO_LOCK)
    assert status(*common, "--driver", "irq:0", "--patch", patch) == 1
    row = json.loads(capsys.readouterr().out)[0]
    assert row["violated"]["property"] == "two owners"
    assert status(*common, "--driver", "irq:0", "--max-states", "100") == 4
    assert status("verify", "--driver", "free:7") == 2
    assert status("replay-schedule", "--patch", patch, f"{row['configuration']}/{row['schedule']}") == 0
    assert "kick_defer_list_purge" in capsys.readouterr().out


def test_texts_of_configurations_and_schedules() -> None:
    config = Config("replay", kernel="6.12-rt", cpus=3, rps=True, drivers=(Driver("rps", 1, 2, 0, 2), Driver("free", 2)))
    assert from_text(to_text(config)) == config
    assert decode(encode([8, 4, 4, 4, 0])) == [8, 4, 4, 4, 0]
    for bad in ("free", "free:1:2:3:4", "steal:1"):
        with pytest.raises(SoftnetError):
            driver_of(bad)
    for text in ("cpus=two,driver=free:1", "cpus=2", "color=red,driver=free:1", "driver=free:2"):
        with pytest.raises(SoftnetError):
            from_text(text)
    with pytest.raises(SoftnetError):
        decode("8.x")
