#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Of twenty problems of each kind with a known best: how often a search finds the very best in a fifth of the grid's runs.

The kinds: a valley with a limit across it; a bowl that lies aslant; thresholds, as of a budget that must be large enough, with a
price for more; four peaks of different heights; a valley beside a cliff, as latency has where a CPU is overloaded.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
from collections.abc import Callable, Sequence

from softnet.sweep.factors import factor_of_text
from softnet.sweep.search import Score, Search

Problem = Callable[[Sequence[int]], Score]
SIZES = ((10, 10), (15, 15), (6, 6, 6))


def valley(draw: random.Random, sizes: Sequence[int]) -> Problem:
    """A valley and a limit that cuts it."""
    centre = [draw.uniform(0, size - 1) for size in sizes]
    slope = [draw.uniform(0.5, 2) for _ in sizes]
    bound, sign = draw.uniform(0.2, 0.8) * sum(size - 1 for size in sizes), draw.choice([-1, 1])

    def score(place: Sequence[int]) -> Score:
        value = sum(s * abs(x - c) ** 1.5 for s, x, c in zip(slope, place, centre, strict=True))
        return Score(value, (sign * (sum(place) - bound),))

    return score


def aslant(draw: random.Random, sizes: Sequence[int]) -> Problem:
    """A bowl whose axes are not the factors."""
    centre = [draw.uniform(0, 1) for _ in sizes]
    rows = [[draw.gauss(0, 1) for _ in sizes] for _ in sizes]

    def score(place: Sequence[int]) -> Score:
        x = [at / (size - 1) - c for at, size, c in zip(place, sizes, centre, strict=True)]
        return Score(sum(sum(a * b for a, b in zip(row, x, strict=True)) ** 2 for row in rows) + 0.1 * sum(b * b for b in x), ())

    return score


def thresholds(draw: random.Random, sizes: Sequence[int]) -> Problem:
    """Too little of each factor costs much, more than enough a little."""
    of = [(draw.uniform(0.2, 0.8) * (size - 1), draw.uniform(0.5, 2), draw.uniform(0.05, 0.4)) for size in sizes]

    def score(place: Sequence[int]) -> Score:
        return Score(sum(3 * w / (1 + math.exp(1.5 * (x - t))) + k * x for x, (t, w, k) in zip(place, of, strict=True)), ())

    return score


def peaks(draw: random.Random, sizes: Sequence[int]) -> Problem:
    """Four peaks, of which one is the highest."""
    of = [([draw.uniform(0, 1) for _ in sizes], draw.uniform(1, 3), draw.uniform(0.15, 0.4)) for _ in range(4)]

    def score(place: Sequence[int]) -> Score:
        x = [at / (size - 1) for at, size in zip(place, sizes, strict=True)]
        return Score(-max(h * math.exp(-sum((a - b) ** 2 for a, b in zip(x, c, strict=True)) / w**2) for c, h, w in of), ())

    return score


def cliff(draw: random.Random, sizes: Sequence[int]) -> Problem:
    """A valley with a limit, and beyond a line everything is worse by a thousand."""
    inner = valley(draw, sizes)
    slope = [draw.uniform(-1, 1) for _ in sizes]

    def score(place: Sequence[int]) -> Score:
        beyond = sum(a * (at / (size - 1) - 0.5) for a, at, size in zip(slope, place, sizes, strict=True))
        found = inner(place)
        return found._replace(value=found.value + (2000 * beyond if beyond > 0.1 else 0))

    return score


def searched(score: Problem, sizes: Sequence[int]) -> bool:
    """Whether a search finds the best of a grid in a fifth of its runs."""
    best = min(score(place).rank for place in itertools.product(*map(range, sizes)))
    factors = [factor_of_text(f"sysctl.f{n}={','.join(map(str, range(size)))}") for n, size in enumerate(sizes)]
    tried: list[Score] = []

    def run(points: Sequence[tuple[str, ...]]) -> list[Score]:
        tried.extend(score([int(level) for level in point]) for point in points)
        return tried[-len(points) :]

    fifth = math.prod(sizes) // 5
    Search(factors, fifth - 1).go(tuple(factor.base for factor in factors), run)
    assert len(tried) <= fifth
    return min(one.rank for one in tried) == best


def main() -> None:
    """Print how often, by kind and by size of the grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=20)
    count = parser.parse_args().problems
    print(f"best of the grid found, of {count}\n\n| | {' | '.join(' by '.join(map(str, sizes)) for sizes in SIZES)} |")
    print("|---|" + "---|" * len(SIZES))
    for kind in (valley, aslant, thresholds, peaks, cliff):
        found = [sum(searched(kind(random.Random(seed), sizes), sizes) for seed in range(count)) for sizes in SIZES]
        print(f"| {kind.__name__} | {' | '.join(map(str, found))} |", flush=True)


if __name__ == "__main__":
    main()
