# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``softnet host record`` says when it is done."""

from __future__ import annotations

from softnet.errors import printable
from softnet.host.recorder import Recorded


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
