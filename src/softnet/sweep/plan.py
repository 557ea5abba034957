# SPDX-License-Identifier: GPL-2.0-or-later
"""An experiment worked out: its arms, what each run is, and every mistake found before the first one."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from softnet.errors import ScenarioError, SoftnetError
from softnet.files import from_toml, read_bounded
from softnet.scenario import scenario_from_dict
from softnet.scenario.load import FILE_BYTES_MAX
from softnet.scenario.locate import key_lines
from softnet.scenario.traffic_models import STANDARD_INPUT
from softnet.simulate.arrivals import arrival_blocks
from softnet.simulate.program import load_program, scenario_costs
from softnet.sweep import design
from softnet.sweep.experiment import Asked
from softnet.sweep.factors import KERNEL, NO_PATCH, PATCH, Factor, level_value, shown
from softnet.sweep.goal import Goal, Limit, directed, limits_of
from softnet.sweep.identity import kernel_digest, program_key, scenario_digest
from softnet.sweep.measures import Measure, default_measures, find_measure, measures_of
from softnet.sweep.search import needed_optuna

if TYPE_CHECKING:
    from softnet.lang.program.program import Program
    from softnet.machine.costtable import CostTable
    from softnet.scenario import Scenario

RUNS_MAX: Final = 100_000
"""More runs than this are asked for twice: with --yes."""


@dataclass(frozen=True)
class SweepArm:
    """One combination of levels."""

    number: int
    levels: tuple[str, ...]
    """The level of each factor, as TOML."""
    scenario: Scenario
    patches: tuple[str, ...]
    digest: str
    """The hash of all that determines its runs but the seed."""
    kernel: str
    """The hash of its kernel, which is a part of that."""

    def run_id(self, seed: int) -> str:
        """What identifies a run."""
        return hashlib.sha256(f"{self.digest} {seed}".encode()).hexdigest()[:32]

    @property
    def label(self) -> str:
        """Its levels, as people read them."""
        return ", ".join(shown(level) for level in self.levels)


@dataclass(frozen=True)
class Planned:
    """What will be run."""

    asked: Asked
    source: Path
    """The scenario's file."""
    name: str
    factors: tuple[Factor, ...]
    arms: tuple[SweepArm, ...]
    seeds: tuple[int, ...]
    measures: tuple[Measure, ...]
    shown: tuple[Measure, ...]
    until: tuple[Measure, float] | None
    """The measure and the half-width of its intervals, as a share of the base's mean, at which no more seeds are added."""
    max_seeds: tuple[int, ...]
    """All the seeds that there may be."""
    resolver: Resolver
    """Makes the arms of a search, one after the other."""
    goal: Goal | None = None
    """What is looked for, where the experiment says it."""
    limits: tuple[Limit, ...] = ()
    """What the means of a recommended arm keep to."""

    def command(self, arm: SweepArm, seed: int) -> str:
        """The command that shows one run."""
        return run_command(
            self.asked.folder, self.asked.experiment.scenario, [f.key for f in self.factors], arm.levels,
            self.asked.experiment.settings, self.asked.experiment.patches, seed,
        )  # fmt: skip


def run_command(
    folder: Path,
    source: str,
    keys: Sequence[str],
    levels: Sequence[str],
    settings: Sequence[str],
    patches: Sequence[str],
    seed: int,
) -> str:
    """``softnet run`` of one arm with one seed; paths start from the folder."""
    words = ["softnet", "run", str(folder / source), *(f"--patch={folder / patch}" for patch in patches)]
    sets = list(settings)
    for key, level in zip(keys, levels, strict=True):
        if key == KERNEL:
            words.append(f"--kernel={shown(level)}")
        elif key == PATCH:
            words += [f"--patch={folder / shown(level)}"] if shown(level) != NO_PATCH else []
        else:
            sets.append(f"{key}={level}")
    return shlex.join([*words, *(f"--set={text}" for text in sets), f"--seed={seed}"])


def plan(asked: Asked, *, yes: bool = False) -> Planned:
    """Work the experiment out. Raises SoftnetError for the first thing in it that cannot be."""
    wanted = asked.experiment
    count = design.size(asked.factors, wanted.design, wanted.runs)
    seeds_max = wanted.max_seeds if wanted.until else wanted.seeds
    if count * seeds_max > RUNS_MAX and not yes:
        raise SoftnetError(
            "that many runs are asked for by mistake, or with --yes",
            where=asked.factors[-1].where,
            found=f"{count:,} combinations, {seeds_max} seeds: {count * seeds_max:,} runs",
            expected=f"at most {RUNS_MAX:,}",
            hint="fewer levels, or --design lhs --runs 200",
        )
    source = asked.path(wanted.scenario)
    resolver = Resolver(asked, source)
    _try_levels(resolver, asked.factors)
    points = design.points(asked.factors, wanted.design, wanted.runs)
    arms = tuple(resolver.arm(number, point) for number, point in enumerate(points))
    first = arms[0].scenario
    for index, source_table in enumerate(first.traffic):
        if getattr(source_table, "file", "") == STANDARD_INPUT:
            raise SoftnetError("a sweep reads its captures more than once", where=f"{source}: traffic[{index}].file", found='"-"',
                               expected="a file")  # fmt: skip
    # The same captures for all: what is wrong with them, the first block says.
    next(iter(arrival_blocks(first)), None)
    measures, objective = directed(asked, measures_of(first))
    limits = limits_of(asked, measures)
    chosen = tuple(find_measure(measures, name, asked.where("measure")) for name in wanted.measure)
    chosen = chosen or default_measures(measures, first)
    if objective is not None:
        limited = [find_measure(measures, limit.measure, "") for limit in limits]
        chosen = tuple(dict.fromkeys((objective, *limited, *chosen)))
    goal = Goal(objective, limits) if objective is not None else None
    _fits_together(asked, goal, chosen)
    start = first.measure.seed
    return Planned(
        asked=asked, source=source, name=first.name, factors=asked.factors, arms=arms,
        seeds=tuple(range(start, start + wanted.seeds)), measures=measures, shown=chosen, until=_until(asked, measures),
        max_seeds=tuple(range(start, start + max(seeds_max, wanted.seeds))), resolver=resolver, goal=goal, limits=limits,
    )  # fmt: skip


def _fits_together(asked: Asked, goal: Goal | None, shown_: Sequence[Measure]) -> None:
    """Raises SoftnetError for a search without a goal, and for ways that exclude each other."""
    wanted = asked.experiment
    if wanted.design == design.SEARCH:
        if goal is None:
            raise SoftnetError("a search looks for something", where=asked.where("design"), found="search",
                               expected="--minimize MEASURE or --maximize MEASURE")  # fmt: skip
        needed_optuna()
    for key, given in (("until", bool(wanted.until)), ("race", wanted.race)):
        if given and wanted.design == design.SEARCH:
            raise SoftnetError("a search gives each combination its --seeds", where=asked.where(key), expected="a grid or a sample")
    if wanted.race and wanted.until:
        raise SoftnetError("one way to choose the number of seeds", where=asked.where("race"), found="race and until",
                           expected="one of them")  # fmt: skip
    if wanted.race and not shown_[0].better:
        raise SoftnetError("no combination is hopeless: neither more nor less is better", where=asked.where("race"),
                           found=shown_[0].name, expected="--minimize MEASURE or --maximize MEASURE")  # fmt: skip


def _until(asked: Asked, measures: Sequence[Measure]) -> tuple[Measure, float] | None:
    text = asked.experiment.until
    if not text:
        return None
    name, _, width = text.partition("=")
    try:
        share = float(width.strip().removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not width.strip().endswith("%") or not 0 < share < 1:
        raise SoftnetError("not a width of an interval", where=asked.where("until"), found=repr(text), expected="MEASURE=PERCENT%",
                           hint="--until web.p99=5%")  # fmt: skip
    return find_measure(measures, name.strip(), asked.where("until")), share


def _try_levels(resolver: Resolver, factors: Sequence[Factor]) -> None:
    """Each level by itself, the others at the base: so a mistake is told at its level, and soon."""
    base = tuple(factor.base for factor in factors)
    for at, factor in enumerate(factors):
        levels = factor.levels if factor.range is None else (factor.range.at(0.0), factor.range.at(1 - 1e-9))
        for level in levels:
            resolver.scenario((*base[:at], level, *base[at + 1 :]), blame=factor)


class Resolver:
    """From a combination of levels to an arm; what combinations share is worked out once."""

    def __init__(self, asked: Asked, source: Path) -> None:
        self.asked = asked
        self.source = source
        data = read_bounded(source, FILE_BYTES_MAX, ScenarioError, "scenario")
        self.raw = from_toml(data, str(source), ScenarioError, "scenario")
        self.lines = key_lines(data.decode())
        self.settings = list(asked.experiment.settings)
        self.patches = tuple(str(asked.path(name)) for name in asked.experiment.patches)
        self._kernels: dict[str, str] = {}
        self._costs: dict[tuple[str, Path], CostTable] = {}

    def overrides(self, point: Sequence[str]) -> list[str]:
        """The combination as settings."""
        pairs = zip(self.asked.factors, point, strict=True)
        return [f"{factor.key}={level}" for factor, level in pairs if factor.key != PATCH]

    def scenario(self, point: Sequence[str], blame: Factor | None = None) -> Scenario:
        """The scenario of a combination. Raises SoftnetError, at the factor to blame if there is one."""
        texts = [*self.settings, *self.overrides(point)]
        # The shorthand of a kernel first: other settings are checked against it.
        texts.sort(key=lambda text: not text.startswith("kernel="))
        try:
            return scenario_from_dict(
                self.raw, texts, source=str(self.source), directory=self.source.parent, lines=self.lines
            )  # fmt: skip
        except SoftnetError as error:
            raise self._blamed(error, point, blame) from None

    def _blamed(self, error: SoftnetError, point: Sequence[str], blame: Factor | None) -> SoftnetError:
        """The error, said of the experiment's words instead of those of softnet run."""
        if error.where.startswith(str(self.source)) or any(error.where == f"--set {text}" for text in self.settings):
            return error
        factor = blame or next(
            (f for f, level in zip(self.asked.factors, point, strict=True) if f"{f.key}={level}" in error.where),
            self.asked.factors[0],
        )
        at = self.asked.factors.index(factor)
        found = error.found or f"{factor.key} = {point[at]}"
        if blame is None:
            named = ", ".join(f"{f.key} = {level}" for f, level in zip(self.asked.factors, point, strict=True))
            found = f"{error.found}, with {named}"
        lines = str(error) if not error.message or error.message.endswith("problems") else ""
        return SoftnetError(error.message, where=factor.where, found=lines or found, expected=error.expected, hint=error.hint)

    def arm(self, number: int, point: tuple[str, ...]) -> SweepArm:
        """The arm of a combination. Raises SoftnetError."""
        scenario = self.scenario(point)
        patches = list(self.patches)
        for factor, level in zip(self.asked.factors, point, strict=True):
            if factor.key == PATCH and shown(level) != NO_PATCH:
                patches.append(str(self.asked.path(str(level_value(level)))))
                if not os.path.isfile(patches[-1]):
                    raise factor.error("no such patch file", found=patches[-1], expected="a patch file, or none")
        costs = self.costs(scenario)
        kernel = self.kernel(scenario, tuple(patches), costs)
        return SweepArm(number, point, scenario, tuple(patches), scenario_digest(scenario, kernel, costs), kernel)

    def costs(self, scenario: Scenario) -> CostTable:
        """The cost table of a scenario."""
        key = scenario.machine.costs, scenario.resolve(".")
        if key not in self._costs:
            self._costs[key] = scenario_costs(scenario)
        return self._costs[key]

    def kernel(self, scenario: Scenario, patches: tuple[str, ...], costs: CostTable) -> str:
        """The digest of the kernel that a scenario and patches give. Raises SubsetErrors for what is wrong in a patch."""
        key = program_key(scenario, patches)
        if key not in self._kernels:
            program: Program = load_program(scenario, patches, costs)
            self._kernels[key] = kernel_digest(program)
        return self._kernels[key]
