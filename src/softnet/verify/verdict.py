# SPDX-License-Identifier: GPL-2.0-or-later
"""What a search says, as values to compare. The sentences are softnet.report.verify's."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """The verdict on a configuration. Only a search that came to its end holds."""

    HOLDS = "holds"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"


class Why(StrEnum):
    """Why a search is inconclusive."""

    INTERRUPTED = "interrupted"
    TIME_LIMIT = "time limit"
    SPACE_LIMIT = "space limit"
    """Of memory or of states."""
    RANDOM_RUN_FAILED = "random run failed"
    """A run by chance, which asks who owns what, ended in a failure: search() then searches without owners."""
    LIVENESS_NEEDS_EXACT_STORAGE = "liveness needs exact storage"
    NO_ROOM_FOR_LIVENESS = "no room for liveness"
    NO_END = "no end"
    """No schedule comes to an end, so nothing that must hold in the end was asked."""
    TOO_MANY_OPEN = "too many open accesses"
    """A step touches more words than the search for data races keeps, so that one may have been missed."""
    BOUNDED = "bounded"
    """A member of a swarm came to its end, or its bound: what its bits say was met may not have been."""


def omission(states: int) -> float:
    """With hash compaction: a bound on the probability that any state was taken for another one.

    Each of n (n - 1) / 2 pairs of states has the same 64 bits with probability 2**-64.
    """
    return states**2 / 2.0**65
