# SPDX-License-Identifier: GPL-2.0-or-later
"""What the doctor says, and does not say, of machines in tests/host/fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from softnet.host.doctor import diagnose
from softnet.host.findings import Diagnosis
from softnet.host.sources import read_sources

FIXTURES = Path(__file__).parent / "fixtures"


def of(*names: str) -> Diagnosis:
    return diagnose(read_sources([FIXTURES / name for name in names], 0))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("time-squeeze-11-columns.txt", {"backlog-drops", "time-squeeze", "one-cpu"}),
    ],
)
def test_what_is_said_of_each(name: str, said: set[str]) -> None:
    assert {finding.id for finding in of(name).findings} == said
