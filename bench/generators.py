# SPDX-License-Identifier: GPL-2.0-or-later
"""Every generator against theory: waits behind Poisson traffic, gaps, bursts, flows, sizes, costs.

    python bench/generators.py

Prints each figure, what theory says, the standard error and how many of them lie between; ends with 1 if any are more than four.
Half a minute. tests/scenario/test_theory.py asks the same of fewer packets.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.scenario import theory

PACKETS = 1_000_000
RUNS = 60
WORST = 4.0
"""Sixty figures: by chance one is beyond three standard errors in one run of seven, and beyond four in one of three hundred."""


def main() -> int:
    """Print the table."""
    print(f"{'':<44}{'found':>14}{'theory':>14}{'error':>12}{'z':>7}")
    worst = 0.0
    for rows in (
        theory.queues(PACKETS, RUNS), theory.gaps(RUNS * PACKETS // 4), theory.bursts(20 * RUNS, 40),
        theory.choices(RUNS * PACKETS // 4), theory.costs(PACKETS),
    ):  # fmt: skip
        for row in rows:
            print(row.line(), flush=True)
            worst = max(worst, abs(row.z))
    off = theory.spacing(PACKETS)
    print(f"constant: {off} ns off at the most\nworst: {worst:.1f} standard errors")
    return 1 if worst > WORST or off else 0


if __name__ == "__main__":
    sys.exit(main())
