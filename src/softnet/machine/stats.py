# SPDX-License-Identifier: GPL-2.0-or-later
"""Histograms that take any number of values in fixed memory.

Buckets are log-linear, 32 to an octave (3 % wide): count, sum, minimum and maximum are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc
from softnet.lang.intrinsics import fls, mem, mem_set

if TYPE_CHECKING:
    from softnet.machine.globals import hw

HIST_SUB_BITS = 5
HIST_BUCKETS = 1216
HIST_HEAD = 4
HIST_WORDS = 1220
"""Four words (count, sum, max, min + 1) and the buckets, up to 2**41 ns."""


@hwfunc
def hist_bucket(value: int) -> int:
    """The bucket of a value: exact below 64, then 32 to an octave."""
    shift = max(fls(value) - HIST_SUB_BITS - 1, 0)
    return min((shift << HIST_SUB_BITS) + (value >> shift), HIST_BUCKETS - 1)


@hwfunc(price_only=True)
def hist_record(index: int, value: int) -> None:
    """Add a value to a histogram."""
    at = hw.hist_base + index * HIST_WORDS
    mem_set(at, mem(at) + 1)
    mem_set(at + 1, mem(at + 1) + value)
    if value > mem(at + 2):
        mem_set(at + 2, value)
    if mem(at + 3) == 0 or value + 1 < mem(at + 3):
        mem_set(at + 3, value + 1)
    bucket = at + HIST_HEAD + hist_bucket(value)
    mem_set(bucket, mem(bucket) + 1)
