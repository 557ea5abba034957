# SPDX-License-Identifier: GPL-2.0-or-later
"""What a scenario's tasks counted in the guest, and how far that is from what was asked of them."""

from __future__ import annotations

import struct

from softnet.lab.guest.plans import Found, Latency, TaskFound

_SHARE_SENT_MIN = 0.98
# Parts per thousand, rounded up to the next observation: no value is shown that was not measured.
_QUANTILES = {"p50_ns": 500, "p99_ns": 990, "p999_ns": 999}


def quantiles(values: list[int]) -> Latency:
    """Count, quantiles and maximum of measured times; only the count where there are none."""
    if not values:
        return {"count": 0}
    ordered = sorted(values)
    last = len(ordered) - 1
    told = {"count": len(ordered)}
    for name, share in _QUANTILES.items():
        told[name] = ordered[min(last, len(ordered) * share // 1000)]
    told["max_ns"] = ordered[last]
    return told


def summarise(work: Found, blobs: dict[str, bytes]) -> Found:
    """The guest's rows with its raw latencies put into figures.

    A packet's latency is from before its send call to after the receive call that brought it; a cyclictest's
    is from the time it was due to the time it ran. Both are in the guest's clock.
    """
    rows: list[TaskFound] = []
    for task in work["tasks"]:
        row = task.copy()
        data = blobs.get(f"latencies/{task['task']}")
        if data is not None:
            row["latency"] = quantiles(list(struct.unpack(f"<{len(data) // 8}q", data)))
        rows.append(row)
    return {**work, "tasks": rows}


def late_senders(work: Found) -> list[str]:
    """Sentences for what the guest's tasks could not do."""
    said = []
    for task in work["tasks"]:
        if "error" in task:
            said.append(f"{task['task']} failed in the guest: {task['error']}.")
        asked, sent = task.get("asked"), task.get("packets")
        if asked and sent is not None and sent < asked * _SHARE_SENT_MIN:
            said.append(f"{task['task']}: asked to send {asked} packets, the guest managed {sent}.")
        if task.get("refused"):
            said.append(f"{task['task']}: {task['refused']} packets were refused by the receiver's socket.")
    return said
