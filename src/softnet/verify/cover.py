# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of a configuration a swarm covered, estimated from samples.

All members note the same states, if they meet them: those whose hash is small. So what a sample has of a member's states is a fair
part, and states that several members met are recognised.

How many states there are that nobody met is not estimated. Chao's estimator (1987), from how many states only one member met, and
only two, was tried: where members met 94,000 different states it said that there are 96,000, and there are more than 9.4 million.
Members have too much in common, whatever their seeds: all begin at the same state, and what is hard to reach is so for each.
"""

from __future__ import annotations

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


def cover_of(samples: Sequence[Sample], states: Sequence[int], seed: int) -> Cover:
    """What members covered that met so many states each."""
    below = min(sample.below for sample in samples)
    met = {h for sample in samples for h in sample.hashes if h < below}
    distinct = max(round(len(met) * (EVERYTHING / below)), *states)
    return Cover(len(samples), seed, distinct, max(states))
