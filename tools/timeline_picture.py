#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw docs/images/kick.svg: what the first kick of a defer list does before and after the seed's series.

It runs examples/seed.toml on 6.9-rt and 6.10-rt with the same arrivals and takes the first kick after the warm-up that
finds its CPU asleep or busy as it happens to be: nothing is chosen by hand but the length of the picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

from softnet.report.names import duration
from softnet.report.picture import Scene, draw
from softnet.simulate.api import compare
from softnet.simulate.result import Trace
from softnet.trace import EVENT_ID

ROOT = Path(__file__).resolve().parent.parent
ARMS = ("6.9-rt", "6.10-rt")
BEFORE_NS, AFTER_NS = 2_000, 10_000


def first_kick(trace: Trace, after_ns: int) -> int:
    """When the first defer list was kicked after ``after_ns``."""
    kick = EVENT_ID["kick_defer_list_purge"]
    return min(r.time_ns for r in trace.records if r.event == kick and r.time_ns >= after_ns)


def flushed_after(trace: Trace, at_ns: int) -> int:
    """How long after ``at_ns`` the kicked CPU emptied its list."""
    flush = EVENT_ID["skb_defer_free_flush"]
    return min(r.time_ns for r in trace.records if r.event == flush and r.time_ns >= at_ns) - at_ns


def main() -> int:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "kick.svg"
    done = compare(ROOT / "examples" / "seed.toml", ARMS, seeds=[1], trace="full")
    scenes = []
    for arm in ARMS:
        trace, result = done.traces[arm], done.comparison.results[arm][0]
        at_ns = first_kick(trace, result.warmup_ns)
        text = f"list emptied {duration(flushed_after(trace, at_ns))} after the kick"
        scenes.append(Scene(f"Linux {arm}", text, trace, at_ns))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(draw("One kick of CPU 0's defer list (simulated)", scenes, BEFORE_NS, AFTER_NS), encoding="utf-8")
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
