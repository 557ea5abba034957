# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole matrix of evidence/verify/mutations.csv: each mutation against each property, in the configuration of its row.

    python bench/mutations.py [MUTATION ...]

Prints the rows of the table, with all the properties that see the mutation there, and whether the row says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.verify.matrix import rows, seen_by

from softnet.verify.search import Limits

LIMITS = Limits(states=4_000_000, memory_bytes=2 << 30)


def main() -> int:
    """Run the rows; 1 if one does not say what was found."""
    wrong = 0
    for row in rows():
        if sys.argv[1:] and row.mutation not in sys.argv[1:]:
            continue
        seen = seen_by(row.config(), LIMITS)
        fits = row.property in seen and (not row.alone or seen == [row.property])
        wrong += not fits
        print(
            f"{row.line()} seen by: {', '.join(seen)}{'' if fits else '   <-- not as the table says'}",
            flush=True,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
