# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``softnet host record`` and ``softnet replay`` say."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from softnet.errors import printable

if TYPE_CHECKING:
    from softnet.host.recorder import Recorded
    from softnet.host.replay import Replay, Row


def record_lines(told: Recorded, out: str) -> list[str]:
    """In lines: how much, why it ended, what is missing, what it cost."""
    seconds = told.span_ns / 1e9
    lines = [f"{printable(out)}: {seconds:.1f} s, {told.kept / (1 << 20):.1f} MB of events, ended: {told.reason}"]
    if told.lost_total:
        what = ", ".join(f"{count:,} ({name})" for name, count in sorted(told.lost.items()))
        lines.append(f"LOST events: {what}; a larger --buffer-kb loses less")
    else:
        lines.append("no event was lost")
    if told.let_go:
        lines.append(f"{told.let_go:,} older pages went to make room: what is kept are the newest")
    if told.slowest_ns:
        lines.append(f"the slowest packet took {told.slowest_ns / 1000:,.0f} us from its arrival to being read")
    if told.missing:
        lines.append("not recorded: " + "; ".join(map(printable, told.missing)))
    share = told.cpu_ns * 100 / told.span_ns if told.span_ns else 0.0
    lines.append(f"the recorder itself took {share:.1f} % of one CPU; what the tracepoints cost comes on top (docs/host.md)")
    if told.removed:
        lines.append(f"removed what a killed softnet had left: {', '.join(told.removed)}")
    return lines


def replay_lines(found: Replay, width: int) -> list[str]:
    """A replay as text: the figures in a table, then what was fitted, left out and assumed."""
    lines = [f"{printable(found.recording)}: {found.packets:,} packets in {found.span_ns / 1e9:.2f} s, replayed on {found.kernel}"]
    lines += [f"Figures are of the second half ({found.judged_ns / 1e9:.2f} s); costs were fitted to the first.", ""]
    changed = bool(found.change)
    if changed:
        lines += [f"With {printable(', '.join(found.change))}", ""]
    head = ["", "recorded", "model", "error", *(["changed", "change", ""] if changed else [])]
    table = [head, *(_row(row, changed) for row in found.rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(head))]
    for row in table:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(size) for cell, size in zip(row[1:6], widths[1:6], strict=False))]
        lines.append("  ".join([*cells, *row[6:]]).rstrip())
    services = ", ".join(f"{printable(name)} {_ns(ns)} a packet" for name, ns in sorted(found.service_ns.items()))
    told = found.fitted
    fitted = (
        f"fitted: costs in NET_RX × {told['receiving_permille'] / 1000:.2f}, others × {told['other_permille'] / 1000:.2f},"
        f" an IPI {_ns(told['ipi_ns'])} under way, a switch + {_ns(told['switch_ns'])}, {services}"
    )
    lines += ["", *_wrapped(fitted, width)]
    if changed:
        lines += _wrapped("The errors are of the model without the change. With it they can be larger: docs/host.md has some that"
                          " were predicted and then measured.", width)  # fmt: skip
    for note in found.notes:
        lines += _wrapped(f"note: {printable(note)}", width)
    for note in found.assumed:
        lines += _wrapped(f"assumed: {printable(note)}", width)
    return lines


def _row(row: Row, changed: bool) -> list[str]:
    cells = [row.title, _value(row.recorded, row.unit), _value(row.model, row.unit), _permille(row.error_permille)]
    if changed:
        cells += [_value(row.changed, row.unit), _permille(row.change_permille), row.verdict]
    return cells


def _value(value: int | None, unit: str) -> str:
    return "–" if value is None else _ns(value) if unit == "ns" else f"{value:,}"


def _ns(value: int) -> str:
    """A time in three digits or so."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value / size:,.0f} {unit}"
    return f"{value} ns"


def _permille(value: int | None) -> str:
    return "–" if value is None else "0 %" if not value else f"{value / 10:+.1f} %"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
