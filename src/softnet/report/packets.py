# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the packets' time went: `softnet run --slowest`, and the same as columns."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from softnet.errors import SoftnetError
from softnet.files import atomic
from softnet.report.names import duration, number
from softnet.report.table import WIDTH_MIN, table, wrap
from softnet.simulate.packets import COLUMNS, STAGES, Packet, packets_frame

MEANING = {
    "ring": "in the card's ring, until NAPI took it",
    "driver": "in the driver and GRO",
    "backlog": "in a CPU's backlog",
    "stack": "in the protocols, until its reader was woken",
    "scheduler": "while its reader waited for a CPU",
    "reader": "while its reader was busy with earlier packets, and at last with it",
}
"""Stage -> where a packet was, to end a sentence with."""

SLOWEST_SHARE = 100
"""One packet in so many is among the slowest of its application."""


def slowest(rows: Sequence[Packet], count: int) -> list[Packet]:
    """The ``count`` packets with the largest latency; of equal ones, those delivered first."""
    return sorted(rows, key=lambda row: (-row.latency_ns, row.delivered_ns, row.arrival))[:count]


def mean_stages_ns(rows: Sequence[Packet]) -> list[int]:
    """The mean of each stage, rounded down."""
    return [sum(row.stages_ns[i] for row in rows) // len(rows) for i in range(len(STAGES))]


def slowest_data(rows: Sequence[Packet], count: int) -> dict[str, Any]:
    """For JSON: per application the means of all packets and of the slowest one in a hundred, and the slowest packets."""
    means = {
        app: {
            name: {"packets": len(some), **{f"{s}_ns": ns for s, ns in zip(STAGES, mean_stages_ns(some), strict=True)}}
            for name, some in (("all", mine), ("slowest", _slow(mine)))
        }
        for app, mine in _by_app(rows).items()
    }
    return {"mean": means, "slowest": [row.to_dict() for row in slowest(rows, count)]}


def render_packets(rows: Sequence[Packet], count: int, width: int = 100, color: bool = False) -> str:
    """Where the time of all and of the slowest went, in words and as tables, at most ``width`` columns wide."""
    width = max(width, WIDTH_MIN)
    if not rows:
        return "No packet reached an application.\n"
    lines: list[str] = []
    means = []
    for app, mine in _by_app(rows).items():
        slow = _slow(mine)
        lines += wrap(_sentence(app, mine, slow), width, "• ", "  ")
        means.append(_mean_row(app, mine))
        if len(slow) < len(mine):
            means.append(_mean_row(f"{app}, slowest", slow))
    lines = ["Where the packets' time went", *lines]
    lines += _upright("Mean per packet, of all and of the slowest 1 %", ["", "packets", "latency", *STAGES], means, width, color)
    shown = [
        [
            f"{row.app} {number(row.arrival) if row.arrival >= 0 else '(local)'}", str(row.cpu), duration(row.delivered_ns),
            duration(row.latency_ns), *map(duration, row.stages_ns),
        ]
        for row in slowest(rows, count)
    ]  # fmt: skip
    head = ["", "CPU", "read at", "latency", *STAGES]
    lines += _upright(f"The slowest {number(len(shown))}, by the number of their arrival", head, shown, width, color)
    return "\n".join(lines) + "\n"


def _upright(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], width: int, color: bool) -> list[str]:
    """A table; where it is too wide, it is turned: a column for each row, as many side by side as there is room for."""
    everything = [head, *rows]
    if sum(max(len(line[i]) for line in everything) + 2 for i in range(len(head))) <= width:
        return table(title, head, rows, width, color)
    names = max(map(len, head))
    out: list[str] = []
    start = 0
    while start < len(rows):
        end, used = start, names + 2
        while end < len(rows) and (end == start or used + max(map(len, rows[end])) + 2 <= width):
            used += max(map(len, rows[end])) + 2
            end += 1
        turned = [[name, *(row[i + 1] for row in rows[start:end])] for i, name in enumerate(head[1:])]
        grid = table(title, ["", *(row[0] for row in rows[start:end])], turned, width, color)
        out += grid if start == 0 else ["", *grid[-len(turned) - 1 :]]
        start = end
    return out


def _by_app(rows: Sequence[Packet]) -> dict[str, list[Packet]]:
    found: dict[str, list[Packet]] = {}
    for row in rows:
        found.setdefault(row.app, []).append(row)
    return dict(sorted(found.items()))


def _slow(mine: Sequence[Packet]) -> list[Packet]:
    return slowest(mine, max(len(mine) // SLOWEST_SHARE, 1))


def _mean_row(name: str, rows: Sequence[Packet]) -> list[str]:
    latency = sum(row.latency_ns for row in rows) // len(rows)
    return [name, number(len(rows)), duration(latency), *map(duration, mean_stages_ns(rows))]


def _sentence(app: str, mine: Sequence[Packet], slow: Sequence[Packet]) -> str:
    """Which stage makes the slowest slow: the one that grows most from all to them."""
    of_all, of_slow = mean_stages_ns(mine), mean_stages_ns(slow)
    grown = [after - before for before, after in zip(of_all, of_slow, strict=True)]
    at = grown.index(max(grown))
    if grown[at] <= 0:
        at = of_slow.index(max(of_slow))
    who = f"the slowest 1 % ({number(len(slow))} packets)" if len(slow) > 1 else "the slowest packet"
    verb = "spend" if len(slow) > 1 else "spends"
    return (
        f"{app}: {who} {verb} {duration(of_slow[at])} of {duration(sum(of_slow))} {MEANING[STAGES[at]]} (all packets:"
        f" {duration(of_all[at])} of {duration(sum(of_all))})."
    )


def check_format(path: Path) -> None:
    """Raises SoftnetError for a name whose format is none of write_packets()'s, or cannot be written here."""
    if path.suffix == ".parquet":
        if importlib.util.find_spec("pyarrow") is None:
            raise SoftnetError("Parquet needs pyarrow", where=f"--packets {path}", found="no module pyarrow",
                               expected="the extra 'sweep', or a name in .csv", hint="pip install 'softnet[sweep]'")  # fmt: skip
    elif path.suffix != ".csv" and path.suffixes[-2:] != [".csv", ".gz"]:
        raise SoftnetError("no such format", where=f"--packets {path}", found=path.suffix or "no ending",
                           expected="a name in .csv, .csv.gz or .parquet")  # fmt: skip
    if not path.parent.is_dir():
        raise SoftnetError("the file cannot be written", where=f"--packets {path}", found="no such folder", expected="a folder",
                           hint="make the folder first, or name another")  # fmt: skip


def write_packets(path: Path, rows: Sequence[Packet]) -> None:
    """Every packet as a row: Parquet for a name in .parquet, else CSV. Raises SoftnetError."""
    check_format(path)
    with atomic(path) as stream:
        if path.suffix == ".parquet":
            packets_frame(rows).to_parquet(stream, index=False)
            return
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(row.to_dict() for row in rows)
        text.detach()
