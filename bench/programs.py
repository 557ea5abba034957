# SPDX-License-Identifier: GPL-2.0-or-later
"""Random programs: softnet's reduced and unreduced searches against an explorer of its own that stops at every instruction.

python bench/programs.py [--count 5000] [--first 0] [--states 4000]
python bench/programs.py --mutations 200 [--first 0]: random mutations of shipped functions instead, reduced and not
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.verify.programs.compare import Comparison  # noqa: E402
from tests.verify.random_mutations import compare  # noqa: E402


def mutations(first: int, count: int) -> int:
    """Compare that many mutations; 1 if a verdict differs."""
    wrong = found = undecided = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            difference = compare(seed, Path(folder))
            if difference is None:
                refused += 1
                continue
            wrong += difference.wrong
            undecided += not difference.decided
            found += difference.reduced.failure is not None
            if difference.wrong:
                print(f"seed {seed}: {difference.about}: {difference.reduced.verdict}, {difference.unreduced.verdict}", flush=True)
    print(f"{count} mutations: {refused} refused, {found} violate something, {undecided} undecided, {wrong} disagree")
    return int(wrong > 0)


def main() -> int:
    """Compare, tell how far it is, and every disagreement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="programs to compare")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--states", type=int, default=4000, help="states of a program at most, of the explorer of its own")
    parser.add_argument("--mutations", type=int, default=0, help="mutations of shipped functions to compare instead")
    options = parser.parse_args()
    if options.mutations:
        return mutations(options.first, options.mutations)
    comparison = Comparison(options.states)
    begin = time.process_time()
    for seed in itertools.count(options.first):
        if comparison.compared == options.count:
            break
        comparison.seed(seed)
        if seed in comparison.disagreements:
            print(f"seed {seed}: {'; '.join(comparison.disagreements[seed])}", flush=True)
        elif seed % 100 == 99:
            print(f"seed {seed}, {comparison.compared} compared, {time.process_time() - begin:.0f} s", flush=True)
    print(comparison)
    return 1 if comparison.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
