# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs are shared between tests: the same scenario on the same kernel is simulated once."""

from __future__ import annotations

from functools import lru_cache

import pytest
from tests.linux.support import Run, drain_scenario, simulate


@lru_cache(maxsize=32)
def _drain(kernel: str) -> Run:
    return simulate(drain_scenario(kernel))[0]


@pytest.fixture
def drain():
    """kernel -> the run of drain_scenario() on it."""
    return _drain
