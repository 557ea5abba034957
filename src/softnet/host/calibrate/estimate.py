# SPDX-License-Identifier: GPL-2.0-or-later
"""From readings to a cost: the median, the quartiles and how many readings there were. Times in picoseconds, readings in ns."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from softnet.errors import HostError

SAMPLES_MIN = 8
"""Of fewer readings no cost is made."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A cost: median and quartiles in picoseconds, and of how many readings."""

    ps: int
    low_ps: int
    high_ps: int
    samples: int

    @property
    def ns(self) -> int:
        """The median, rounded."""
        return (self.ps + 500) // 1000

    @property
    def spread_permille(self) -> int:
        """Half of what lies between the quartiles, in thousandths of the median; at most all of it."""
        return min(1000, (self.high_ps - self.low_ps) * 500 // self.ps) if self.ps > 0 else 0

    def part(self, of: int, whole: int, less_ps: int = 0) -> Estimate:
        """So much of it, less a number of picoseconds that is known; never below 0."""
        middle, low, high = (max(value * of // whole - less_ps, 0) for value in (self.ps, self.low_ps, self.high_ps))
        return Estimate(middle, low, high, self.samples)

    def to_dict(self) -> dict[str, int]:
        return {"ps": self.ps, "low_ps": self.low_ps, "high_ps": self.high_ps, "samples": self.samples}

    @classmethod
    def of(cls, row: Any) -> Estimate:
        """What to_dict() made. Raises HostError for anything else."""
        names = ("ps", "low_ps", "high_ps", "samples")
        if not isinstance(row, dict) or any(type(row.get(name)) is not int for name in names):
            raise HostError("not a measured cost", found=repr(row)[:100], expected=", ".join(names))
        return cls(*(row[name] for name in names))


def estimate(picoseconds: Iterable[int]) -> Estimate:
    """Median and quartiles of readings. Raises HostError of too few."""
    ordered = sorted(picoseconds)
    if len(ordered) < SAMPLES_MIN:
        raise HostError("too few readings", found=str(len(ordered)), expected=f"{SAMPLES_MIN} or more")
    middle = ordered[len(ordered) // 2] if len(ordered) % 2 else (ordered[len(ordered) // 2 - 1] + ordered[len(ordered) // 2]) // 2
    return Estimate(middle, ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4], len(ordered))


def per_turn(totals_ns: Sequence[int], turns: int, empty: Estimate | None = None) -> Estimate:
    """One turn of a loop that was timed as a whole, less what an empty loop's turn takes."""
    less = empty.ps if empty is not None else 0
    return estimate(max(total * 1000 // turns - less, 0) for total in totals_ns)


def difference(larger: Estimate, smaller: Estimate, divisor: int = 1) -> Estimate:
    """What one takes more than the other, never below 0. Both scatter by themselves, so half the ranges add as squares do."""
    middle = (larger.ps - smaller.ps) // divisor
    below = _root((larger.ps - larger.low_ps) ** 2 + (smaller.high_ps - smaller.ps) ** 2) // divisor
    above = _root((larger.high_ps - larger.ps) ** 2 + (smaller.ps - smaller.low_ps) ** 2) // divisor
    return Estimate(max(middle, 0), max(middle - below, 0), max(middle + above, 0), min(larger.samples, smaller.samples))


def _root(value: int) -> int:
    from math import isqrt

    return isqrt(max(value, 0))


def switch_cost(batches: Iterable[tuple[int, int, int]], alone: Estimate) -> Estimate:
    """A switch between two tasks that yield to each other.

    ``batches``: total ns, yields of both, switches of both. ``alone``: a yield that finds nobody else.
    """
    return estimate((total * 1000 - yields * alone.ps) // switches for total, yields, switches in batches if switches > 0)


def interrupted(calls: Sequence[tuple[int, int]], gaps: Sequence[tuple[int, int]], clock_ps: int) -> tuple[list[int], list[int]]:
    """How long an interrupt was under way, and how long it kept its CPU, in ps.

    ``calls``: from and to of each call that sends one; ``gaps``: between which two readings of its clock the other CPU did
    something else. A gap that begins outside every call has another reason, and is left out; so is a call with two gaps in it.
    """
    delivery, taken = [], []
    starts = [start for start, _ in gaps]
    for before, after in calls:
        first = bisect_left(starts, before)
        if first >= len(gaps) or starts[first] > after or (first + 1 < len(gaps) and starts[first + 1] <= after):
            continue
        start, end = gaps[first]
        delivery.append((start - before) * 1000)
        taken.append(max((end - start) * 1000 - clock_ps, 0))
    return delivery, taken


def one_way(sent: Sequence[tuple[int, int]], got: Sequence[tuple[int, int]]) -> list[int]:
    """From the beginning of each call that wakes to the end of the other's call that it ended, in ps.

    A wakeup that comes before the last one was seen has none of its own, and is left out.
    """
    ends = [end for _, end in got]
    out = []
    for number, (before, _) in enumerate(sent):
        at = bisect_left(ends, before)
        following = sent[number + 1][0] if number + 1 < len(sent) else None
        if at < len(ends) and (following is None or ends[at] < following):
            out.append((ends[at] - before) * 1000)
    return out


def shared_out(total: int, weights: dict[str, int]) -> dict[str, int]:
    """A total in whole numbers among names, in proportion to their weights; equal parts where all weigh nothing."""
    if not weights:
        return {}
    total = max(total, 0)
    whole = sum(weights.values())
    parts = dict(weights) if whole else dict.fromkeys(weights, 1)
    whole = whole or len(parts)
    out = {name: total * weight // whole for name, weight in parts.items()}
    largest = max(sorted(out), key=lambda name: parts[name])
    out[largest] += total - sum(out.values())
    return out
