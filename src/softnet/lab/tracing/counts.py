# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run of a real kernel adds up to: /proc/net/softnet_stat and counts of events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from softnet.lab.errors import LabError
from softnet.lab.tracing.probes import NET_RX_SOFTIRQ
from softnet.lab.tracing.records import CSD_FUNCTIONS, LabRecord
from softnet.units import U32_MAX

# Column -> name; net/core/net-procfs.c, softnet_seq_show(). Columns that newer kernels add are named as there.
_COLUMNS = {0: "processed", 1: "dropped", 2: "time_squeeze", 9: "received_rps", 10: "flow_limit_count"}
_LENGTH, _INDEX = 11, 12


def parse_softnet_stat(text: str) -> dict[int, dict[str, int]]:
    """CPU -> counters. Raises ``LabError`` when a line has fewer columns than every supported kernel prints."""
    table: dict[int, dict[str, int]] = {}
    for line in text.splitlines():
        try:
            words = [int(word, 16) for word in line.split()]
        except ValueError:
            words = []
        if not len(words) > _INDEX or not all(0 <= word <= U32_MAX for word in words):
            raise LabError("not a line of /proc/net/softnet_stat", where="/proc/net/softnet_stat", found=line[:120],
                           expected="13 columns or more of 32 bits, in hexadecimal")  # fmt: skip
        row = {name: words[column] for column, name in _COLUMNS.items()}
        row["backlog_len"] = words[_LENGTH]
        table[words[_INDEX]] = row
    return table


def softnet_stat_delta(before: str, after: str) -> dict[int, dict[str, int]]:
    """What each CPU's counters grew by; the backlog's length is the one afterwards."""
    first, last = parse_softnet_stat(before), parse_softnet_stat(after)
    return {
        cpu: {
            name: value if name == "backlog_len" else (value - first.get(cpu, {}).get(name, 0)) % (1 << 32)
            for name, value in row.items()
        }
        for cpu, row in last.items()
    }


def _name(record: LabRecord) -> str | None:
    """The counter that a record adds one to."""
    event = record.event
    if event == "softirq_raise":
        return "net_rx_raises" if record.a == NET_RX_SOFTIRQ else None
    if event == "sched_waking":
        return {"ksoftirqd": "ksoftirqd_wakeups", "backlog_napi": "backlog_napi_wakeups"}.get(record.text.split("/")[0])
    if event == "csd_queue_cpu":
        return "ipis_defer_free" if record.b == CSD_FUNCTIONS["trigger_rx_softirq"] else "ipis_rps"
    if event == "queue_work_on":
        return "works_defer_free"
    return _PLAIN.get(event)


_PLAIN = {
    "skb_attempt_defer_free": "defer_attempts",
    "kick_defer_list_purge": "kicks",
    "trigger_rx_softirq": "trigger_rx_softirq",
    "rps_trigger_softirq": "rps_trigger_softirq",
    "enqueue_to_backlog": "enqueued",
    "process_backlog_entry": "backlog_polls",
    "softirq_entry": "net_rx_runs",
    "netif_rx": "netif_rx",
    "consume_skb": "consume_skb",
    "kfree_skb": "kfree_skb",
}
COUNTERS = (
    "defer_attempts", "kicks", "ipis_defer_free", "works_defer_free", "trigger_rx_softirq", "ipis_rps", "rps_trigger_softirq",
    "net_rx_raises", "net_rx_runs", "ksoftirqd_wakeups", "backlog_napi_wakeups", "enqueued", "backlog_drops",
    "backlog_polls", "netif_rx", "consume_skb", "kfree_skb",
)  # fmt: skip


def count(records: Iterable[LabRecord]) -> dict[str, Any]:
    """Counter -> {"total": n, "by_cpu": {cpu: n}}; every counter of ``COUNTERS`` is there, zero included."""
    table: dict[str, dict[int, int]] = {name: {} for name in COUNTERS}
    for record in records:
        if record.event == "enqueue_to_backlog_ret":
            name: str | None = "backlog_drops" if record.a != 0 else None
        else:
            name = _name(record)
        if name is not None:
            row = table[name]
            row[record.cpu] = row.get(record.cpu, 0) + 1
    return {
        name: {"total": sum(row.values()), "by_cpu": {str(cpu): row[cpu] for cpu in sorted(row)}} for name, row in table.items()
    }
