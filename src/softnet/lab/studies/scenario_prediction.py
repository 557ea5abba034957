# SPDX-License-Identifier: GPL-2.0-or-later
"""What the model says of a scenario with a fitted cost table, beside what a real kernel did.

The guest runs the scenario twice: traced, for counts of events, and untraced, for latencies. The model runs it
once, with the kernel of the arm and the table. Nothing of the two runs is used for the prediction.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softnet.lab.play.arm import GuestArm
from softnet.lab.play.measured import quantiles
from softnet.lab.play.run import GuestOptions, LabResult, run_scenario
from softnet.lab.play.stretch import stretched
from softnet.lab.studies.calibrate import model_scenario
from softnet.lab.studies.replay import guest_patches

if TYPE_CHECKING:
    from softnet.scenario import Scenario
    from softnet.simulate.result import Result

# Counter of the lab -> counter of a simulation's result.
COUNTS = {
    "defer_attempts": "deferred",
    "kicks": "kicks",
    "ipis_defer_free": "trigger_rx_softirq",
    "ipis_rps": "rps_ipis",
    "net_rx_raises": "net_rx_raises",
    "ksoftirqd_wakeups": "ksoftirqd_wakeups",
    "backlog_napi_wakeups": "backlog_napi_wakeups",
    "backlog_polls": "process_backlog_polls",
}
_QUANTILES = {"p50_ns": (1, 2), "p90_ns": (9, 10), "p99_ns": (99, 100)}
_RECEIVE = "lab_receive"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what the model said and what the kernel did. ``unit`` is "" for a count, "ns" for a time."""

    name: str
    unit: str
    predicted: int
    measured: int

    @property
    def error_permille(self) -> int | None:
        """(predicted - measured) in thousandths of what was measured; None where nothing was."""
        return None if self.measured == 0 else (self.predicted - self.measured) * 1000 // self.measured


@dataclass(frozen=True, slots=True)
class Prediction:
    """A scenario on an arm: its figures in a fixed order, and what was said of the guest's runs."""

    arm: str
    release: str
    ran: str
    scenario: str
    costs: str
    rows: tuple[Row, ...]
    deviations: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything, integers and text."""
        rows = [
            {"name": row.name, "unit": row.unit, "predicted": row.predicted, "measured": row.measured,
             "error_permille": row.error_permille}
            for row in self.rows
        ]  # fmt: skip
        told = {name: getattr(self, name) for name in ("arm", "release", "ran", "scenario", "costs")}
        return {**told, "rows": rows, "deviations": list(self.deviations)}


def _offset_row(scenario: Scenario, application: str) -> str:
    """The row that says how long the lab's own calls take around a packet to this application."""
    kind = next(app.kind for app in scenario.application if app.name == application)
    sent = any(sender.to == application for sender in scenario.sender)
    return f"lab_{kind}" if sent else f"lab_card_{kind}"


def model_run(scenario: Scenario, arm: GuestArm, costs: str) -> tuple[Result, dict[str, int]]:
    """The simulation's result, and per application what to add to its latencies for the lab's own calls.

    The lab's receivers take ``lab_receive`` of their own for each packet, on top of the scenario's service time.
    """
    from softnet.machine.costtable import load_cost_table
    from softnet.scenario import scenario_from_dict
    from softnet.simulate.api import run

    table = load_cost_table(costs)
    known = {name: row.ns for name, row in table.rows.items()}
    raw = model_scenario(scenario, arm, costs).to_dict()
    for app in raw.get("application", []):
        app["service_ns"] = app.get("service_ns", 1500) + known.get(_RECEIVE, 0)
    adjusted = scenario_from_dict(raw, directory=scenario.directory)
    offsets = {app.name: known.get(_offset_row(scenario, app.name), 0) for app in scenario.application}
    return run(adjusted, patches=[*guest_patches(scenario), *arm.patches]).result, offsets


def _measured_latencies(result: LabResult, scenario: Scenario) -> dict[str, list[int]]:
    """Per application the latencies of all its tasks."""
    table: dict[str, list[int]] = {app.name: [] for app in scenario.application}
    for name, data in sorted(result.blobs.items()):
        application, at, _ = name.removeprefix("latencies/").partition("@")
        if at:
            table[application] += struct.unpack(f"<{len(data) // 8}q", data)
    return table


def _quantile(ordered: list[int], numerator: int, denominator: int) -> int:
    return ordered[min(len(ordered) - 1, len(ordered) * numerator // denominator)]


def rows_of(scenario: Scenario, result: Result, offsets: dict[str, int], counted: LabResult, timed: LabResult) -> list[Row]:
    """Every figure of both sides; a count that is zero on both is left out."""
    measured = _measured_latencies(timed, scenario)
    delivered = sum(histogram.count for histogram in result.latency.values() if histogram.kind == "packet")
    rows = [Row("packets received", "", delivered, sum(len(values) for values in measured.values()))]
    for name, counter in COUNTS.items():
        seen, said = int(counted.counts[name]["total"]), result.counters[counter]
        if name == "kicks" and not counted.trace.kick_is_function:
            seen = int(counted.counts["ipis_defer_free"]["total"] + counted.counts["works_defer_free"]["total"])
        if seen or said:
            rows.append(Row(name, "", said, seen))
    for name, values in measured.items():
        histogram = result.latency[name]
        if not values or not histogram.count:
            continue
        ordered = sorted(values)
        for label, share in _QUANTILES.items():
            rows.append(Row(f"{name} {label.removesuffix('_ns')}", "ns", histogram.quantile_ns(*share) + offsets[name],
                            _quantile(ordered, *share)))  # fmt: skip
    for task in timed.work["tasks"]:
        told, woken = task.get("latency"), result.latency.get(task["task"])
        if woken is not None and woken.kind == "wakeup" and woken.count and told and told["count"]:
            rows += [
                Row(f"{task['task']} {label.removesuffix('_ns')}", "ns", woken.quantile_ns(*_QUANTILES[label]), told[label])
                for label in ("p50_ns", "p99_ns")
            ]
    return rows


def predict(
    arm: GuestArm,
    scenario: Scenario,
    costs: str,
    *,
    options: GuestOptions,
    say: Callable[[str], None],
    stretch: int = 1,
) -> Prediction:
    """Run ``scenario`` on the model with ``costs`` and on ``arm``, and put the figures side by side."""
    from softnet.machine.costtable import load_cost_table

    slow = stretched(scenario, stretch)
    raw = slow.to_dict()
    # The model idles by hlt, and so must the guest.
    boot_args = raw.setdefault("kernel", {}).get("boot_args", [])
    raw["kernel"]["boot_args"] = [*boot_args, *(["idle=halt"] if "idle=halt" not in boot_args else [])]
    from softnet.scenario import scenario_from_dict

    slow = scenario_from_dict(raw, directory=scenario.directory)
    result, offsets = model_run(slow, arm, costs)
    counted = run_scenario(arm, slow, options=options, say=say)
    timed = run_scenario(arm, slow, options=options, say=say, traced=False)
    rows = rows_of(slow, result, offsets, counted, timed)
    ran = f"QEMU {counted.ran.qemu} {counted.ran.accel}"
    name = f"{scenario.name}, {stretch} times slower" if stretch != 1 else scenario.name
    said = tuple(dict.fromkeys([*counted.deviations, *timed.deviations]))
    return Prediction(arm.label, counted.release, ran, name, load_cost_table(costs).name, tuple(rows), said)


__all__ = ["COUNTS", "Prediction", "Row", "model_run", "predict", "quantiles", "rows_of"]
