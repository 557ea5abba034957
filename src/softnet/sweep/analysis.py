# SPDX-License-Identifier: GPL-2.0-or-later
"""What the results of an experiment say: each arm against the base, the effect of each factor, the trade-off, and the limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from softnet.errors import SoftnetError
from softnet.files import readable
from softnet.sweep.factors import level_value, shown
from softnet.sweep.goal import Limit, limits_from
from softnet.sweep.measures import BEYOND, Measure
from softnet.sweep.plan import run_command
from softnet.sweep.statistics import Interval, coefficients, holm, interval, paired, pareto

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from softnet.sweep.plan import Planned, SweepArm
    from softnet.sweep.store import Finished

ALPHA: Final = 0.05
SEEDS_MIN: Final = 3
BEYOND_MIN: Final = 10
"""Samples beyond a quantile, below which it is one of a few extremes rather than a quantile."""
LEAST: Final = 0.01
"""A difference below this share of the base's mean is called small, however sure it is."""


class Change(NamedTuple):
    """An arm against the base, in one measure: the paired interval, and p after Holm over all arms."""

    interval: Interval
    p: float

    @property
    def sure(self) -> bool:
        """Whether it stands after the correction for so many arms."""
        return self.interval.values > 1 and self.p < ALPHA


class Effect(NamedTuple):
    """What a level does against its factor's first level, or a range from its low to its high end, averaged over the others."""

    factor: str
    step: str
    interval: Interval
    p: float
    """After Holm over all effects of the measure."""

    @property
    def sure(self) -> bool:
        """Whether it stands after the correction."""
        return self.interval.values > 1 and self.p < ALPHA


class ArmSeen(NamedTuple):
    """An arm with its levels as people read them."""

    number: int
    levels: tuple[str, ...]
    texts: tuple[str, ...]
    """The levels as TOML."""
    failed: int
    """Runs that failed."""
    dropped_after: int = 0
    """So many seeds showed that it is not the best, and it was given no more; 0: it was not dropped."""

    @property
    def label(self) -> str:
        """Its levels in a line."""
        return ", ".join(self.levels)


@dataclass
class Findings:
    """An experiment's results, ready to be shown."""

    about: Mapping[str, Any]
    factors: list[Mapping[str, Any]]
    arms: list[ArmSeen]
    seeds: list[int]
    shown: list[Measure]
    values: dict[str, NDArray[np.float64]]
    """Measure's name -> its figures, (arms, seeds); NaN where there is none."""
    failures: list[tuple[ArmSeen, int, str, str]]
    """Failed runs: arm, seed, why, and the command that shows it."""
    missing: int
    """Runs that are not there."""
    limits: tuple[Limit, ...] = ()
    """What the means of a recommended arm keep to."""

    def mean(self, measure: Measure, arm: int) -> float:
        """The mean over the seeds; NaN where there is no figure."""
        return interval(_present(self.values[measure.name][arm])).mean

    def spread(self, measure: str, arm: int) -> Interval:
        """The mean of an arm in a measure with its interval over the seeds."""
        return interval(_present(self.values[measure][arm]))

    def broken(self, arm: int) -> list[Limit]:
        """The limits that an arm's means do not keep."""
        return [limit for limit in self.limits if limit.excess(self.spread(limit.measure, arm).mean) > 0]

    def candidates(self) -> list[int]:
        """The arms that can be recommended: no run failed, none was dropped, and the means keep the limits."""
        return [arm.number for arm in self.arms if not arm.failed and not arm.dropped_after and not self.broken(arm.number)]

    def remarks(self, arm: ArmSeen) -> list[str]:
        """What is to be said of an arm beside its figures."""
        out = [f"{arm.failed} failed"] if arm.failed else []
        out += [f"dropped after {arm.dropped_after} seeds"] if arm.dropped_after else []
        return out + [f"not {limit.text}" for limit in self.broken(arm.number)]

    def changes(self, measure: Measure) -> list[Change]:
        """Each arm against the base, which is the first; its own entry is all zeros."""
        values = self.values[measure.name]
        found = [paired(values[0], row) for row in values]
        corrected = [1.0, *holm([i.p for i in found[1:]])]
        return [Change(i, p) for i, p in zip(found, corrected, strict=True)]

    def effects(self, measure: Measure) -> list[Effect]:
        """The factors' effects, the largest first; empty where the arms cannot tell them apart."""
        matrix, names = self._design()
        found = coefficients(matrix, self.values[measure.name])
        if found is None:
            return []
        intervals = [interval(row) for row in found[1:]]
        corrected = holm([i.p for i in intervals])
        effects = [Effect(*name, i, p) for name, i, p in zip(names, intervals, corrected, strict=True)]
        return sorted(effects, key=lambda e: -abs(e.interval.mean))

    def _design(self) -> tuple[NDArray[np.float64], list[tuple[str, str]]]:
        """The design's matrix: a constant, a column for each level but the first, one for each range; and what they are called."""
        import numpy as np

        columns = [np.ones(len(self.arms))]
        names: list[tuple[str, str]] = []
        for at, factor in enumerate(self.factors):
            texts = [arm.texts[at] for arm in self.arms]
            span = factor["range"]
            if span is not None:
                low, high = (math.log(v) if span["log"] else v for v in (span["low"], span["high"]))
                scaled = [(math.log(v) if span["log"] else v) for v in (float(level_value(text)) for text in texts)]
                columns.append((np.array(scaled) - low) / (high - low))
                names.append((factor["key"], f"{span['low']:g} → {span['high']:g}"))
                continue
            for level in factor["levels"][1:]:
                columns.append(np.array([float(text == level) for text in texts]))
                names.append((factor["key"], f"{shown(factor['levels'][0])} → {shown(level)}"))
        return np.column_stack(columns), names

    def best(self, measure: Measure) -> int | None:
        """The arm with the best mean, of the candidates; None where no direction is better, or no arm has figures."""
        means = {arm: self.mean(measure, arm) for arm in self.candidates()}
        means = {arm: mean for arm, mean in means.items() if not math.isnan(mean)}
        if not means or not measure.better:
            return None
        return (min if measure.better == "lower" else max)(means, key=lambda arm: means[arm])

    def as_good(self, measure: Measure, best: int) -> list[int]:
        """The arms that the data cannot tell from the best in a measure: paired, and corrected for their number."""
        values = self.values[measure.name]
        others = [arm for arm in self.candidates() if arm != best]
        found = [paired(values[best], values[arm]) for arm in others]
        corrected = holm([i.p for i in found])
        return [
            arm
            for arm, i, p in zip(others, found, corrected, strict=True)
            if i.values and (p >= ALPHA or i.mean == 0 or i.values < 2)
        ]

    def front(self, first: Measure, second: Measure) -> list[int]:
        """The arms of the Pareto front of two measures' means."""
        points = [(self.mean(first, arm.number), self.mean(second, arm.number)) for arm in self.arms]
        points = [(math.nan, math.nan) if arm.failed else p for arm, p in zip(self.arms, points, strict=True)]
        sign = {"higher": -1}
        return pareto(points, (sign.get(first.better, 1), sign.get(second.better, 1)))

    def warnings(self) -> list[str]:
        """Where there is too little to say."""
        out = []
        if len(self.seeds) < SEEDS_MIN:
            few = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
            out.append(f"{few}: too few to tell a difference from chance; give --seeds 5 or more")
        for measure in self.shown:
            name, _, quantile = measure.name.partition(".")
            if quantile not in BEYOND:
                continue
            counts = self.values.get(f"{name}.samples")
            if counts is None:
                continue
            least = float(_present(counts.ravel()).min()) if len(_present(counts.ravel())) else 0.0
            if least * BEYOND[quantile] < BEYOND_MIN:
                beyond = least * BEYOND[quantile]
                out.append(
                    f"the runs are short for {measure.name}: one has {least:,.0f} samples, so {beyond:.0f} beyond it, where"
                    f" {BEYOND_MIN} are the least; a longer measure.duration_ms says more"
                )
        if self.missing:
            out.append(f"{self.missing:,} runs are missing; the same command goes on")
        return out


def _present(values: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    found: NDArray[np.float64] = values[~np.isnan(values)]
    return found


def findings(folder: Path) -> Findings:
    """The findings of an experiment's folder. Raises SoftnetError."""
    from softnet.sweep.reading import read_about, read_table

    about, table = read_about(folder), read_table(folder)
    again = "run softnet sweep again: what is finished is not run again"
    with readable(SoftnetError, "the results cannot be read", where=str(folder), expected="what softnet sweep wrote", hint=again):
        return findings_of(about, table)


def findings_of(about: Mapping[str, Any], table: Any) -> Findings:
    """The findings of an experiment: what experiment.json says, and the Arrow table of its runs."""
    import numpy as np

    measures = [Measure(**m) for m in about["measures"]]
    seeds, arms = list(about["seeds"]), about["arms"]
    column_of_seed = {seed: i for i, seed in enumerate(seeds)}
    rows = table.column("arm").to_numpy()
    columns = np.array([column_of_seed[seed] for seed in table.column("seed").to_pylist()], dtype=np.int64)
    values = {}
    for measure in measures:
        grid = np.full((len(arms), len(seeds)), np.nan)
        grid[rows, columns] = table.column(measure.column).to_pandas().to_numpy(dtype=float, na_value=np.nan)
        values[measure.name] = grid
    failed = table.column("failed").to_pylist()
    count = [0] * len(arms)
    for arm, why in zip(rows.tolist(), failed, strict=True):
        count[arm] += why is not None
    seen = [
        ArmSeen(i, tuple(shown(level) for level in arm["levels"]), tuple(arm["levels"]), count[i], arm.get("dropped_after", 0))
        for i, arm in enumerate(arms)
    ]
    keys = [factor["key"] for factor in about["factors"]]
    failures = [
        (
            seen[arm],
            seed,
            why,
            run_command(Path(about["folder"]), about["file"], keys, seen[arm].texts, about["settings"], about["patches"], seed),
        )
        for arm, seed, why in zip(rows.tolist(), table.column("seed").to_pylist(), failed, strict=True)
        if why is not None
    ]
    shown_measures = [measure for name in about["shown"] for measure in measures if measure.name == name]
    missing = sum(arm.dropped_after or len(seeds) for arm in seen) - table.num_rows
    limits = limits_from(about)
    return Findings(about, list(about["factors"]), seen, seeds, shown_measures, values, failures, missing, limits)


def figures_of(arm: SweepArm, seeds: Sequence[int], done: Mapping[str, Finished], at: int) -> NDArray[np.float64]:
    """An arm's figures in the measure with that number, seed by seed; NaN where there is none."""
    import numpy as np

    found = [done.get(arm.run_id(seed)) for seed in seeds]
    # None, where a run took no sample, becomes NaN.
    return np.array([run.values[at] if run is not None and run.values else None for run in found], dtype=float)


def hopeless(values: Sequence[NDArray[np.float64]], sign: int, looks: int) -> list[int]:
    """Of arms, by their figures seed by seed, those that are worse than the best one by more than chance explains.

    ``sign``: 1 where lower is better, -1 where higher is. Corrected by Holm for the number of arms, and by Bonferroni for that of
    the looks, which all take from the same data. The first arm is the base, which stays.
    """
    means = [sign * interval(_present(row)).mean for row in values]
    alive = [i for i, mean in enumerate(means) if not math.isnan(mean)]
    if not alive:
        return []
    best = min(alive, key=lambda i: means[i])
    others = [i for i in alive if i != best]
    found = [paired(values[best], values[i]) for i in others]
    corrected = holm([i.p if i.values > 1 else 1.0 for i in found])
    return [arm for arm, i, p in zip(others, found, corrected, strict=True) if arm and sign * i.mean > 0 and p < ALPHA / looks]


def narrow_enough(planned: Planned, seeds: Sequence[int], done: Mapping[str, Finished]) -> bool:
    """Whether every arm's paired interval against the base is as narrow as asked, in the measure that was named."""
    assert planned.until is not None
    measure, share = planned.until
    at = planned.measures.index(measure)
    base = figures_of(planned.arms[0], seeds, done, at)
    wide = abs(interval(_present(base)).mean) * share
    for arm in planned.arms[1:]:
        found = paired(base, figures_of(arm, seeds, done, at))
        if found.values and not found.half <= wide:
            return False
    return True
