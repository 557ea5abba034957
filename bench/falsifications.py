# SPDX-License-Identifier: GPL-2.0-or-later
"""What the checker of recorded traces is worth: single events of real traces removed, doubled, moved to another CPU.

    python bench/falsifications.py [--each N] [--list] [TRACE ...]

Prints, for each kind of event and each way, how many of those that the checker follows it refuses, and how many it takes for a gap
in the record; then how many of all. ``--list`` names those that it accepts. TRACE is a part of a fixture's name.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.lab.falsify import ACCEPTED, GAP, REFUSED, WAYS, chosen, followed, outcome

from softnet.lab.tracing.records import read
from softnet.lab.validate.checker import check

FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "lab" / "fixtures"


def table(found: Counter[tuple[str, str, bool, str]]) -> None:
    """One line for each kind of event: refused/of, with + gaps, in each way; what is not followed apart."""
    for told in (True, False):
        print(f"\n{'followed' if told else 'not followed, or context':<32}" + "".join(f"{way:>16}" for way in WAYS))
        for event in sorted({event for event, _, known, _ in found if known is told}):
            cells = []
            for way in WAYS:
                refused, gap, taken = (found[event, way, told, what] for what in (REFUSED, GAP, ACCEPTED))
                of = refused + gap + taken
                cells.append(f"{refused}/{of}{f' +{gap}' if gap else ''}" if of else "-")
            print(f"  {event:<30}" + "".join(f"{cell:>16}" for cell in cells))
        sums = {what: sum(n for key, n in found.items() if key[2] is told and key[3] == what) for what in (REFUSED, GAP, ACCEPTED)}
        of = sum(sums.values())
        if of:
            print(
                f"  of {of}: {sums[REFUSED]} refused ({100 * sums[REFUSED] // of} %), {sums[GAP]} a gap, {sums[ACCEPTED]} accepted"
            )


def main() -> int:
    """Falsify and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    found: Counter[tuple[str, str, bool, str]] = Counter()
    traces = accepted = 0
    for path in sorted(FIXTURES.glob("*.jsonl.gz")):
        trace = read(path)
        if trace.header.get("pauses") or (given.names and not any(name in path.name for name in given.names)):
            continue
        true = check(trace)
        traces += 1
        accepted += true.accepted
        known = followed(trace)
        for one in chosen(trace, given.each):
            record, what = trace.records[one.at], outcome(trace, true, one)
            found[record.event, one.way, known[one.at], what] += 1
            if given.list and what != REFUSED and known[one.at]:
                print(f"{what:<9}{one.way:<8} {path.name}:{one.at + 2} {record.line()}", flush=True)
    print(f"{traces} traces as they were recorded: {accepted} accepted. Of each, {given.each} events of every kind:")
    table(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
