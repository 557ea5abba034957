# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of the lab as text for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from softnet.errors import printable
from softnet.lab.play.run import LabResult
from softnet.units import format_ns

# Counter -> how the table calls it.
_ROWS = (
    ("defer_attempts", "skb_attempt_defer_free"),
    ("kicks", "kick_defer_list_purge"),
    ("ipis_defer_free", "IPIs: trigger_rx_softirq"),
    ("works_defer_free", "work items: trigger_rx_softirq"),
    ("ipis_rps", "IPIs: rps_trigger_softirq"),
    ("net_rx_raises", "NET_RX raised"),
    ("net_rx_runs", "NET_RX run"),
    ("ksoftirqd_wakeups", "ksoftirqd wakeups"),
    ("backlog_napi_wakeups", "backlog_napi wakeups"),
    ("backlog_polls", "process_backlog polls"),
    ("enqueued", "enqueue_to_backlog"),
    ("backlog_drops", "backlog drops"),
    ("consume_skb", "consume_skb"),
)
_STAT_ROWS = ("processed", "dropped", "time_squeeze", "received_rps", "flow_limit_count")
# The kick is a function of its own since v6.10; before that it is inlined and only its IPI shows.
_INLINED = "inlined"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under a header; the first flush left, the others flush right."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _kicks_cell(result: LabResult) -> str:
    return str(result.counts["kicks"]["total"]) if result.trace.kick_is_function else _INLINED


def _cell(result: LabResult, counter: str) -> str:
    return _kicks_cell(result) if counter == "kicks" else str(result.counts[counter]["total"])


def counts_table(results: Sequence[LabResult]) -> str:
    """Counts of events and softnet_stat, an arm a column."""
    rows = [[label, *(_cell(result, counter) for result in results)] for counter, label in _ROWS]
    for name in _STAT_ROWS:
        totals = (sum(row[name] for row in result.softnet_stat.values()) for result in results)
        rows.append([f"softnet_stat {name}", *map(str, totals)])
    return table(["", *(result.arm for result in results)], rows)


def latency_table(results: Sequence[LabResult]) -> str:
    """Latencies of applications and cyclictests, one row a task and arm; "" when there are none."""
    rows = []
    for result in results:
        for task in result.work.get("tasks", []):
            told: dict[str, Any] | None = task.get("latency")
            if told and told["count"]:
                cells = [format_ns(told[name]) for name in ("p50_ns", "p99_ns", "p999_ns", "max_ns")]
                rows.append([task["task"], result.arm, str(told["count"]), *cells])
    return table(["task", "arm", "count", "p50", "p99", "p99.9", "max"], rows) if rows else ""


def ran_lines(results: Sequence[LabResult]) -> list[str]:
    """What ran the guests, once, and each arm's kernel."""
    lines = []
    for result in results:
        extra = f" ({' '.join(result.boot_args)})" if result.boot_args else ""
        lines.append(
            f"{result.arm}: Linux {result.release}{extra}, QEMU {result.ran.qemu} {result.ran.accel}, "
            f"thread={result.ran.threads}, {len(result.trace.records)} events"
        )
    note = next((result.ran.note for result in results if result.ran.note), "")
    return [*lines, *([note] if note else [])]


def remarks(results: Sequence[LabResult]) -> list[str]:
    """Deviations, lost events and the kernel's complaints; a sentence that holds for every arm is said once."""
    lines = []
    said = [(result.arm, text) for result in results for text in result.deviations]
    for text in dict.fromkeys(text for _, text in said):
        arms = [arm for arm, other in said if other == text]
        where = "" if len(arms) == len(results) else f" [{', '.join(arms)}]"
        lines.append(f"deviation: {text}{where}")
    for result in results:
        lines += [f"not traced on {result.arm}: {name}: {why}" for name, why in result.refused.items()]
        lines += [f"LOST on {result.arm}: {count} events ({what})" for what, count in result.lost.items()]
        lines += [f"{result.arm}'s kernel says: {line}" for line in result.complaints]
    return lines


def closing_lines(results: Sequence[LabResult]) -> list[str]:
    """What follows every result: what ran the guests, and what else must be said."""
    return [*ran_lines(results), *remarks(results)]


def results_text(results: Sequence[LabResult]) -> str:
    """Counts, latencies if there are any, and what follows every result."""
    latencies = latency_table(results)
    parts = [counts_table(results), *(["\n" + latencies] if latencies else []), "", *closing_lines(results)]
    return "\n".join(parts)
