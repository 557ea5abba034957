# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of the lab as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from softnet.errors import printable
from softnet.lab.play.run import LabResult
from softnet.report.names import duration, number
from softnet.report.table import Cell, Paper, table, wrap, wrapped

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


def _count(result: LabResult, counter: str) -> str:
    if counter == "kicks" and not result.trace.kick_is_function:
        return _INLINED
    return number(int(result.counts[counter]["total"]))


def counts_table(results: Sequence[LabResult], paper: Paper) -> list[str]:
    """Counts of events and softnet_stat, an arm a column; what is zero in all of them is named below."""
    rows = [[label, *(_count(result, counter) for result in results)] for counter, label in _ROWS]
    for name in _STAT_ROWS:
        totals = (sum(row[name] for row in result.softnet_stat.values()) for result in results)
        rows.append([f"softnet_stat {name}", *map(number, totals)])
    return table_with_zeros("Counts", ["", *(result.arm for result in results)], rows, paper)


def table_with_zeros(title: str, head: Sequence[str], rows: Sequence[Sequence[Cell]], paper: Paper) -> list[str]:
    """A table, and below it the names of the rows in which every figure is 0."""
    zero = [row for row in rows if all(cell == "0" for cell in row[1:])]
    lines = table(title, head, [row for row in rows if row not in zero], paper.width, paper.color)
    where = "" if len(head) < 3 else " in both" if len(head) == 3 else " in all"
    return [*lines, *(wrap(f"Zero{where}: {'; '.join(str(row[0]) for row in zero)}.", paper.width) if zero else [])]


def latency_table(results: Sequence[LabResult], paper: Paper) -> list[str]:
    """Latencies of applications and cyclictests, one row a task and arm; nothing when there are none."""
    rows = []
    for result in results:
        for task in result.work.get("tasks", []):
            told: dict[str, Any] | None = task.get("latency")
            if told and told["count"]:
                cells = [duration(told[name]) for name in ("p50_ns", "p99_ns", "p999_ns", "max_ns")]
                rows.append([task["task"], result.arm, number(told["count"]), *cells])
    return table("Latency", ["task", "arm", "samples", "p50", "p99", "p99.9", "max"], rows, paper.width, paper.color)


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
    """Lost events, deviations and the kernel's complaints; a sentence that holds for every arm is said once."""
    lines = [f"LOST on {result.arm}: {count} events ({what})" for result in results for what, count in result.lost.items()]
    said = [(result.arm, text) for result in results for text in result.deviations]
    for text in dict.fromkeys(text for _, text in said):
        arms = [arm for arm, other in said if other == text]
        where = "" if len(arms) == len(results) else f" [{', '.join(arms)}]"
        lines.append(f"deviation: {text}{where}")
    for result in results:
        lines += [f"not traced on {result.arm}: {name}: {why}" for name, why in result.refused.items()]
        lines += [f"{result.arm}'s kernel says: {line}" for line in result.complaints]
    return lines


def closing_lines(results: Sequence[LabResult], paper: Paper) -> list[str]:
    """What follows every result: what ran the guests, and what else must be said."""
    return wrapped(map(printable, [*ran_lines(results), *remarks(results)]), paper.width)


def results_text(results: Sequence[LabResult], paper: Paper) -> str:
    """Counts, latencies if there are any, and what follows every result."""
    parts = [*counts_table(results, paper), *latency_table(results, paper), "", *closing_lines(results, paper)]
    return "\n".join(parts[1:])
