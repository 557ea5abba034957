# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario played slower: what a slow guest can keep up with, in the same proportions.

An emulated kernel takes tens of times as long for everything. With every time of the scenario multiplied by one
factor, queues, batches and wakeups meet each other about as they would on a machine that is that much faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softnet.scenario import Scenario

# Keys that are times, by table; each is multiplied.
_TIMES = {
    "nic": ("rx_usecs", "gro_flush_timeout"),
    "traffic": ("start_ms", "stop_ms", "on_us", "off_us"),
    "application": ("service_ns",),
    "sender": ("start_ms", "stop_ms", "interval_ns"),
    "task": ("interval_us", "work_ns", "period_us"),
    "event": ("at_ms",),
}
_MEASURE = ("duration_ms", "warmup_ms", "series_interval_us")


def _multiply(table: dict[str, Any], keys: tuple[str, ...], factor: int) -> None:
    for key in keys:
        if table.get(key) is not None:
            table[key] *= factor


def stretched(scenario: Scenario, factor: int) -> Scenario:
    """The scenario with every time of its own ``factor`` times as long, and every rate as much lower.

    The kernel's own times, ticks and ``netdev_budget_usecs`` among them, stay. Raises ``ScenarioError`` when a
    time leaves the range of its key.
    """
    from softnet.scenario import scenario_from_dict

    if factor == 1:
        return scenario
    raw = scenario.to_dict(defaults=True)
    _multiply(raw["measure"], _MEASURE, factor)
    for name, keys in _TIMES.items():
        for table in raw[name]:
            _multiply(table, keys, factor)
    for sender in raw["sender"]:
        if sender.get("rate_pps") is not None:
            sender["interval_ns"] = 1_000_000_000 * factor // sender.pop("rate_pps")
    for source in raw["traffic"]:
        if source["kind"] == "capture":
            source["speed"] /= factor
        else:
            source["rate_pps"] = max(1, source["rate_pps"] // factor)
    return scenario_from_dict(raw, directory=scenario.directory)


def sentence(factor: int) -> str:
    """What the result must say of a stretched scenario."""
    return (
        f"played {factor} times slower: every time of the scenario and of its tasks; the kernel's own (ticks, "
        "netdev_budget_usecs) stay."
    )
