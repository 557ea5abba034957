# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of a large sample the tests take: a part of it by default, all of it with SOFTNET_LONG=1."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")

LONG = bool(os.environ.get("SOFTNET_LONG"))
long_only = pytest.mark.skipif(not LONG, reason="takes its time, and others look at the same more shortly; SOFTNET_LONG=1")


def sample(all_of_it: Sequence[T], part: Sequence[T]) -> list[T]:
    """``part``, which must be of the whole, or the whole."""
    assert all(entry in all_of_it for entry in part), part
    return list(all_of_it if LONG else part)
