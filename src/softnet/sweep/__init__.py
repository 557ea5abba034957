# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiments: a scenario with factors, many runs, and what they say. ``run()`` makes one, ``load()`` gives its results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def load(folder: str | Path) -> pd.DataFrame:
    """The results of an experiment: a row for each run, columns as docs/sweep.md says. Raises SoftnetError."""
    from softnet.sweep.api import load

    return load(folder)


def run(
    scenario: str | Path,
    vary: Mapping[str, Any],
    out: str | Path,
    *,
    processes: int | None = None,
    engine: str = "auto",
    cluster: str = "",
    store: str = "",
    **asked: Any,
) -> pd.DataFrame:
    """Run an experiment, as ``softnet sweep`` does, and give its results as ``load(out)``.

    ``vary`` maps a key of the scenario, ``kernel`` or ``patch`` to its levels; ``asked`` are the other keys of an experiment's
    file (docs/sweep.md): ``seeds=3``, ``settings=["measure.duration_ms=3"]``, ``design="search"``, ``minimize="web.p99"``. Runs
    that stand in the folder ``out`` are taken up, and Ctrl-C keeps what is finished. Raises SoftnetError.
    """
    from softnet.sweep.api import sweep
    from softnet.sweep.experiment import asked_in_python

    asked_for = asked_in_python({"scenario": str(scenario), "vary": dict(vary), **asked})
    swept = sweep(asked_for, Path(out), processes=processes, engine=engine, cluster=cluster, store=store)
    if swept.partial:
        raise KeyboardInterrupt
    return load(out)
