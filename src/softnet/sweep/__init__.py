# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiments: a scenario with factors, many runs, and what they say. ``load(folder)`` gives the results as a data frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def load(folder: str | Path) -> pd.DataFrame:
    """The results of an experiment: a row for each run, columns as docs/sweep.md says. Raises SoftnetError."""
    from softnet.sweep.api import load

    return load(folder)
