# SPDX-License-Identifier: GPL-2.0-or-later
"""What the model says of an experiment before, or without, the kernel having run it.

An exact experiment is done with the model's own functions in the order that the experiment forces. A scenario is
simulated with the cost table that was fitted to the arm's kernel, at the speed and with the sending times of the guest
(``softnet.lab.studies.replay``). What the host made the guest's CPUs wait for each other is in no table: the errors are published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softnet.lab.studies.replay import Achieved, achieved, replayed
from softnet.lab.validate.driver import Driver
from softnet.lab.validate.softirq import net_rx_begins, net_rx_goes_on

if TYPE_CHECKING:
    from softnet.lab.play.arm import GuestArm
    from softnet.lab.play.run import LabResult
    from softnet.scenario import Scenario

# Figure of a simulation -> the lab's counter of the same thing.
_COUNTERS = {
    "kicks": ("kicks_seen",),
    "rps_ipis": ("ipis_rps",),
    "net_rx_raises": ("net_rx_raises",),
    "ksoftirqd_wakeups": ("ksoftirqd_wakeups",),
    "backlog_napi_wakeups": ("backlog_napi_wakeups",),
    "process_backlog_polls": ("backlog_polls",),
}
_FLOW = 0x5EED


@dataclass(frozen=True, slots=True)
class ExpectedFigures:
    """Figures by name; ``measured`` finds the same one in a result of the lab."""

    figures: dict[str, int | None]
    achieved: Achieved | None = None
    """Of a scenario: at which rate and speed."""

    def measured(self, name: str, result: LabResult) -> int | None:
        """The figure of this name in a result of the lab."""
        counts = {key: int(row["total"]) for key, row in result.counts.items()}
        if name == "kicks":
            # Before v6.10 the kick is no function of its own: what it sent is what is seen of it.
            return counts["kicks"] or counts["ipis_defer_free"] + counts["works_defer_free"]
        if name == "enqueued":
            return counts["enqueued"]
        if name in ("dropped", "time_squeeze"):
            return sum(row[name] for row in result.softnet_stat.values())
        return sum(counts[counter] for counter in _COUNTERS[name])


def _driver(arm: GuestArm, skb_defer_max: int = 64, settings: dict[str, int] | None = None, flow_limit: bool = False) -> Driver:
    return Driver(
        arm.release,
        "rt" if arm.image.rt else "plain",
        threads=arm.threads,
        cpus=4,
        skb_defer_max=skb_defer_max,
        settings=settings,
        flow_limit_cpus=(0,) if flow_limit else (),
    )


def expected_kick(arm: GuestArm, skb_defer_max: int, attempts: int, *, lowered_to: int | None = None, after: int = 0) -> int | None:
    """Which of ``attempts`` skbs of CPU 0 freed on CPU 1 kicks first, nobody flushing; None if none does."""
    driver = _driver(arm, skb_defer_max)
    for number in range(1, attempts + 1):
        if lowered_to is not None and number == after + 1:
            driver.set_sysctl("skb_defer_max", lowered_to)
        if driver.attempt(1, 0)[1].kick:
            return number
    return None


def expected_kicks(arm: GuestArm, limits: Sequence[tuple[int, int]]) -> dict[int, int | None]:
    """Limit -> which of so many skbs, freed as in ``expected_kick``, kicks first: one limit after the other, a flush after each.

    Since v6.18 the counter also counts what the list does not take, and a flush of an empty list leaves it as it is.
    """
    found: dict[int, int | None] = {}
    driver = _driver(arm, max(limit for limit, _ in limits))
    for limit, attempts in limits:
        driver.set_sysctl("skb_defer_max", limit)
        found[limit] = next((number for number in range(1, attempts + 1) if driver.attempt(1, 0)[1].kick), None)
        driver.flush(0)
        if found[limit] is not None:
            # Its kick is served long before the next limit.
            driver = _driver(arm, max(limit for limit, _ in limits))
    return found


def expected_drops(arm: GuestArm, packets: int) -> int:
    """How many of ``packets`` of one flow the flow limit drops, each polled before the next is queued."""
    driver = _driver(arm, settings={"netdev_max_backlog": 1}, flow_limit=True)
    drops = 0
    for _ in range(packets):
        if driver.enqueue(0, 0, _FLOW).dropped:
            drops += 1
            continue
        if net_rx_begins(driver, 0).where == "head" and net_rx_goes_on(driver, 0).where == "polls":
            driver.poll_entered(0)
            driver.poll_starts(0)
            while driver.backlog_len(0):
                driver.poll(0, 1)
            driver.poll(0, 64)
    return drops


def predict(scenario: Scenario, arm: GuestArm, result: LabResult) -> ExpectedFigures:
    """The counts of the same scenario in the model, on the arm's kernel, with the senders' times and the speed of ``result``."""
    told = achieved(scenario, arm, result)
    made = replayed(scenario, arm, told)
    figures: dict[str, int | None] = {name: made.counters[name] for name in _COUNTERS}
    figures["enqueued"] = sum(made.events["enqueue_to_backlog"]) + sum(made.events["backlog_drop"])
    figures["dropped"] = sum(made.events["backlog_drop"])
    figures["time_squeeze"] = made.counters["time_squeeze"]
    return ExpectedFigures(figures, told)
