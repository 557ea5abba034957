# SPDX-License-Identifier: GPL-2.0-or-later
"""The standard configurations of the default kernels hold, with the counts of states that docs/verify-evidence.md publishes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.long import LONG

from softnet.lang.native.compile import available
from softnet.verify.search import Limits, search
from softnet.verify.standard import KERNELS, standard
from softnet.verify.verdict import Verdict

EVIDENCE = Path(__file__).resolve().parents[2] / "docs" / "verify-evidence.md"
LARGEST = 1_000_000
"""What has more states is searched with SOFTNET_LONG=1 only."""


def published() -> dict[str, dict[str, int]]:
    """Kernel -> configuration -> states, from the document's table for 2 CPUs."""
    lines = EVIDENCE.read_text(encoding="utf-8").splitlines()
    head = lines.index("| 2 CPUs | " + " | ".join(KERNELS) + " |")
    out: dict[str, dict[str, int]] = {kernel: {} for kernel in KERNELS}
    for line in lines[head + 2 : head + 2 + len(standard(KERNELS[0]))]:
        name, *counts = (cell.strip() for cell in line.strip("|").split("|"))
        for kernel, count in zip(KERNELS, counts, strict=True):
            out[kernel][name.partition(" (-rt")[0]] = int(count.partition(" (")[0].replace(",", ""))
    return out


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
@pytest.mark.parametrize("kernel", KERNELS)
def test_they_hold_with_the_published_counts(kernel: str) -> None:
    counts = published()[kernel]
    for config in standard(kernel):
        name = config.name.partition(", no ")[0]
        if counts[name] > LARGEST and not LONG:
            continue
        outcome = search(config, Limits(storage="compact"))
        assert (name, outcome.verdict, outcome.why) == (name, Verdict.HOLDS, outcome.why)
        assert (name, outcome.states) == (name, counts[name])
