# SPDX-License-Identifier: GPL-2.0-or-later
"""One real comparison for all tests of the reports: 6.9-rt and 6.10-rt on bursts that kick a defer list."""

from __future__ import annotations

from pathlib import Path

import pytest

from softnet.simulate.api import Compared, compare

KICK = Path(__file__).parent / "kick.toml"
SEEDS = (1, 2, 3)


@pytest.fixture(scope="session")
def kicked() -> Compared:
    return compare(KICK, ["6.9-rt", "6.10-rt"], seeds=SEEDS, trace="full", processes=1)
