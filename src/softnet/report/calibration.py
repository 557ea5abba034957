# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``softnet host calibrate`` says."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from softnet.errors import printable
from softnet.host.calibrate.estimate import Estimate
from softnet.host.calibrate.traced import GAP_US
from softnet.machine.costtable import load_cost_table
from softnet.report.table import table

if TYPE_CHECKING:
    from softnet.host.calibrate.api import Calibration
    from softnet.host.calibrate.fit import Fitted


def calibration_lines(made: Calibration, out: str, width: int) -> list[str]:
    """What makes it less sure, then the rows beside the default's, then what tracing cost and what is assumed."""
    measured = [row for row in made.rows.values() if not row.assumed]
    lines = [
        *_wrapped(f"{printable(out)}: {len(measured)} of {len(made.rows)} rows are of this machine; {made.where.where}", width)
    ]
    for mark in made.marks:
        lines += _wrapped(f"UNSURE: {mark}", width)
    default = load_cost_table("default").rows
    header = ["row", "", "value", "spread", "readings", "default", "provenance"]
    lines += [*table("", header, [_cells(row, default[row.name].base) for row in _ordered(measured)], width, False), ""]
    for flow in made.measured["flows"]:
        if "event" in flow and flow["kind"] == "udp" and not flow["apart"]:
            lines += _wrapped(_tracing(flow), width)
    lines += _wrapped(_pauses(made.measured["pauses"]), width) if made.measured["pauses"] else []
    if made.checks:
        lines.append("how well it fits: packets to another CPU, which no row of the stack is fitted to")
        for row in made.checks:
            times = f"{row['measured_ns'] / 1000:.1f} us measured, {row['model_ns'] / 1000:.1f} in the model"
            lines.append(f"  {row['what']}: {times}, {row['error_permille'] / 10:+.0f} %")
    for note in made.notes:
        lines += _wrapped(f"note: {note}", width)
    assumed = [row.name for row in made.rows.values() if row.assumed]
    if assumed:
        lines += _wrapped(f"assumed, as in the default table: {', '.join(assumed)} (the table says why)", width)
    lines += [f"it took {made.seconds:g} s"]
    return lines


def _ordered(rows: list[Fitted]) -> list[Fitted]:
    return sorted(rows, key=lambda row: (row.section != "machine", row.name))


def _cells(row: Fitted, default: int) -> list[str]:
    cost, unit = row.estimate, "ps/byte" if row.per_byte else "ns"
    if cost is None:
        return [row.name, unit, str(row.value), "", "", str(default), row.provenance]
    scatter = f"±{row.spread_permille / 10:.0f} %"
    return [row.name, unit, str(row.value), scatter, str(cost.samples), str(default), row.provenance]


def _tracing(flow: dict[str, object]) -> str:
    """What an event cost, both ways."""
    event = flow["event"]
    assert isinstance(event, dict)
    text = f"a tracepoint cost {Estimate.of(event['added']).ns} ns by what {flow['events']} of them added to a send"
    if event["close"] is not None:
        text += f", {Estimate.of(event['close']).ns} ns by two that stand behind each other"
    return f"{text}; {event['taken_ps'] // 1000} ns were subtracted for each"


def _pauses(pauses: list[tuple[int, dict[str, int]]]) -> str:
    """How much a packet's cost depends on when the last one was."""
    told = " and ".join(f"{Estimate.of(cost).ns / 1000:.1f} us after a sleep of {pause} us" for pause, cost in pauses)
    return f"what a packet costs depends on when the last one was: a send of UDP took {told}; the rows are those of {GAP_US} us"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False) or [""]
