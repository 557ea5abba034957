# SPDX-License-Identifier: GPL-2.0-or-later
"""Drivers, events and properties of the explorer: what may happen, what is asked, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.report.verify import verdict_text
from softnet.verify.lock_order import Locks
from softnet.verify.model import Config, Driver, Event, build_model, known_properties
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.standard import check, event_of, from_text, to_text
from softnet.verify.verdict import Verdict

PROPERTIES = str(Path(__file__).parents[2] / "examples" / "properties" / "backlog.py")
SMALL = Limits(states=2_000_000, memory_bytes=512 << 20)
native = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]


def explore(kernel: str, *drivers: Driver, **more: object) -> Outcome:
    """Search one configuration."""
    return search(replace(Config("test", kernel=kernel, drivers=drivers), **more), SMALL)  # type: ignore[arg-type]


def found(outcome: Outcome) -> str:
    """The violated property, or the verdict."""
    return outcome.failure.name if outcome.failure is not None else verdict_text(outcome)


def patch(folder: Path, text: str) -> Config:
    """A configuration with that patch file."""
    file = folder / "change.py"
    file.write_text("from softnet.lang import hwfunc, kfunc\n" + text)
    return Config("test", drivers=(Driver("irq", 0),), patches=(str(file),))


@pytest.mark.parametrize("name", ["llist_add", "kmem_cache_free", "hrtimer_interrupt", "jiffies", "line_read", "current"])
def test_a_patch_of_what_the_explorer_replaces_is_refused(name: str, tmp_path: Path) -> None:
    config = patch(tmp_path, f"\n@hwfunc\ndef {name}() -> int:\n    return 0\n")
    with pytest.raises(SoftnetError, match="your change of it would not be explored") as caught:
        build_model(config)
    assert caught.value.where == f"{tmp_path}/change.py:3"


def test_a_property_takes_a_cpu_or_nothing(tmp_path: Path) -> None:
    text = "from softnet.verify import always\n\n@always('x')\ndef odd(skb: int) -> bool:\n    return True\n"
    with pytest.raises(SoftnetError, match="takes nothing, or the number of a CPU"):
        known_properties(patch(tmp_path, text))
    assert {"two_packets_at_most", "nothing_deferred"} <= {
        p.name for p in known_properties(Config("x", property_files=(PROPERTIES,))).values()
    }


def test_texts_of_events_and_new_drivers() -> None:
    config = Config("replay", kernel="6.12", rps=True, rps_cpus=2, drivers=(Driver("hotplug", 0, 2, 0, 1), Driver("nic", 1, 2)),
                    events=(Event("rps_cpus", 1), Event("skb_defer_max", 4)))  # fmt: skip
    assert from_text(to_text(config)) == config
    for bad in ("color=1", "skb_defer_max", "skb_defer_max=x"):
        with pytest.raises(SoftnetError):
            event_of(bad)
    for odd in (replace(config, rps=False), replace(config, rps_cpus=4), replace(config, drivers=(Driver("hotplug", 1, 1, 0, 1),)),
                replace(config, drivers=(Driver("hotplug", 0, 3, 0, 1),))):  # fmt: skip
        with pytest.raises(SoftnetError):
            check(odd)


def test_a_circle_of_locks_is_found() -> None:
    locks = Locks((10, 20, 30), (0, 1, 2), ("a", "b", "c"))
    none = [-1] * 9
    assert locks.cycle(none) is None
    under = list(none)
    under[0 * 3 + 1], under[1 * 3 + 2] = 5, 6
    assert locks.cycle(under) is None
    under[2 * 3 + 0] = 7
    assert locks.cycle(under) == ("locks are taken in a circle, each under the one before it: a -> b -> c -> a", 7)


class TestSearches:
    """What takes a search."""

    pytestmark = native

    @pytest.mark.parametrize(
        ("kernel", "drivers", "more", "expected"),
        [
            ("6.12", (Driver("nic", 0, 2), Driver("free", 1, 2)), {}, "holds (exhausted)"),
            ("6.12", (Driver("nic", 0, 2),), {"threaded": True, "budget": 1}, "holds (exhausted)"),
            ("6.12-rt", (Driver("nic", 0, 2),), {}, "holds (exhausted)"),
            ("6.12", (Driver("nic", 0, 1),), {"rps": True, "rps_cpus": 2, "events": (Event("rps_cpus", 0),)}, "holds (exhausted)"),
            ("6.12", (Driver("hotplug", 0, 2, 0, 1),), {"resched": False}, "holds (exhausted)"),
            ("6.9-rt", (Driver("free", 1, 2),), {}, "NET_RX from an IPI"),
            ("6.10-rt", (Driver("free", 1, 2),), {}, "holds (exhausted)"),
            ("6.1-rt", (Driver("free", 1, 2),), {}, "holds (exhausted)"),
        ],
    )
    def test_drivers(self, kernel: str, drivers: tuple[Driver, ...], more: dict[str, object], expected: str) -> None:
        assert found(explore(kernel, *drivers, **more)) == expected

    def test_finding_c5_an_rps_ipi_owed_to_an_offline_cpu_leaves_sched_set(self) -> None:
        drivers = (Driver("irq", 0), Driver("hotplug", 0, 1, 0, 1))
        steered: dict[str, object] = {"rps": True, "rps_cpus": 2, "resched": False, "properties": ("phantom SCHED", "lost work")}
        assert found(explore("6.12", *drivers, threadirqs=True, **steered)) == "phantom SCHED"

    def test_finding_an_offline_cpus_defer_list_is_stranded(self) -> None:
        drivers = (Driver("free", 0, 1, 1), Driver("hotplug", 0, 1, 0, 1))
        assert found(explore("6.12", *drivers, resched=False)) == "stranded"

    @pytest.mark.parametrize("kernel", ["6.1", "6.12"])
    def test_finding_a_kick_at_a_cpu_that_went_offline_is_its_last(self, kernel: str) -> None:
        drivers = (Driver("free", 0, 2, 1), Driver("hotplug", 0, 1, 0, 1))
        assert found(explore(kernel, *drivers, resched=False, properties=("flag without a call",))) == "flag without a call"

    def test_a_card_is_delivered_or_steered(self) -> None:
        steered = explore("6.12", Driver("nic", 0, 1), rps=True, rps_cpus=2)
        here = explore("6.12", Driver("nic", 0, 1), rps=True)
        assert (found(steered), found(here)) == ("holds (exhausted)", "holds (exhausted)")
        assert steered.states > here.states

    def test_the_wake_list_may_be_left_out(self) -> None:
        """NO_TTWU_QUEUE: the thread's wakeup is one step of the waker's, where else its CPU takes it from the list."""
        with_list, without = (explore("6.12-threads", Driver("free", 1, 2), ttwu_queue=on) for on in (True, False))
        assert (found(with_list), found(without)) == ("holds (exhausted)", "holds (exhausted)")
        assert with_list.states > without.states

    def test_a_users_properties(self) -> None:
        files = {"property_files": (PROPERTIES,)}
        assert found(explore("6.12", Driver("free", 1, 1), **files)) == "nothing_deferred"
        assert found(explore("6.12", Driver("irq", 0, 3), properties=("two_packets_at_most",), **files)) == "two_packets_at_most"
        assert found(explore("6.12", Driver("irq", 0, 2), properties=("two_packets_at_most",), **files)) == "holds (exhausted)"

    def test_a_patch_that_reads_a_statistic_makes_it_state(self, tmp_path: Path) -> None:
        text = (
            "\n@kfunc\ndef sd_has_rps_ipi_waiting(sd: softnet_data) -> bool:\n"
            "    return bool(sd.processed > 100 and sd.rps_ipi_list is not None)\n"
        )
        config = patch(tmp_path, text)
        assert "softnet_data.processed" in build_model(config).changing
        assert "softnet_data.processed" not in build_model(replace(config, patches=())).changing


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("driver=close:1:1:0", "no card to stop"),
        ("driver=nic:0:1,driver=close:1:1:1", "no card to stop"),
        ("driver=nic:0:1,driver=close:1:3:0", "down and up again"),
    ],
)
def test_a_card_that_is_stopped_is_there(text: str, message: str) -> None:
    with pytest.raises(SoftnetError, match=message):
        from_text(f"kernel=6.12,{text}")


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
@pytest.mark.parametrize(("kernel", "more"), [("6.12", "threaded=1,"), ("6.1-rt", ""), ("7.3", "")])
def test_a_card_that_is_stopped_and_started_loses_no_frame(kernel: str, more: str) -> None:
    config = from_text(f"kernel={kernel},resched=0,{more}driver=nic:0:2,driver=close:1:2:0")
    outcome = search(config, Limits(storage="compact"))
    assert (outcome.verdict, outcome.why) == (Verdict.HOLDS, outcome.why)


@pytest.mark.parametrize(
    ("text", "message"),
    [("driver=busy:1:1:0", "no card to poll"), ("driver=nic:0:1,driver=busy:1:1:1", "no card to poll")],
)
def test_a_card_that_is_polled_is_there(text: str, message: str) -> None:
    with pytest.raises(SoftnetError, match=message):
        from_text(f"kernel=6.12,{text}")


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
@pytest.mark.parametrize(
    "text",
    ["kernel=6.12,resched=0,driver=nic:0:1,driver=busy:1:1:0", "kernel=6.18-rt,cpus=1,resched=0,driver=nic:0:1,driver=busy:0:2:0"],
)
def test_a_card_that_a_task_polls_loses_no_frame_reduced_or_not(text: str) -> None:
    reduced, whole = (search(replace(from_text(text), reduce=reduce), SMALL) for reduce in (True, False))
    assert reduced.verdict is whole.verdict is Verdict.HOLDS
    assert reduced.terminals == whole.terminals
    assert reduced.states < whole.states


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
def test_without_a_timer_a_task_that_prefers_to_poll_leaves_its_card_to_the_interrupt() -> None:
    """C12 needs the timer: napi_defer_hard_irqs of 0."""
    outcome = search(from_text("kernel=6.12,cpus=1,resched=0,prefer_busy_poll=1,driver=nic:0:2,driver=busy:0:1:0"), SMALL)
    assert outcome.verdict is Verdict.HOLDS
