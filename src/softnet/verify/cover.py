# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of a configuration a swarm covered, estimated from samples.

All members note the same states, if they meet them: those whose hash is small. So
what a sample has of a member's states is a fair part, and states that several members met are recognised. How many there are
that none met follows from how many only one met, and only two (Chao's estimator, 1987): a lower bound on the average if members
meet different states with different ease, as they do. That they all begin at the same state makes it lower still.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from softnet.verify.arena import EVERYTHING, Sample


@dataclass(frozen=True)
class Cover:
    """What a swarm covered."""

    members: int
    """How many searched."""
    seed: int
    """Of the first; the others have the next ones."""
    distinct: int
    """About how many different states they met."""
    at_least: int
    """So many: what the largest of them met."""
    there_are: int
    """About how many there are, or more."""


def cover_of(samples: Sequence[Sample], states: Sequence[int], seed: int) -> Cover:
    """What members covered that met so many states each."""
    below = min(sample.below for sample in samples)
    times = Counter(h for sample in samples for h in sample.hashes if h < below)
    scale = EVERYTHING / below
    once, twice = (sum(n == k for n in times.values()) for k in (1, 2))
    members = len(samples)
    unseen = (members - 1) / members * once * (once - 1) / (2 * (twice + 1))
    distinct = max(round(len(times) * scale), *states)
    return Cover(members, seed, distinct, max(states), max(round((len(times) + unseen) * scale), distinct))
